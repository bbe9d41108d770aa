-- billing_show_assignment_in_tx_v1: returns one plan assignment.
--
-- Called by    every procedure that answers with a plan assignment.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_assignment_id  the assignment
--              p_made           whether the caller has just made it; returned as it is
-- Results      one row: id, subject_id, plan_code, plan_name, quantity, status, effective_at, ended_at, period_start_at, period_end_at,
--              provider_subscription_id, failure_count, last_failure, retry_at, created_by, created_at, made; none where there is no such assignment.
-- Errors       none.
-- Cost         two rows.
CREATE PROCEDURE billing_show_assignment_in_tx_v1(
  IN p_assignment_id BIGINT UNSIGNED,
  IN p_made          BOOLEAN
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns one plan assignment'
BEGIN
  SELECT a.id, a.subject_id, p.code AS plan_code, p.name AS plan_name, a.quantity, a.status, a.effective_at, a.ended_at, a.period_start_at, a.period_end_at,
         a.provider_subscription_id, a.failure_count, a.last_failure, a.retry_at, a.created_by, a.created_at, p_made AS made
    FROM billing_plan_assignments AS a
    JOIN billing_plans AS p ON p.id = a.plan_id
   WHERE a.id = p_assignment_id;
END
