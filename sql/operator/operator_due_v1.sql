-- operator_due_v1: returns balances by when the clock changes them next: first what is due, and what was set aside.
--
-- Called by    people; the console.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_limit  rows at most, 1 to 10,000
-- Results      a row per balance that will change by the clock, by due_at: subject_id, entity_ref, code, next_change_at, due_at, is_due, failure_count,
--              last_failure, retry_at.
-- Errors       VALIDATION_FAILED.
-- Cost         the rows that it returns, by index.
CREATE PROCEDURE operator_due_v1(
  IN p_limit INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns what is due'
BEGIN
  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 10000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 10000';
  END IF;
  SELECT b.subject_id, e.entity_ref, d.code, b.next_change_at, b.due_at, b.due_at <= UTC_TIMESTAMP(3) AS is_due, b.failure_count, b.last_failure, b.retry_at
    FROM billing_entitlement_balances AS b FORCE INDEX (ix_balances_due)
    JOIN billing_entitlement_definitions AS d ON d.id = b.definition_id
    JOIN billable_entities AS e ON e.id = b.subject_id
   WHERE b.due_at IS NOT NULL
   ORDER BY b.due_at, b.subject_id, b.definition_id
   LIMIT p_limit;
END
