-- entitlement_revoke_in_tx_v1: ends one grant early. What was used from it stays used from it; its unused rest is gone.
--
-- Called by    entitlement_revoke_v1; plan changes and refunds; people, inside their own transaction.
-- Transaction  needs the caller's.
-- Locks        the balance row, then its grant balances.
-- Idempotency  p_dedupe_key: the same key for the same grant writes nothing the second time.
-- Parameters   p_grant_id     the grant
--              p_revoked_at   UTC; null: now; never before now: what has been used cannot be unmade
--              p_dedupe_key   1 to 255 visible ASCII characters
--              p_reason       null or up to 255 characters
--              p_created_by   who, up to 128 characters
--              p_replayed     out: whether this very revocation was there already
-- Results      none.
-- Errors       VALIDATION_FAILED, GRANT_NOT_FOUND, IDEMPOTENCY_CONFLICT, GRANT_ENDED, in this order; at any settlement
--              SETTLEMENT_STUCK.
-- Cost         one row, one settlement, one outbox row.
CREATE PROCEDURE entitlement_revoke_in_tx_v1(
  IN  p_grant_id   BIGINT UNSIGNED,
  IN  p_revoked_at DATETIME(3),
  IN  p_dedupe_key VARCHAR(255),
  IN  p_reason     VARCHAR(255),
  IN  p_created_by VARCHAR(128),
  OUT p_replayed   BOOLEAN
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Ends one grant early inside the caller''s transaction'
BEGIN
  DECLARE v_now, v_revoked_at, v_ends_at DATETIME(3);
  DECLARE v_subject_id, v_keys_grant_id, v_revoked_id, v_locked_id BIGINT UNSIGNED;
  DECLARE v_definition_id INT UNSIGNED;
  DECLARE v_source, v_state VARCHAR(32);
  DECLARE v_code VARCHAR(64);
  DECLARE v_boundaries INT UNSIGNED;
  -- The key was used for a grant of another balance at the same moment.
  DECLARE EXIT HANDLER FOR 1062
    SIGNAL SQLSTATE '45201' SET MYSQL_ERRNO = 52201, MESSAGE_TEXT = 'IDEMPOTENCY_CONFLICT: this key was used for another revocation';

  SET p_replayed = FALSE;

  IF p_dedupe_key IS NULL OR NOT REGEXP_LIKE(p_dedupe_key, '^[!-~]{1,255}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: dedupeKey: must be 1 to 255 visible ASCII characters';
  END IF;
  IF p_created_by IS NULL OR p_created_by = '' THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: createdBy: must say who revokes the grant';
  END IF;
  SELECT g.subject_id, g.definition_id, g.source, d.code INTO v_subject_id, v_definition_id, v_source, v_code
    FROM billing_entitlement_grants AS g
    JOIN billing_entitlement_definitions AS d ON d.id = g.definition_id
   WHERE g.id = p_grant_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45104' SET MYSQL_ERRNO = 52104, MESSAGE_TEXT = 'GRANT_NOT_FOUND: no grant has this id';
  END IF;

  SELECT b.subject_id INTO v_locked_id
    FROM billing_entitlement_balances AS b
   WHERE b.subject_id = v_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0
     FOR UPDATE;
  SET v_now = UTC_TIMESTAMP(3);
  SET v_revoked_at = COALESCE(p_revoked_at, v_now);

  SELECT r.grant_id INTO v_keys_grant_id
    FROM billing_entitlement_revocations AS r
   WHERE r.dedupe_key = CONVERT(p_dedupe_key USING ascii)
     FOR SHARE;
  IF v_keys_grant_id <> p_grant_id THEN
    SIGNAL SQLSTATE '45201' SET MYSQL_ERRNO = 52201, MESSAGE_TEXT = 'IDEMPOTENCY_CONFLICT: this key was used for another revocation';
  END IF;

  IF v_keys_grant_id IS NOT NULL THEN
    SET p_replayed = TRUE;
  ELSE
    IF v_revoked_at < v_now THEN
      SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: revokedAt: must not be in the past';
    END IF;
    CALL entitlement_settle_in_tx_v1(v_subject_id, v_definition_id, v_now, NULL, v_boundaries);
    SELECT g.grant_state, g.ends_at INTO v_state, v_ends_at
      FROM billing_entitlement_grant_balances AS g
     WHERE g.grant_id = p_grant_id
       FOR UPDATE;
    SELECT r.grant_id INTO v_revoked_id
      FROM billing_entitlement_revocations AS r
     WHERE r.grant_id = p_grant_id
       FOR SHARE;
    IF v_state = 'ended' OR v_revoked_id IS NOT NULL THEN
      SIGNAL SQLSTATE '45202' SET MYSQL_ERRNO = 52202, MESSAGE_TEXT = 'GRANT_ENDED: the grant has expired or was revoked before';
    END IF;
    IF v_ends_at <= v_revoked_at THEN
      SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: revokedAt: the grant ends by itself before that';
    END IF;

    INSERT INTO billing_entitlement_revocations (grant_id, subject_id, definition_id, revoked_at, dedupe_key, reason, created_by, created_at)
    VALUES (p_grant_id, v_subject_id, v_definition_id, v_revoked_at, p_dedupe_key, p_reason, p_created_by, v_now);
    UPDATE billing_entitlement_grant_balances AS g
       SET g.ends_at = v_revoked_at
     WHERE g.grant_id = p_grant_id;
    CALL entitlement_settle_in_tx_v1(v_subject_id, v_definition_id, v_now, 'revocation', v_boundaries);

    INSERT INTO billing_limit_changes (change_source, changes, changed_at)
    VALUES (CASE v_source WHEN 'purchase' THEN 'purchase_grant' WHEN 'plan_assignment' THEN 'plan_grant' ELSE 'manual_refresh' END,
            JSON_ARRAY(JSON_OBJECT('subjectId', v_subject_id, 'codes', JSON_ARRAY(v_code))), v_now);
  END IF;
END
