-- billing_put_plan_v1: makes a plan, or edits one, in one commit.
--
-- Called by    the console's POST plans and PATCH plans/{id}; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone: there, call billing_put_plan_in_tx_v1.
-- Locks        the key; then as billing_put_plan_in_tx_v1.
-- Idempotency  p_idempotency_key: the same again changes nothing and answers with the plan as it is by now.
-- Parameters   p_plan_id           the plan; null: make one
--              p_fields            as billing_put_plan_in_tx_v1
--              p_expected_version  the version that is edited; null: whichever
--              p_idempotency_key   1 to 128 visible ASCII characters
--              p_created_by        who; null: the database user
-- Results      what is wrong, as billing_show_problems_in_tx_v1: no rows, or nothing was written. Then the plan as it is, as billing_show_plans_in_tx_v1: one row,
--              or none where it was to be made and something is wrong.
-- Errors       as billing_begin_operation_in_tx_v1, billing_put_plan_in_tx_v1.
-- Cost         as billing_put_plan_in_tx_v1.
CREATE PROCEDURE billing_put_plan_v1(
  IN p_plan_id          INT UNSIGNED,
  IN p_fields           JSON,
  IN p_expected_version INT UNSIGNED,
  IN p_idempotency_key  VARCHAR(128),
  IN p_created_by       VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes or edits a plan in one commit'
BEGIN
  DECLARE v_first_id BIGINT UNSIGNED;
  DECLARE v_plan_id INT UNSIGNED DEFAULT p_plan_id;
  DECLARE v_problems JSON;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL billing_begin_operation_in_tx_v1(p_idempotency_key, 'put_plan', JSON_ARRAY(p_plan_id, p_fields, p_expected_version), COALESCE(p_created_by, USER()), v_first_id);
    IF v_first_id IS NOT NULL THEN
      SET v_plan_id = v_first_id;
    ELSE
      CALL billing_put_plan_in_tx_v1(p_plan_id, p_fields, p_expected_version, v_plan_id, v_problems);
      UPDATE billing_operations AS o SET o.result_id = v_plan_id WHERE o.idempotency_key = CONVERT(p_idempotency_key USING ascii);
    END IF;
    IF v_problems IS NULL THEN
      COMMIT;
    ELSE
      ROLLBACK;
      SET v_plan_id = p_plan_id;
    END IF;
  END;
  CALL billing_show_problems_in_tx_v1(v_problems);
  -- No plan has the id 0.
  CALL billing_show_plans_in_tx_v1(COALESCE(v_plan_id, 0), NULL, 1, p_plan_id IS NULL AND v_first_id IS NULL);
END
