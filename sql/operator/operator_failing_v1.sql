-- operator_failing_v1: returns balances whose settlement failed, with what it said and when it is tried again.
--
-- Called by    people; the console.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_limit  rows at most, 1 to 10,000
-- Results      a row per balance that is set aside, the most often failed first: subject_id, entity_ref, code, failure_count, last_failure, next_change_at, retry_at.
-- Errors       VALIDATION_FAILED.
-- Cost         the balances that are set aside, by index.
CREATE PROCEDURE operator_failing_v1(
  IN p_limit INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns settlements that fail'
BEGIN
  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 10000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 10000';
  END IF;
  SELECT b.subject_id, e.entity_ref, d.code, b.failure_count, b.last_failure, b.next_change_at, b.retry_at
    FROM billing_entitlement_balances AS b FORCE INDEX (ix_balances_failures)
    JOIN billing_entitlement_definitions AS d ON d.id = b.definition_id
    JOIN billable_entities AS e ON e.id = b.subject_id
   WHERE b.due_at IS NOT NULL AND b.failure_count > 0
   ORDER BY b.failure_count DESC, b.subject_id, b.definition_id
   LIMIT p_limit;
END
