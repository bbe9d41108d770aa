-- billing_find_subjects_v1: finds the billable entities of workspaces.
--
-- Called by    POST /api/billing/consume/batch; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_workspace_slugs  JSON array of 1 to 1,000 slugs
-- Results      a row per slug that has one: workspace_slug, entity_id, by the choice of billing_find_subject_v1: the workspace's own entity
--              (entity_type workspace), else its oldest.
-- Errors       VALIDATION_FAILED.
-- Cost         each workspace's entities.
CREATE PROCEDURE billing_find_subjects_v1(
  IN p_workspace_slugs JSON
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Finds the billable entities of workspaces'
BEGIN
  IF COALESCE(JSON_TYPE(p_workspace_slugs) <> 'ARRAY' OR JSON_LENGTH(p_workspace_slugs) NOT BETWEEN 1 AND 1000, TRUE) THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: workspaceSlugs: must be an array of 1 to 1000 slugs';
  END IF;
  SELECT f.workspace_slug, f.entity_id
    FROM (SELECT w.slug AS workspace_slug, e.id AS entity_id,
                 ROW_NUMBER() OVER (PARTITION BY w.id ORDER BY e.entity_type <> 'workspace', e.id) AS place
            FROM (SELECT DISTINCT s.slug
                    FROM JSON_TABLE(p_workspace_slugs, '$[*]' COLUMNS (slug VARCHAR(256) PATH '$')) AS s) AS j
            JOIN workspaces AS w ON w.slug = CONVERT(j.slug USING ascii)
            JOIN billable_entities AS e ON e.workspace_id = w.id) AS f
   WHERE f.place = 1;
END
