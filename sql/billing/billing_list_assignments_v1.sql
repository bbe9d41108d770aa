-- billing_list_assignments_v1: lists plan assignments, newest first.
--
-- Called by    the console's GET plan-assignments; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_subject_id  one billable entity's; null: all
--              p_before_id   those made before this one; null: from the newest on
--              p_limit       rows at most, 1 to 1,000
-- Results      a row per assignment, as billing_show_assignment_in_tx_v1; made is 0.
-- Errors       VALIDATION_FAILED, SUBJECT_NOT_FOUND.
-- Cost         the rows that it returns; of one subject, all its assignments.
CREATE PROCEDURE billing_list_assignments_v1(
  IN p_subject_id BIGINT UNSIGNED,
  IN p_before_id  BIGINT UNSIGNED,
  IN p_limit      INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Lists plan assignments'
BEGIN
  DECLARE v_subject_id BIGINT UNSIGNED;

  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 1000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 1000';
  END IF;
  SELECT e.id INTO v_subject_id FROM billable_entities AS e WHERE e.id = p_subject_id;
  IF p_subject_id IS NOT NULL AND v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
  END IF;
  SELECT a.id, a.subject_id, p.code AS plan_code, p.name AS plan_name, a.quantity, a.status, a.effective_at, a.ended_at, a.period_start_at, a.period_end_at,
         a.provider_subscription_id, a.failure_count, a.last_failure, a.retry_at, a.created_by, a.created_at, FALSE AS made
    FROM billing_plan_assignments AS a
    JOIN billing_plans AS p ON p.id = a.plan_id
   WHERE (p_subject_id IS NULL OR a.subject_id = p_subject_id) AND (p_before_id IS NULL OR a.id < p_before_id)
   ORDER BY a.id DESC
   LIMIT p_limit;
END
