-- billing_assign_plan_v1: puts a subject on a plan by hand, now or at an instant, in one commit.
--
-- Called by    the console's POST plan-assignments; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone: there, call billing_assign_plan_in_tx_v1.
-- Locks        the key; then as billing_assign_plan_in_tx_v1.
-- Idempotency  p_idempotency_key: the same key with the same content gives the first result again.
-- Parameters   p_subject_id       billable entity
--              p_plan_code        the plan
--              p_quantity         1 to 1,000,000; null: 1
--              p_effective_at     UTC; null or not ahead: now; else it is scheduled
--              p_period_start_at, p_period_end_at  UTC, end excluded; the paid period, or null and null
--              p_idempotency_key  1 to 128 visible ASCII characters
--              p_created_by       who; null: the database user
-- Results      the assignment, one row, as billing_show_assignment_in_tx_v1: made is 1 if this call made it, 0 for a replay and a renewal; then the
--              limitations of what the subject ever held, as entitlement_limitations_v1.
-- Errors       IDEMPOTENCY_KEY_REQUIRED and what else billing_begin_operation_in_tx_v1 says; PLAN_NOT_FOUND, then as billing_assign_plan_in_tx_v1.
-- Cost         one row more than billing_assign_plan_in_tx_v1.
CREATE PROCEDURE billing_assign_plan_v1(
  IN p_subject_id      BIGINT UNSIGNED,
  IN p_plan_code       VARCHAR(64),
  IN p_quantity        INT UNSIGNED,
  IN p_effective_at    DATETIME(3),
  IN p_period_start_at DATETIME(3),
  IN p_period_end_at   DATETIME(3),
  IN p_idempotency_key VARCHAR(128),
  IN p_created_by      VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Puts a subject on a plan by hand in one commit'
BEGIN
  DECLARE v_created_by VARCHAR(128) DEFAULT COALESCE(p_created_by, USER());
  DECLARE v_quantity INT UNSIGNED DEFAULT COALESCE(p_quantity, 1);
  DECLARE v_plan_id INT UNSIGNED;
  DECLARE v_assignment_id BIGINT UNSIGNED;
  DECLARE v_changed BOOLEAN DEFAULT FALSE;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL billing_begin_operation_in_tx_v1(p_idempotency_key, 'assign_plan',
      JSON_ARRAY(p_subject_id, p_plan_code, v_quantity, p_effective_at, p_period_start_at, p_period_end_at), v_created_by, v_assignment_id);
    IF v_assignment_id IS NULL THEN
      SELECT p.id INTO v_plan_id FROM billing_plans AS p WHERE p.code = CONVERT(p_plan_code USING ascii);
      IF v_plan_id IS NULL THEN
        SIGNAL SQLSTATE '45107' SET MYSQL_ERRNO = 52107, MESSAGE_TEXT = 'PLAN_NOT_FOUND: no plan has this code';
      END IF;
      CALL billing_assign_plan_in_tx_v1(p_subject_id, v_plan_id, v_quantity, p_effective_at, p_period_start_at, p_period_end_at, NULL,
                                        CONCAT('operator:', p_idempotency_key), v_created_by, v_assignment_id, v_changed);
      UPDATE billing_operations AS o SET o.result_id = v_assignment_id WHERE o.idempotency_key = CONVERT(p_idempotency_key USING ascii);
    END IF;
    COMMIT;
  END;
  CALL billing_show_assignment_in_tx_v1(v_assignment_id, v_changed);
  CALL entitlement_limitations_v1(p_subject_id, NULL, TRUE);
END
