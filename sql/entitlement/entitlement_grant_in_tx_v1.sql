-- entitlement_grant_in_tx_v1: makes one grant, and lets it count at once.
--
-- Called by    entitlement_grant_v1; whatever turns a plan or a purchase into grants; people, inside their own transaction.
-- Transaction  needs the caller's.
-- Locks        the subject, shared, so that a change of its plan comes before or after; the balance row (made if there is none), then its grant balances.
-- Idempotency  p_dedupe_key: the same key with the same content gives the first grant again and writes nothing.
-- Parameters   p_subject_id    billable entity
--              p_code          definition, 1 to 64 characters
--              p_amount        smallest units, 1 to 2^53-1
--              p_grant_kind    plan_base, plan_bonus, addon_timeboxed, topup, promo, manual_adjustment, correction
--              p_effective_at  UTC; null: now
--              p_expires_at    UTC, excluded; null: never
--              p_priority      0 to 255; null: 100
--              p_source        operator, plan_assignment, purchase
--              p_plan_assignment_id, p_purchase_id  the cause, exactly where the source says so
--              p_dedupe_key    1 to 255 visible ASCII characters, one grant in the whole database
--              p_reason        null or up to 255 characters
--              p_created_by    who, up to 128 characters
--              p_grant_id      out: the grant
--              p_replayed      out: whether it was there already
-- Results      none.
-- Errors       VALIDATION_FAILED, SUBJECT_NOT_FOUND, DEFINITION_NOT_FOUND, IDEMPOTENCY_CONFLICT, DEFINITION_INACTIVE, in this order; at any
--              settlement SETTLEMENT_STUCK.
-- Cost         two rows, one settlement, one outbox row.
CREATE PROCEDURE entitlement_grant_in_tx_v1(
  IN  p_subject_id         BIGINT UNSIGNED,
  IN  p_code               VARCHAR(64),
  IN  p_amount             BIGINT,
  IN  p_grant_kind         VARCHAR(32),
  IN  p_effective_at       DATETIME(3),
  IN  p_expires_at         DATETIME(3),
  IN  p_priority           SMALLINT,
  IN  p_source             VARCHAR(32),
  IN  p_plan_assignment_id BIGINT UNSIGNED,
  IN  p_purchase_id        BIGINT UNSIGNED,
  IN  p_dedupe_key         VARCHAR(255),
  IN  p_reason             VARCHAR(255),
  IN  p_created_by         VARCHAR(128),
  OUT p_grant_id           BIGINT UNSIGNED,
  OUT p_replayed           BOOLEAN
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes one grant inside the caller''s transaction'
BEGIN
  DECLARE v_now, v_effective_at DATETIME(3);
  DECLARE v_subject_id BIGINT UNSIGNED;
  DECLARE v_definition_id INT UNSIGNED;
  DECLARE v_type, v_anchor VARCHAR(16);
  DECLARE v_is_active BOOLEAN;
  DECLARE v_content, v_first_content BINARY(32);
  DECLARE v_priority SMALLINT DEFAULT COALESCE(p_priority, 100);
  DECLARE v_granted_total DECIMAL(30, 0);
  DECLARE v_boundaries INT UNSIGNED;
  -- The key was used for another balance at the same moment: its lock is another one, so the unique key is what finds it.
  DECLARE EXIT HANDLER FOR 1062
    SIGNAL SQLSTATE '45201' SET MYSQL_ERRNO = 52201, MESSAGE_TEXT = 'IDEMPOTENCY_CONFLICT: this key was used for another grant';

  SET p_grant_id = NULL, p_replayed = FALSE;

  IF p_amount IS NULL OR p_amount NOT BETWEEN 1 AND 9007199254740991 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: amount: must be a whole number from 1 to 9007199254740991';
  END IF;
  IF p_grant_kind IS NULL OR p_grant_kind NOT IN ('plan_base', 'plan_bonus', 'addon_timeboxed', 'topup', 'promo', 'manual_adjustment', 'correction') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: kind: is not a kind of grant';
  END IF;
  IF v_priority NOT BETWEEN 0 AND 255 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: priority: must be a whole number from 0 to 255';
  END IF;
  IF p_source IS NULL OR p_source NOT IN ('operator', 'plan_assignment', 'purchase')
     OR (p_source = 'plan_assignment') <> (p_plan_assignment_id IS NOT NULL) OR (p_source = 'purchase') <> (p_purchase_id IS NOT NULL) THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: source: must be operator, or plan_assignment or purchase with its id';
  END IF;
  IF p_dedupe_key IS NULL OR NOT REGEXP_LIKE(p_dedupe_key, '^[!-~]{1,255}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: dedupeKey: must be 1 to 255 visible ASCII characters';
  END IF;
  IF p_created_by IS NULL OR p_created_by = '' THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: createdBy: must say who makes the grant';
  END IF;
  IF p_expires_at <= p_effective_at THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: expiresAt: must be after effectiveAt';
  END IF;
  SELECT e.id INTO v_subject_id FROM billable_entities AS e WHERE e.id = p_subject_id FOR SHARE;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
  END IF;
  SELECT d.id, d.entitlement_type, d.window_anchor, d.is_active INTO v_definition_id, v_type, v_anchor, v_is_active
    FROM billing_entitlement_definitions AS d
   WHERE d.code = CONVERT(p_code USING ascii);
  IF v_definition_id IS NULL THEN
    SIGNAL SQLSTATE '45102' SET MYSQL_ERRNO = 52102, MESSAGE_TEXT = 'DEFINITION_NOT_FOUND: no entitlement definition has this code';
  END IF;
  SET v_content = UNHEX(SHA2(JSON_ARRAY(p_subject_id, p_code, p_amount, p_grant_kind, p_effective_at, p_expires_at, v_priority, p_source,
                                        p_plan_assignment_id, p_purchase_id, p_reason), 256));

  SELECT b.held_amount INTO v_granted_total
    FROM billing_entitlement_balances AS b
   WHERE b.subject_id = p_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0
     FOR UPDATE;
  SET v_now = UTC_TIMESTAMP(3);

  SELECT g.id, g.content_sha256 INTO p_grant_id, v_first_content
    FROM billing_entitlement_grants AS g
   WHERE g.dedupe_key = CONVERT(p_dedupe_key USING ascii)
     FOR SHARE;
  IF p_grant_id IS NOT NULL AND v_first_content <> v_content THEN
    SIGNAL SQLSTATE '45201' SET MYSQL_ERRNO = 52201, MESSAGE_TEXT = 'IDEMPOTENCY_CONFLICT: this key was used for another grant';
  END IF;

  IF p_grant_id IS NOT NULL THEN
    SET p_replayed = TRUE;
  ELSE
    IF NOT v_is_active THEN
      SIGNAL SQLSTATE '45302' SET MYSQL_ERRNO = 52302, MESSAGE_TEXT = 'DEFINITION_INACTIVE: this entitlement definition is not active';
    END IF;
    SET v_effective_at = COALESCE(p_effective_at, v_now);
    IF p_expires_at <= v_effective_at THEN
      SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: expiresAt: must be after effectiveAt';
    END IF;

    -- A purchase may be heard of late, and its grant be over by then. By hand, that is a slip of the pen.
    IF p_source = 'operator' AND p_expires_at <= v_now THEN
      SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: expiresAt: must lie ahead';
    END IF;

    -- What the clock made due comes first, so that this grant pays for nothing that was used before it.
    CALL entitlement_settle_in_tx_v1(p_subject_id, v_definition_id, v_now, 'opened', v_boundaries);
    SELECT SUM(g.amount) INTO v_granted_total
      FROM billing_entitlement_grant_balances AS g FORCE INDEX (ix_grant_balances_state)
     WHERE g.subject_id = p_subject_id AND g.definition_id = v_definition_id AND g.grant_state IN ('pending', 'active')
       FOR UPDATE;
    IF v_granted_total + p_amount > 9007199254740991 THEN
      SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: amount: all grants of a limit together may be at most 9007199254740991';
    END IF;

    INSERT INTO billing_entitlement_grants
      (subject_id, definition_id, grant_kind, amount, priority, effective_at, expires_at, source, plan_assignment_id, purchase_id,
       dedupe_key, content_sha256, reason, created_by, created_at)
    VALUES
      (p_subject_id, v_definition_id, p_grant_kind, p_amount, v_priority, v_effective_at, p_expires_at, p_source, p_plan_assignment_id, p_purchase_id,
       p_dedupe_key, v_content, p_reason, p_created_by, v_now);
    SET p_grant_id = LAST_INSERT_ID();
    -- Renewing kinds are allotments, but credits never renew; a cap, a state and a rolling quota are counted whole, whatever the kind.
    INSERT INTO billing_entitlement_grant_balances
      (subject_id, definition_id, grant_state, grant_id, is_allotment, priority, effective_at, expires_at, ends_at, amount)
    VALUES
      (p_subject_id, v_definition_id, 'pending', p_grant_id,
       v_type IN ('capacity', 'state') OR COALESCE(v_anchor = 'rolling', FALSE)
         OR (v_type = 'metered_quota' AND p_grant_kind IN ('plan_base', 'plan_bonus', 'addon_timeboxed')),
       v_priority, v_effective_at, p_expires_at, p_expires_at, p_amount);
    CALL entitlement_settle_in_tx_v1(p_subject_id, v_definition_id, v_now, 'grant', v_boundaries);

    INSERT INTO billing_limit_changes (change_source, changes, changed_at)
    VALUES (CASE p_source WHEN 'purchase' THEN 'purchase_grant' WHEN 'plan_assignment' THEN 'plan_grant' ELSE 'manual_refresh' END,
            JSON_ARRAY(JSON_OBJECT('subjectId', p_subject_id, 'codes', JSON_ARRAY(p_code))), v_now);
  END IF;
END
