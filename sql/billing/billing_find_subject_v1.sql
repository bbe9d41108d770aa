-- billing_find_subject_v1: finds the billable entity that a request is about.
--
-- Called by    the gateway, for every request that has a subject; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_entity_id       the entity; null: go by the workspace
--              p_workspace_slug  read only if p_entity_id is null: the workspace's own entity (entity_type workspace), else its oldest
-- Results      one row, as billing_show_entity_in_tx_v1; made is 0.
-- Errors       SUBJECT_NOT_FOUND.
-- Cost         a workspace's entities.
CREATE PROCEDURE billing_find_subject_v1(
  IN p_entity_id      BIGINT UNSIGNED,
  IN p_workspace_slug VARCHAR(64)
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Finds the billable entity that a request is about'
BEGIN
  DECLARE v_entity_id BIGINT UNSIGNED;

  IF p_entity_id IS NOT NULL THEN
    SELECT e.id INTO v_entity_id FROM billable_entities AS e WHERE e.id = p_entity_id;
  ELSE
    SELECT e.id INTO v_entity_id
      FROM workspaces AS w
      JOIN billable_entities AS e ON e.workspace_id = w.id
     WHERE w.slug = CONVERT(p_workspace_slug USING ascii)
     ORDER BY e.entity_type <> 'workspace', e.id
     LIMIT 1;
  END IF;
  IF v_entity_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id or workspace';
  END IF;
  CALL billing_show_entity_in_tx_v1(v_entity_id, FALSE);
END
