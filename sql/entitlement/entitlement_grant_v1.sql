-- entitlement_grant_v1: makes one grant by hand, in one commit.
--
-- Called by    the console's POST grants; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone: there, call entitlement_grant_in_tx_v1.
-- Locks        as entitlement_grant_in_tx_v1.
-- Idempotency  p_idempotency_key: the same key with the same content gives the first grant again.
-- Parameters   p_subject_id       billable entity
--              p_code             definition
--              p_amount           smallest units, 1 to 2^53-1
--              p_grant_kind       promo, manual_adjustment, correction: plans and purchases make the other kinds, never a hand
--              p_effective_at     UTC; null: now
--              p_expires_at       UTC, excluded, after now; null: never
--              p_priority         0 to 255; null: 100
--              p_idempotency_key  1 to 128 visible ASCII characters
--              p_reason           1 to 255 characters
--              p_created_by       who; null: the database user
-- Results      the grant, one row; then the limitation, as entitlement_limitations_v1.
-- Errors       IDEMPOTENCY_KEY_REQUIRED, then as entitlement_grant_in_tx_v1.
-- Cost         as entitlement_grant_in_tx_v1.
CREATE PROCEDURE entitlement_grant_v1(
  IN p_subject_id      BIGINT UNSIGNED,
  IN p_code            VARCHAR(64),
  IN p_amount          BIGINT,
  IN p_grant_kind      VARCHAR(32),
  IN p_effective_at    DATETIME(3),
  IN p_expires_at      DATETIME(3),
  IN p_priority        SMALLINT,
  IN p_idempotency_key VARCHAR(128),
  IN p_reason          VARCHAR(255),
  IN p_created_by      VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes one grant by hand in one commit'
BEGIN
  DECLARE v_grant_id BIGINT UNSIGNED;
  DECLARE v_replayed BOOLEAN;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    IF p_idempotency_key IS NULL THEN
      SIGNAL SQLSTATE '45002' SET MYSQL_ERRNO = 52002, MESSAGE_TEXT = 'IDEMPOTENCY_KEY_REQUIRED: give the header Idempotency-Key';
    END IF;
    IF NOT REGEXP_LIKE(p_idempotency_key, '^[!-~]{1,128}\\z') THEN
      SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: idempotencyKey: must be 1 to 128 visible ASCII characters';
    END IF;
    IF p_grant_kind NOT IN ('promo', 'manual_adjustment', 'correction') THEN
      SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: kind: must be promo, manual_adjustment or correction';
    END IF;
    IF p_reason IS NULL OR TRIM(p_reason) = '' THEN
      SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: reason: must say why';
    END IF;
    CALL entitlement_grant_in_tx_v1(p_subject_id, p_code, p_amount, p_grant_kind, p_effective_at, p_expires_at, p_priority, 'operator', NULL, NULL,
                                    CONCAT('operator:', p_idempotency_key), p_reason, COALESCE(p_created_by, USER()), v_grant_id, v_replayed);
    COMMIT;
  END;
  CALL entitlement_show_grant_in_tx_v1(v_grant_id, v_replayed);
  CALL entitlement_show_limitations_in_tx_v1(JSON_ARRAY(JSON_OBJECT('subjectId', p_subject_id)), p_code, UTC_TIMESTAMP(3));
END
