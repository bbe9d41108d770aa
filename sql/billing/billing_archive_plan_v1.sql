-- billing_archive_plan_v1: keeps new subjects off a plan. Who is on it stays on it.
--
-- Called by    the console's POST plans/{id}/archive; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone: there, call billing_put_plan_in_tx_v1.
-- Locks        the key; then as billing_put_plan_in_tx_v1.
-- Idempotency  p_idempotency_key; and a plan that is archived stays as it is.
-- Parameters   p_plan_id          the plan
--              p_idempotency_key  1 to 128 visible ASCII characters
--              p_created_by       who; null: the database user
-- Results      the plan, as billing_show_plans_in_tx_v1.
-- Errors       as billing_begin_operation_in_tx_v1; PLAN_NOT_FOUND.
-- Cost         one row.
CREATE PROCEDURE billing_archive_plan_v1(
  IN p_plan_id         INT UNSIGNED,
  IN p_idempotency_key VARCHAR(128),
  IN p_created_by      VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Archives a plan in one commit'
BEGIN
  DECLARE v_first_id BIGINT UNSIGNED;
  DECLARE v_plan_id INT UNSIGNED;
  DECLARE v_problems JSON;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL billing_begin_operation_in_tx_v1(p_idempotency_key, 'archive_plan', JSON_ARRAY(p_plan_id), COALESCE(p_created_by, USER()), v_first_id);
    IF v_first_id IS NULL THEN
      -- An id that is not there would make a plan.
      CALL billing_put_plan_in_tx_v1(COALESCE(p_plan_id, 0), JSON_OBJECT('archived', CAST('true' AS JSON)), NULL, v_plan_id, v_problems);
      UPDATE billing_operations AS o SET o.result_id = v_plan_id WHERE o.idempotency_key = CONVERT(p_idempotency_key USING ascii);
    END IF;
    COMMIT;
  END;
  CALL billing_show_plans_in_tx_v1(p_plan_id, NULL, 1, FALSE);
END
