-- operator_over_limit_v1: returns who is over a limit, and by how much.
--
-- Called by    people; the console.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_limit  rows at most, 1 to 10,000
-- Results      a row per balance that is over its limit, the furthest first: subject_id, entity_ref, code, granted_amount, consumed_amount, held_amount,
--              effective_amount, next_change_at. As of each balance's last settlement.
-- Errors       VALIDATION_FAILED.
-- Cost         all current balances.
CREATE PROCEDURE operator_over_limit_v1(
  IN p_limit INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns who is over a limit'
BEGIN
  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 10000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 10000';
  END IF;
  SELECT b.subject_id, e.entity_ref, d.code, b.granted_amount, b.consumed_amount, b.held_amount, b.effective_amount, b.next_change_at
    FROM billing_entitlement_balances AS b
    JOIN billing_entitlement_definitions AS d ON d.id = b.definition_id
    JOIN billable_entities AS e ON e.id = b.subject_id
   WHERE b.history_no = 0 AND b.over_limit
   ORDER BY b.effective_amount, b.subject_id, b.definition_id
   LIMIT p_limit;
END
