-- scaffold_project_delete_v1: deletes a project, and gives its place back.
--
-- Called by    DELETE /api/projects/{id}; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        as scaffold_stand_in_line_in_tx_v1; the project; then as entitlement_set_count_in_tx_v1.
-- Idempotency  a deleted project stays deleted: the same again gives the same answer and writes nothing.
-- Parameters   p_subject_id  billable entity
--              p_project_id  the project
-- Results      the project, as scaffold_show_project_in_tx_v1, and the limitation, as entitlement_limitations_v1. Neither where the
--              subject never had such a project.
-- Errors       as scaffold_stand_in_line_in_tx_v1.
-- Cost         a row, and the count of the subject's projects.
CREATE PROCEDURE scaffold_project_delete_v1(
  IN p_subject_id BIGINT UNSIGNED,
  IN p_project_id BIGINT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Deletes a project'
deleting: BEGIN
  DECLARE v_now, v_deleted_at DATETIME(3);
  DECLARE v_project_id BIGINT UNSIGNED;
  DECLARE v_definition_id INT UNSIGNED;
  DECLARE v_count BIGINT;
  DECLARE v_code VARCHAR(64);

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL scaffold_stand_in_line_in_tx_v1(p_subject_id, v_code);
    SELECT p.id, p.deleted_at INTO v_project_id, v_deleted_at
      FROM scaffold_projects AS p
     WHERE p.id = p_project_id AND p.subject_id = p_subject_id
       FOR UPDATE;
    SET v_now = UTC_TIMESTAMP(3);
    IF v_project_id IS NULL THEN
      ROLLBACK;
      LEAVE deleting;
    END IF;
    IF v_deleted_at IS NULL THEN
      UPDATE scaffold_projects AS p SET p.status = 'archived', p.updated_at = v_now, p.deleted_at = v_now WHERE p.id = p_project_id;
      SELECT COUNT(*) INTO v_count
        FROM scaffold_projects AS p
       WHERE p.subject_id = p_subject_id AND p.status <> 'archived';
      CALL entitlement_set_count_in_tx_v1(p_subject_id, 'projects', v_count, 'adapter', v_definition_id);
    END IF;
    COMMIT;
  END;

  CALL scaffold_show_project_in_tx_v1(p_project_id, v_deleted_at IS NOT NULL);
  CALL entitlement_limitations_v1(p_subject_id, v_code, FALSE);
END
