-- scaffold_project_update_v1: renames a project, archives it, or brings it back if there is room for it.
--
-- Called by    PATCH and PUT /api/projects/{id}; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        as scaffold_stand_in_line_in_tx_v1; the project; then as entitlement_consume_in_tx_v1 and entitlement_set_count_in_tx_v1.
-- Idempotency  a name and archived are absolute. Bringing back has a key, per subject: the same again gives the project as it is now, and
--              writes nothing, also when it was archived since.
-- Parameters   p_subject_id       billable entity
--              p_project_id       the project
--              p_name             null: leave as it is; 1 to 160 characters
--              p_status           null: leave as it is; active, archived
--              p_usage_event_key  1 to 128 visible ASCII characters; needed to bring back
-- Results      to bring back, first the rows of entitlement_consume_in_tx_v1; where they refuse, nothing else and nothing was written.
--              Then the project, as scaffold_show_project_in_tx_v1, and the limitation, as entitlement_limitations_v1. Neither where the
--              subject has no such project.
-- Errors       VALIDATION_FAILED; as scaffold_stand_in_line_in_tx_v1; IDEMPOTENCY_KEY_REQUIRED.
-- Cost         a row, the count of the subject's projects, and to bring back a use.
CREATE PROCEDURE scaffold_project_update_v1(
  IN p_subject_id      BIGINT UNSIGNED,
  IN p_project_id      BIGINT UNSIGNED,
  IN p_name            VARCHAR(160),
  IN p_status          VARCHAR(32),
  IN p_usage_event_key VARCHAR(256)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Renames a project, archives it, or brings it back'
changing: BEGIN
  DECLARE v_now DATETIME(3);
  DECLARE v_project_id, v_used_id BIGINT UNSIGNED;
  DECLARE v_definition_id, v_not_accepted INT UNSIGNED;
  DECLARE v_count BIGINT;
  DECLARE v_code VARCHAR(64);
  DECLARE v_name VARCHAR(160);
  DECLARE v_status VARCHAR(32);
  DECLARE v_replayed BOOLEAN;

  IF NOT REGEXP_LIKE(p_usage_event_key, '^[!-~]{1,128}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: idempotencyKey: must be 1 to 128 visible ASCII characters';
  END IF;
  IF TRIM(p_name) = '' THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: name: must be 1 to 160 characters';
  END IF;
  -- Byte for byte: the column itself would take Active, and a comparison with it would miss that.
  IF NOT REGEXP_LIKE(p_status, '^(active|archived)\\z', 'c') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: status: must be active or archived';
  END IF;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL scaffold_stand_in_line_in_tx_v1(p_subject_id, v_code);
    SELECT p.id, p.name, p.status INTO v_project_id, v_name, v_status
      FROM scaffold_projects AS p
     WHERE p.id = p_project_id AND p.subject_id = p_subject_id AND p.deleted_at IS NULL
       FOR UPDATE;
    SET v_now = UTC_TIMESTAMP(3);
    IF v_project_id IS NULL THEN
      ROLLBACK;
      LEAVE changing;
    END IF;
    IF p_status = 'active' AND v_status = 'archived' AND p_usage_event_key IS NULL THEN
      SIGNAL SQLSTATE '45002' SET MYSQL_ERRNO = 52002, MESSAGE_TEXT = 'IDEMPOTENCY_KEY_REQUIRED: bringing a project back takes the header Idempotency-Key';
    END IF;

    -- A key that was used: whatever it did is done. Acting on it again would bring a project back that was archived since, for nothing.
    SELECT r.id INTO v_used_id
      FROM billing_capabilities AS c
      JOIN billing_resource_changes AS r ON r.definition_id = c.definition_id
     WHERE c.capability = 'projects.unarchive' AND r.subject_id = p_subject_id AND r.usage_event_key = CONVERT(p_usage_event_key USING ascii);
    SET v_replayed = p_status <=> 'active' AND v_used_id IS NOT NULL;

    IF v_replayed OR (p_status = 'active' AND v_status = 'archived') THEN
      CALL entitlement_consume_in_tx_v1(JSON_ARRAY(JSON_OBJECT('subjectId', p_subject_id, 'usageEventKey', p_usage_event_key,
        'items', JSON_ARRAY(JSON_OBJECT('capability', 'projects.unarchive', 'metadata', JSON_OBJECT('projectId', p_project_id, 'name', p_name))))), v_not_accepted);
      IF v_not_accepted > 0 THEN
        ROLLBACK;
        LEAVE changing;
      END IF;
    END IF;
    IF NOT v_replayed THEN
      -- By bytes: a name may change in case alone.
      IF CAST(COALESCE(p_name, v_name) AS BINARY) <> CAST(v_name AS BINARY) OR COALESCE(p_status, v_status) <> v_status THEN
        UPDATE scaffold_projects AS p
           SET p.name = COALESCE(p_name, p.name), p.status = COALESCE(p_status, p.status), p.updated_at = v_now
         WHERE p.id = p_project_id;
      END IF;
      SELECT COUNT(*) INTO v_count
        FROM scaffold_projects AS p
       WHERE p.subject_id = p_subject_id AND p.status <> 'archived';
      CALL entitlement_set_count_in_tx_v1(p_subject_id, 'projects', v_count, 'adapter', v_definition_id);
    END IF;
    COMMIT;
  END;

  CALL scaffold_show_project_in_tx_v1(p_project_id, v_replayed);
  CALL entitlement_limitations_v1(p_subject_id, v_code, FALSE);
END
