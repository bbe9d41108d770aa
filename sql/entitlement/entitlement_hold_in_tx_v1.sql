-- entitlement_hold_in_tx_v1: sets an amount aside for a while.
--
-- Called by    entitlement_hold_v1; people, inside their own transaction.
-- Transaction  needs the caller's.
-- Locks        the balance row, then its grant balances if it is due.
-- Idempotency  p_usage_event_key, per subject and code: the same key with the same content gives the first hold again and writes nothing.
-- Parameters   p_subject_id       billable entity
--              p_capability, p_code  one of them: what is to be used, or the definition
--              p_amount           smallest units, 1 to 2^53-1
--              p_ttl_seconds      1 to 86,400; null: 900
--              p_usage_event_key  1 to 128 visible ASCII characters
--              p_reason_code      null: the capability's; 1 to 64 visible ASCII characters
--              p_metadata         null, or an object of up to 2,048 bytes
--              p_definition_id    out: what the names mean
--              p_hold_id          out: the hold; null when it was refused
--              p_replayed         out: whether it was there already
--              p_problem          out: null, or BILLING_LIMIT_EXCEEDED or BILLING_CAPACITY_LOCKED and a text
-- Results      none.
-- Errors       IDEMPOTENCY_KEY_REQUIRED, VALIDATION_FAILED, SUBJECT_NOT_FOUND, CAPABILITY_NOT_FOUND, DEFINITION_NOT_FOUND, NOT_CONSUMABLE,
--              IDEMPOTENCY_CONFLICT, DEFINITION_INACTIVE, in this order.
-- Cost         one hold, one balance, one outbox row.
CREATE PROCEDURE entitlement_hold_in_tx_v1(
  IN  p_subject_id      BIGINT UNSIGNED,
  IN  p_capability      VARCHAR(64),
  IN  p_code            VARCHAR(64),
  IN  p_amount          BIGINT,
  IN  p_ttl_seconds     INT,
  IN  p_usage_event_key VARCHAR(256),
  IN  p_reason_code     VARCHAR(128),
  IN  p_metadata        JSON,
  OUT p_definition_id   INT UNSIGNED,
  OUT p_hold_id         BIGINT UNSIGNED,
  OUT p_replayed        BOOLEAN,
  OUT p_problem         VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Sets an amount aside inside the caller''s transaction'
BEGIN
  DECLARE v_now, v_expires_at, v_next_change_at DATETIME(3);
  DECLARE v_subject_id, v_locked_id BIGINT UNSIGNED;
  DECLARE v_segment_no, v_boundaries INT UNSIGNED;
  DECLARE v_consumed, v_left, v_held, v_available BIGINT;
  DECLARE v_code, v_capability_reason VARCHAR(64);
  DECLARE v_type, v_enforcement VARCHAR(32);
  DECLARE v_is_active BOOLEAN;
  DECLARE v_content, v_first_content BINARY(32);
  DECLARE v_ttl_seconds INT DEFAULT COALESCE(p_ttl_seconds, 900);

  SET p_definition_id = NULL, p_hold_id = NULL, p_replayed = FALSE, p_problem = NULL;

  IF p_usage_event_key IS NULL THEN
    SIGNAL SQLSTATE '45002' SET MYSQL_ERRNO = 52002, MESSAGE_TEXT = 'IDEMPOTENCY_KEY_REQUIRED: give a usageEventKey or the header Idempotency-Key';
  END IF;
  IF NOT REGEXP_LIKE(p_usage_event_key, '^[!-~]{1,128}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: usageEventKey: must be 1 to 128 visible ASCII characters';
  END IF;
  IF p_amount IS NULL OR p_amount NOT BETWEEN 1 AND 9007199254740991 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: amount: must be a whole number from 1 to 9007199254740991';
  END IF;
  IF v_ttl_seconds NOT BETWEEN 1 AND 86400 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: ttlSeconds: must be a whole number from 1 to 86400';
  END IF;
  IF NOT REGEXP_LIKE(p_reason_code, '^[!-~]{1,64}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: reasonCode: must be 1 to 64 visible ASCII characters';
  END IF;
  IF JSON_TYPE(p_metadata) <> 'OBJECT' OR JSON_STORAGE_SIZE(p_metadata) > 2048 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: metadata: must be an object of up to 2048 bytes';
  END IF;
  IF (p_capability IS NULL) = (p_code IS NULL) THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limitationCode: name a capability or a limitationCode, not both';
  END IF;
  SELECT e.id INTO v_subject_id FROM billable_entities AS e WHERE e.id = p_subject_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
  END IF;
  IF p_capability IS NOT NULL THEN
    SELECT c.definition_id, c.reason_code INTO p_definition_id, v_capability_reason
      FROM billing_capabilities AS c
     WHERE c.capability = CONVERT(p_capability USING ascii);
    IF p_definition_id IS NULL THEN
      SIGNAL SQLSTATE '45103' SET MYSQL_ERRNO = 52103, MESSAGE_TEXT = 'CAPABILITY_NOT_FOUND: no capability has this name';
    END IF;
  ELSE
    SELECT d.id INTO p_definition_id FROM billing_entitlement_definitions AS d WHERE d.code = CONVERT(p_code USING ascii);
    IF p_definition_id IS NULL THEN
      SIGNAL SQLSTATE '45102' SET MYSQL_ERRNO = 52102, MESSAGE_TEXT = 'DEFINITION_NOT_FOUND: no entitlement definition has this code';
    END IF;
  END IF;
  SELECT d.code, d.entitlement_type, d.enforcement_mode, d.is_active INTO v_code, v_type, v_enforcement, v_is_active
    FROM billing_entitlement_definitions AS d
   WHERE d.id = p_definition_id;
  IF v_type = 'state' THEN
    SIGNAL SQLSTATE '45303' SET MYSQL_ERRNO = 52303, MESSAGE_TEXT = 'NOT_CONSUMABLE: a state is on or off, and is not used up';
  END IF;
  SET v_content = UNHEX(SHA2(JSON_ARRAY(p_capability, p_code, p_amount, v_ttl_seconds, p_reason_code, p_metadata), 256));

  SELECT b.subject_id INTO v_locked_id
    FROM billing_entitlement_balances AS b
   WHERE b.subject_id = p_subject_id AND b.definition_id = p_definition_id AND b.history_no = 0
     FOR UPDATE;
  SET v_now = UTC_TIMESTAMP(3);

  SELECT h.id, h.content_sha256 INTO p_hold_id, v_first_content
    FROM billing_entitlement_holds AS h
   WHERE h.subject_id = p_subject_id AND h.definition_id = p_definition_id AND h.usage_event_key = CONVERT(p_usage_event_key USING ascii)
     FOR UPDATE;
  IF v_first_content <> v_content THEN
    SIGNAL SQLSTATE '45201' SET MYSQL_ERRNO = 52201, MESSAGE_TEXT = 'IDEMPOTENCY_CONFLICT: this key was used for another hold of this limit';
  END IF;

  IF p_hold_id IS NOT NULL THEN
    SET p_replayed = TRUE;
  ELSE
    IF NOT v_is_active THEN
      SIGNAL SQLSTATE '45302' SET MYSQL_ERRNO = 52302, MESSAGE_TEXT = 'DEFINITION_INACTIVE: this entitlement definition is not active';
    END IF;
    -- A limit that only warns may be held without ever having been granted.
    IF v_locked_id IS NOT NULL OR v_enforcement = 'soft_warn' THEN
      CALL entitlement_settle_in_tx_v1(p_subject_id, p_definition_id, v_now, 'opened', v_boundaries);
    END IF;
    SELECT b.segment_no, b.consumed_amount, b.left_amount, b.held_amount, b.available_amount, b.next_change_at
      INTO v_segment_no, v_consumed, v_left, v_held, v_available, v_next_change_at
      FROM billing_entitlement_balances AS b
     WHERE b.subject_id = p_subject_id AND b.definition_id = p_definition_id AND b.history_no = 0
       FOR UPDATE;
    IF (v_enforcement <> 'soft_warn' AND p_amount > COALESCE(v_available, 0)) OR COALESCE(v_held, 0) + p_amount > 9007199254740991 THEN
      SET p_problem = CONCAT(IF(v_type = 'capacity', 'BILLING_CAPACITY_LOCKED: ', 'BILLING_LIMIT_EXCEEDED: '), v_code, ' does not leave room for this hold');
    ELSE
      SET v_expires_at = v_now + INTERVAL v_ttl_seconds SECOND;
      SET v_next_change_at = LEAST(COALESCE(v_next_change_at, v_expires_at), v_expires_at);
      INSERT INTO billing_entitlement_holds
        (subject_id, definition_id, usage_event_key, amount, status, expires_at, content_sha256, reason_code, metadata, segment_no,
         consumed_after, left_after, held_after, next_change_at, created_at)
      VALUES
        (p_subject_id, p_definition_id, p_usage_event_key, p_amount, 'pending', v_expires_at, v_content, COALESCE(p_reason_code, v_capability_reason),
         p_metadata, v_segment_no, v_consumed, v_left, v_held + p_amount, v_next_change_at, v_now);
      SET p_hold_id = LAST_INSERT_ID();
      UPDATE billing_entitlement_balances AS b
         SET b.held_amount = b.held_amount + p_amount, b.next_change_at = v_next_change_at
       WHERE b.subject_id = p_subject_id AND b.definition_id = p_definition_id AND b.history_no = 0;
      INSERT INTO billing_limit_changes (change_source, changes, changed_at)
      VALUES ('consumption', JSON_ARRAY(JSON_OBJECT('subjectId', p_subject_id, 'codes', JSON_ARRAY(v_code))), v_now);
    END IF;
  END IF;
END
