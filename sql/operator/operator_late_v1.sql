-- operator_late_v1: returns what the clock made due and was settled late, the latest first.
--
-- Called by    people; the console.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_limit  rows at most, 1 to 10,000
-- Results      a row per settlement of the last 24 hours that the clock caused, the latest first: subject_id, entity_ref, code, cause, settled_at (the boundary),
--              recorded_at (when it was settled), late_milliseconds. Windows that were passed over in one step count from the newest; uses that came
--              back late count from when they were taken, as they are taken all at once.
-- Errors       VALIDATION_FAILED.
-- Cost         the settlements of the last 24 hours, by index, but not more than the newest 100,000.
CREATE PROCEDURE operator_late_v1(
  IN p_limit INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns settlements that were late'
BEGIN
  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 10000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 10000';
  END IF;
  SELECT n.subject_id, e.entity_ref, d.code, n.cause, n.settled_at, n.recorded_at,
         TIMESTAMPDIFF(MICROSECOND, n.settled_at, n.recorded_at) DIV 1000 AS late_milliseconds
    FROM (SELECT s.subject_id, s.definition_id, s.segment_no, s.cause, s.settled_at, s.recorded_at
            FROM billing_entitlement_settlements AS s FORCE INDEX (ix_settlements_recorded)
           WHERE s.recorded_at > UTC_TIMESTAMP(3) - INTERVAL 1 DAY
           ORDER BY s.recorded_at DESC
           LIMIT 100000) AS n
    JOIN billing_entitlement_definitions AS d ON d.id = n.definition_id
    JOIN billable_entities AS e ON e.id = n.subject_id
   WHERE n.cause IN ('grant_boundary', 'hold_expiry', 'use_return', 'window_end')
   ORDER BY late_milliseconds DESC, n.subject_id, n.definition_id, n.segment_no
   LIMIT p_limit;
END
