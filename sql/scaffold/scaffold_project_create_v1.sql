-- scaffold_project_create_v1: makes a project, if there is room for it. The example of a row and the use that pays for it in one commit.
--
-- Called by    POST /api/projects; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        as scaffold_stand_in_line_in_tx_v1; then as entitlement_consume_in_tx_v1 and entitlement_set_count_in_tx_v1.
-- Idempotency  p_usage_event_key, per subject: the same again gives the project that the first call made, as it is now, and writes nothing.
-- Parameters   p_subject_id       billable entity
--              p_name             1 to 160 characters
--              p_status           active, archived; an archived project takes no place
--              p_usage_event_key  1 to 128 visible ASCII characters
-- Results      for an active project first the rows of entitlement_consume_in_tx_v1; where they refuse, nothing else and nothing was
--              written. Then the project, as scaffold_show_project_in_tx_v1, and the limitation, as entitlement_limitations_v1.
-- Errors       IDEMPOTENCY_KEY_REQUIRED, VALIDATION_FAILED; as scaffold_stand_in_line_in_tx_v1; IDEMPOTENCY_CONFLICT.
-- Cost         a use, a row, and the count of the subject's projects.
CREATE PROCEDURE scaffold_project_create_v1(
  IN p_subject_id      BIGINT UNSIGNED,
  IN p_name            VARCHAR(160),
  IN p_status          VARCHAR(32),
  IN p_usage_event_key VARCHAR(256)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes a project, if there is room for it'
creating: BEGIN
  DECLARE v_now DATETIME(3);
  DECLARE v_project_id, v_used_id BIGINT UNSIGNED;
  DECLARE v_definition_id, v_not_accepted INT UNSIGNED;
  DECLARE v_count BIGINT;
  DECLARE v_code VARCHAR(64);
  DECLARE v_replayed BOOLEAN;
  DECLARE v_content, v_first_content BINARY(32);

  IF p_usage_event_key IS NULL THEN
    SIGNAL SQLSTATE '45002' SET MYSQL_ERRNO = 52002, MESSAGE_TEXT = 'IDEMPOTENCY_KEY_REQUIRED: give the header Idempotency-Key';
  END IF;
  IF NOT REGEXP_LIKE(p_usage_event_key, '^[!-~]{1,128}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: idempotencyKey: must be 1 to 128 visible ASCII characters';
  END IF;
  IF p_name IS NULL OR TRIM(p_name) = '' THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: name: must be 1 to 160 characters';
  END IF;
  -- Byte for byte: the column itself would take Active, and a comparison with it would miss that.
  IF p_status IS NULL OR NOT REGEXP_LIKE(p_status, '^(active|archived)\\z', 'c') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: status: must be active or archived';
  END IF;
  SET v_content = UNHEX(SHA2(JSON_ARRAY(p_name, p_status), 256));

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL scaffold_stand_in_line_in_tx_v1(p_subject_id, v_code);
    SET v_now = UTC_TIMESTAMP(3);

    SELECT p.id, p.content_sha256 INTO v_project_id, v_first_content
      FROM scaffold_projects AS p
     WHERE p.subject_id = p_subject_id AND p.usage_event_key = CONVERT(p_usage_event_key USING ascii);
    -- A use that is known without its project was another's: booked again it would be a replay, and so this project would be free.
    SELECT r.id INTO v_used_id
      FROM billing_capabilities AS c
      JOIN billing_resource_changes AS r ON r.definition_id = c.definition_id
     WHERE c.capability = 'projects.create' AND r.subject_id = p_subject_id AND r.usage_event_key = CONVERT(p_usage_event_key USING ascii);
    IF v_first_content <> v_content OR v_project_id IS NULL AND v_used_id IS NOT NULL THEN
      SIGNAL SQLSTATE '45201' SET MYSQL_ERRNO = 52201, MESSAGE_TEXT = 'IDEMPOTENCY_CONFLICT: this key was used for something else';
    END IF;
    SET v_replayed = v_project_id IS NOT NULL;

    IF NOT v_replayed AND p_status = 'active' THEN
      CALL entitlement_consume_in_tx_v1(JSON_ARRAY(JSON_OBJECT('subjectId', p_subject_id, 'usageEventKey', p_usage_event_key,
        'items', JSON_ARRAY(JSON_OBJECT('capability', 'projects.create', 'metadata', JSON_OBJECT('projectName', p_name))))), v_not_accepted);
      IF v_not_accepted > 0 THEN
        ROLLBACK;
        LEAVE creating;
      END IF;
    END IF;
    IF NOT v_replayed THEN
      INSERT INTO scaffold_projects (subject_id, name, status, usage_event_key, content_sha256, created_at, updated_at)
      VALUES (p_subject_id, p_name, p_status, p_usage_event_key, v_content, v_now, v_now);
      SET v_project_id = LAST_INSERT_ID();
      -- What there is, is the truth: the use has counted one more, and this sets right whatever was counted wrong before.
      SELECT COUNT(*) INTO v_count
        FROM scaffold_projects AS p
       WHERE p.subject_id = p_subject_id AND p.status <> 'archived';
      CALL entitlement_set_count_in_tx_v1(p_subject_id, 'projects', v_count, 'adapter', v_definition_id);
    END IF;
    COMMIT;
  END;

  CALL scaffold_show_project_in_tx_v1(v_project_id, v_replayed);
  CALL entitlement_limitations_v1(p_subject_id, v_code, FALSE);
END
