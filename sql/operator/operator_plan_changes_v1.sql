-- operator_plan_changes_v1: returns scheduled changes of plans by when they are due: first what is due, and what was set aside.
--
-- Called by    people; the console.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_limit  rows at most, 1 to 10,000
-- Results      a row per scheduled change, by due_at: assignment_id, subject_id, entity_ref, plan_code, quantity, effective_at, due_at, is_due, failure_count,
--              last_failure, retry_at.
-- Errors       VALIDATION_FAILED.
-- Cost         the rows that it returns, by index.
CREATE PROCEDURE operator_plan_changes_v1(
  IN p_limit INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns scheduled changes of plans'
BEGIN
  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 10000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 10000';
  END IF;
  SELECT a.id AS assignment_id, a.subject_id, e.entity_ref, p.code AS plan_code, a.quantity, a.effective_at, a.due_at, a.due_at <= UTC_TIMESTAMP(3) AS is_due,
         a.failure_count, a.last_failure, a.retry_at
    FROM billing_plan_assignments AS a FORCE INDEX (ix_assignments_due)
    JOIN billing_plans AS p ON p.id = a.plan_id
    JOIN billable_entities AS e ON e.id = a.subject_id
   WHERE a.due_at IS NOT NULL
   ORDER BY a.due_at, a.id
   LIMIT p_limit;
END
