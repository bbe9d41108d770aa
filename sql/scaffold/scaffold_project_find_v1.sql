-- scaffold_project_find_v1: returns one project of a subject.
--
-- Called by    GET /api/projects/{id}; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_subject_id  billable entity
--              p_project_id  the project
-- Results      one row, as scaffold_show_project_in_tx_v1; none where the subject has no such project, or had it and deleted it.
-- Errors       none.
-- Cost         two rows.
CREATE PROCEDURE scaffold_project_find_v1(
  IN p_subject_id BIGINT UNSIGNED,
  IN p_project_id BIGINT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns one project of a subject'
BEGIN
  DECLARE v_project_id BIGINT UNSIGNED;

  SELECT p.id INTO v_project_id
    FROM scaffold_projects AS p
   WHERE p.id = p_project_id AND p.subject_id = p_subject_id AND p.deleted_at IS NULL;
  CALL scaffold_show_project_in_tx_v1(v_project_id, FALSE);
END
