-- scaffold_annuity_history_v1: returns a page of a subject's calculations, newest first.
--
-- Called by    GET /api/history; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_subject_id  billable entity
--              p_before_id   the last calculation of the page before; null: the first page
--              p_limit       rows at most, 1 to 201
-- Results      a row per calculation, as scaffold_annuity_record_v1.
-- Errors       VALIDATION_FAILED.
-- Cost         a page, by index.
CREATE PROCEDURE scaffold_annuity_history_v1(
  IN p_subject_id BIGINT UNSIGNED,
  IN p_before_id  BIGINT UNSIGNED,
  IN p_limit      INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns a page of a subject''s calculations'
BEGIN
  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 201 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 201';
  END IF;
  SELECT a.id, a.inputs, CAST(a.result AS CHAR) AS result, a.created_at, FALSE AS replayed
    FROM scaffold_annuity_calculations AS a FORCE INDEX (ix_annuity_calculations_subject)
   WHERE a.subject_id = p_subject_id AND a.id < COALESCE(p_before_id, 18446744073709551615)
   ORDER BY a.id DESC
   LIMIT p_limit;
END
