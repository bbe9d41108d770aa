-- scaffold_show_project_in_tx_v1: returns one project.
--
-- Called by    every procedure that answers with a project.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_project_id  the project, also a deleted one
--              p_replayed    whether the caller wrote nothing, as an earlier request did it all; returned as it is
-- Results      one row; none where there is no such project.
-- Errors       none.
-- Cost         one row.
CREATE PROCEDURE scaffold_show_project_in_tx_v1(
  IN p_project_id BIGINT UNSIGNED,
  IN p_replayed   BOOLEAN
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns one project'
BEGIN
  SELECT p.id, p.subject_id, p.name, p.status, p.created_at, p.updated_at, p.deleted_at, p_replayed AS replayed
    FROM scaffold_projects AS p
   WHERE p.id = p_project_id;
END
