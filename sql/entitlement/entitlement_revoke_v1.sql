-- entitlement_revoke_v1: ends one grant early by hand, in one commit.
--
-- Called by    the console's POST grants/{id}/revoke; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone: there, call entitlement_revoke_in_tx_v1.
-- Locks        as entitlement_revoke_in_tx_v1.
-- Idempotency  p_idempotency_key: the same key for the same grant writes nothing the second time.
-- Parameters   p_grant_id         the grant
--              p_idempotency_key  1 to 128 visible ASCII characters
--              p_reason           1 to 255 characters
--              p_created_by       who; null: the database user
-- Results      the grant, one row; then the limitation, as entitlement_limitations_v1.
-- Errors       IDEMPOTENCY_KEY_REQUIRED, then as entitlement_revoke_in_tx_v1.
-- Cost         as entitlement_revoke_in_tx_v1.
CREATE PROCEDURE entitlement_revoke_v1(
  IN p_grant_id        BIGINT UNSIGNED,
  IN p_idempotency_key VARCHAR(128),
  IN p_reason          VARCHAR(255),
  IN p_created_by      VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Ends one grant early by hand in one commit'
BEGIN
  DECLARE v_replayed BOOLEAN;
  DECLARE v_subject_id BIGINT UNSIGNED;
  DECLARE v_code VARCHAR(64);

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
    IF p_reason IS NULL OR TRIM(p_reason) = '' THEN
      SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: reason: must say why';
    END IF;
    CALL entitlement_revoke_in_tx_v1(p_grant_id, NULL, CONCAT('operator:', p_idempotency_key), p_reason, COALESCE(p_created_by, USER()), v_replayed);
    COMMIT;
  END;
  SELECT g.subject_id, d.code INTO v_subject_id, v_code
    FROM billing_entitlement_grants AS g
    JOIN billing_entitlement_definitions AS d ON d.id = g.definition_id
   WHERE g.id = p_grant_id;
  CALL entitlement_show_grant_in_tx_v1(p_grant_id, v_replayed);
  CALL entitlement_show_limitations_in_tx_v1(JSON_ARRAY(JSON_OBJECT('subjectId', v_subject_id)), v_code, UTC_TIMESTAMP(3));
END
