-- billing_cancel_assignment_v1: ends a subject's plan by hand, or cancels a change that was scheduled, in one commit.
--
-- Called by    the console's POST plan-assignments/{id}/cancel; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone: there, call billing_end_assignment_in_tx_v1.
-- Locks        the key; then as billing_end_assignment_in_tx_v1.
-- Idempotency  p_idempotency_key; and an assignment that has ended or was cancelled stays as it is.
-- Parameters   p_assignment_id    the assignment
--              p_idempotency_key  1 to 128 visible ASCII characters
--              p_created_by       who; null: the database user
-- Results      the assignment, one row, as billing_show_assignment_in_tx_v1; then the limitations of what the subject ever held, as
--              entitlement_limitations_v1.
-- Errors       IDEMPOTENCY_KEY_REQUIRED and what else billing_begin_operation_in_tx_v1 says; then as billing_end_assignment_in_tx_v1.
-- Cost         one row more than billing_end_assignment_in_tx_v1.
CREATE PROCEDURE billing_cancel_assignment_v1(
  IN p_assignment_id   BIGINT UNSIGNED,
  IN p_idempotency_key VARCHAR(128),
  IN p_created_by      VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Ends a plan or cancels a scheduled one by hand in one commit'
BEGIN
  DECLARE v_created_by VARCHAR(128) DEFAULT COALESCE(p_created_by, USER());
  DECLARE v_assignment_id, v_subject_id BIGINT UNSIGNED;
  DECLARE v_changed BOOLEAN;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL billing_begin_operation_in_tx_v1(p_idempotency_key, 'cancel_assignment', JSON_ARRAY(p_assignment_id), v_created_by, v_assignment_id);
    IF v_assignment_id IS NULL THEN
      CALL billing_end_assignment_in_tx_v1(p_assignment_id, v_created_by, v_changed);
      UPDATE billing_operations AS o SET o.result_id = p_assignment_id WHERE o.idempotency_key = CONVERT(p_idempotency_key USING ascii);
    END IF;
    COMMIT;
  END;
  SELECT a.subject_id INTO v_subject_id FROM billing_plan_assignments AS a WHERE a.id = p_assignment_id;
  CALL billing_show_assignment_in_tx_v1(p_assignment_id, FALSE);
  CALL entitlement_limitations_v1(v_subject_id, NULL, TRUE);
END
