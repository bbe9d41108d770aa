-- scaffold_project_list_v1: returns a page of a subject's projects, oldest first.
--
-- Called by    GET /api/projects; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_subject_id  billable entity
--              p_after_id    the last project of the page before; null: the first page
--              p_limit       rows at most, 1 to 201
-- Results      a row per project, as scaffold_show_project_in_tx_v1.
-- Errors       VALIDATION_FAILED.
-- Cost         the subject's projects; it is an example, and sorts them by id.
CREATE PROCEDURE scaffold_project_list_v1(
  IN p_subject_id BIGINT UNSIGNED,
  IN p_after_id   BIGINT UNSIGNED,
  IN p_limit      INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns a page of a subject''s projects'
BEGIN
  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 201 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 201';
  END IF;
  SELECT p.id, p.subject_id, p.name, p.status, p.created_at, p.updated_at, p.deleted_at, FALSE AS replayed
    FROM scaffold_projects AS p
   WHERE p.subject_id = p_subject_id AND p.id > COALESCE(p_after_id, 0) AND p.deleted_at IS NULL
   ORDER BY p.id
   LIMIT p_limit;
END
