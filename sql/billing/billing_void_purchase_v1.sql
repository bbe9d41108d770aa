-- billing_void_purchase_v1: takes back all that a purchase granted, because it should not have been, whatever the money does.
--
-- Called by    the console's POST purchases/{id}/void; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        the key's row; then as billing_take_back_in_tx_v1.
-- Idempotency  p_idempotency_key; and a purchase that is void already stays as it is.
-- Parameters   p_purchase_id      the purchase
--              p_idempotency_key  1 to 128 visible ASCII characters
--              p_reason           1 to 255 characters
--              p_created_by       who; null: the database user
-- Results      as billing_show_purchases_in_tx_v1.
-- Errors       as billing_begin_operation_in_tx_v1; VALIDATION_FAILED, PURCHASE_NOT_FOUND; as billing_take_back_in_tx_v1.
-- Cost         three rows, and what each revocation costs.
CREATE PROCEDURE billing_void_purchase_v1(
  IN p_purchase_id     BIGINT UNSIGNED,
  IN p_idempotency_key VARCHAR(128),
  IN p_reason          VARCHAR(255),
  IN p_created_by      VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Takes back all that a purchase granted'
BEGIN
  DECLARE v_created_by VARCHAR(128) DEFAULT COALESCE(p_created_by, USER());
  DECLARE v_subject_id, v_result_id BIGINT UNSIGNED;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL billing_begin_operation_in_tx_v1(p_idempotency_key, 'void_purchase', JSON_ARRAY(p_purchase_id, p_reason), v_created_by, v_result_id);
    IF v_result_id IS NULL THEN
      IF p_reason IS NULL OR TRIM(p_reason) = '' THEN
        SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: reason: must say why';
      END IF;
      SELECT p.subject_id INTO v_subject_id FROM billing_purchases AS p WHERE p.id = p_purchase_id;
      IF v_subject_id IS NULL THEN
        SIGNAL SQLSTATE '45111' SET MYSQL_ERRNO = 52111, MESSAGE_TEXT = 'PURCHASE_NOT_FOUND: no purchase has this id';
      END IF;
      CALL billing_lock_subject_in_tx_v1(v_subject_id);
      UPDATE billing_purchases AS p
         SET p.status = 'voided', p.voided_at = UTC_TIMESTAMP(3), p.voided_by = v_created_by, p.void_reason = p_reason
       WHERE p.id = p_purchase_id AND p.status <> 'voided';
      CALL billing_take_back_in_tx_v1(p_purchase_id, v_created_by);
      UPDATE billing_operations AS o SET o.result_id = p_purchase_id WHERE o.idempotency_key = CONVERT(p_idempotency_key USING ascii);
    END IF;
    COMMIT;
  END;
  CALL billing_show_purchases_in_tx_v1(JSON_ARRAY(p_purchase_id));
END
