-- entitlement_give_back_in_tx_v1: gives back some of a capacity's resource: what was taken by uses or committed holds, and is no more.
--
-- Called by    entitlement_give_back_v1; people, inside their own transaction.
-- Transaction  needs the caller's.
-- Locks        the balance row, its grant balances if it is due, then the snapshot.
-- Idempotency  p_usage_event_key, per subject and code, together with uses: the same key with the same content writes nothing.
-- Parameters   p_subject_id       billable entity
--              p_resource_code    the resource that the definition counts
--              p_amount           1 to the count
--              p_usage_event_key  1 to 128 visible ASCII characters
--              p_definition_id    out: the definition
--              p_replayed         out: whether it was given back already
-- Results      none.
-- Errors       IDEMPOTENCY_KEY_REQUIRED, VALIDATION_FAILED, SUBJECT_NOT_FOUND, DEFINITION_NOT_FOUND, IDEMPOTENCY_CONFLICT, in this order; whether
--              there are so many to give back is seen last.
-- Cost         one change, one snapshot, one balance, one outbox row; one more where a lock came or went.
CREATE PROCEDURE entitlement_give_back_in_tx_v1(
  IN  p_subject_id      BIGINT UNSIGNED,
  IN  p_resource_code   VARCHAR(64),
  IN  p_amount          BIGINT,
  IN  p_usage_event_key VARCHAR(256),
  OUT p_definition_id   INT UNSIGNED,
  OUT p_replayed        BOOLEAN
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Gives back some of a resource inside the caller''s transaction'
BEGIN
  DECLARE v_now DATETIME(3);
  DECLARE v_subject_id, v_locked_id, v_change_id BIGINT UNSIGNED;
  DECLARE v_code VARCHAR(64);
  DECLARE v_count BIGINT;
  DECLARE v_boundaries INT UNSIGNED;
  DECLARE v_content, v_first_content BINARY(32);

  SET p_definition_id = NULL, p_replayed = FALSE;
  IF p_usage_event_key IS NULL THEN
    SIGNAL SQLSTATE '45002' SET MYSQL_ERRNO = 52002, MESSAGE_TEXT = 'IDEMPOTENCY_KEY_REQUIRED: give a usageEventKey or the header Idempotency-Key';
  END IF;
  IF NOT REGEXP_LIKE(p_usage_event_key, '^[!-~]{1,128}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: usageEventKey: must be 1 to 128 visible ASCII characters';
  END IF;
  IF p_amount IS NULL OR p_amount NOT BETWEEN 1 AND 9007199254740991 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: amount: must be a whole number from 1 to 9007199254740991';
  END IF;
  SELECT e.id INTO v_subject_id FROM billable_entities AS e WHERE e.id = p_subject_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
  END IF;
  SELECT d.id, d.code INTO p_definition_id, v_code
    FROM billing_entitlement_definitions AS d
   WHERE d.resource_code = CONVERT(p_resource_code USING ascii);
  IF p_definition_id IS NULL THEN
    SIGNAL SQLSTATE '45102' SET MYSQL_ERRNO = 52102, MESSAGE_TEXT = 'DEFINITION_NOT_FOUND: no entitlement definition counts this resource';
  END IF;
  SET v_content = UNHEX(SHA2(JSON_ARRAY('give back', p_amount), 256));

  SELECT b.subject_id INTO v_locked_id
    FROM billing_entitlement_balances AS b
   WHERE b.subject_id = p_subject_id AND b.definition_id = p_definition_id AND b.history_no = 0
     FOR UPDATE;
  SET v_now = UTC_TIMESTAMP(3);

  SELECT r.id, r.content_sha256 INTO v_change_id, v_first_content
    FROM billing_resource_changes AS r FORCE INDEX (uq_resource_changes_key)
   WHERE r.subject_id = p_subject_id AND r.definition_id = p_definition_id AND r.usage_event_key = CONVERT(p_usage_event_key USING ascii)
     FOR SHARE;
  IF v_first_content <> v_content THEN
    SIGNAL SQLSTATE '45201' SET MYSQL_ERRNO = 52201, MESSAGE_TEXT = 'IDEMPOTENCY_CONFLICT: this key was used for another change of this count';
  END IF;

  IF v_change_id IS NOT NULL THEN
    SET p_replayed = TRUE;
  ELSE
    CALL entitlement_settle_in_tx_v1(p_subject_id, p_definition_id, v_now, 'opened', v_boundaries);
    SELECT s.resource_count INTO v_count
      FROM billing_resource_snapshots AS s
     WHERE s.subject_id = p_subject_id AND s.definition_id = p_definition_id
       FOR UPDATE;
    IF p_amount > COALESCE(v_count, 0) THEN
      SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: amount: there are not so many to give back';
    END IF;
    UPDATE billing_resource_snapshots AS s
       SET s.resource_count = s.resource_count - p_amount, s.counted_at = v_now, s.counted_by = 'release'
     WHERE s.subject_id = p_subject_id AND s.definition_id = p_definition_id;
    UPDATE billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
       SET b.segment_start_consumed_amount = b.segment_start_consumed_amount - p_amount,
           b.segment_start_left_amount = b.segment_start_left_amount + p_amount
     WHERE b.subject_id = p_subject_id AND b.definition_id = p_definition_id AND b.history_no = 0;
    INSERT INTO billing_resource_changes
      (subject_id, definition_id, usage_event_key, change_kind, amount, occurred_at, posted_at, segment_no, consumed_after, left_after, held_after,
       next_change_at, content_sha256)
    SELECT p_subject_id, p_definition_id, p_usage_event_key, 'release', -p_amount, v_now, v_now, b.segment_no, b.consumed_amount, b.left_amount,
           b.held_amount, b.next_change_at, v_content
      FROM billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
     WHERE b.subject_id = p_subject_id AND b.definition_id = p_definition_id AND b.history_no = 0;
    -- What was left before says whether the resource was locked.
    INSERT INTO billing_entitlement_lock_changes (subject_id, definition_id, lock_state, changed_at)
    SELECT p_subject_id, p_definition_id, IF(b.left_amount < 0, d.lock_label, 'none'), v_now
      FROM billing_entitlement_definitions AS d FORCE INDEX (PRIMARY)
      STRAIGHT_JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY) ON b.subject_id = p_subject_id AND b.definition_id = d.id AND b.history_no = 0
     WHERE d.id = p_definition_id AND d.enforcement_mode = 'hard_lock_resource' AND (b.left_amount < 0) <> (b.left_amount - p_amount < 0);
    INSERT INTO billing_limit_changes (change_source, changes, changed_at)
    VALUES ('consumption', JSON_ARRAY(JSON_OBJECT('subjectId', p_subject_id, 'codes', JSON_ARRAY(v_code))), v_now);
  END IF;
END
