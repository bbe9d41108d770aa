-- billing_list_entities_v1: returns a page of billable entities whose reference, or whose workspace's slug, begins with some letters.
--
-- Called by    the console's GET entities; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_beginning  what the name begins with; null or empty: everybody
--              p_after_name  list_name of the last entity of the page before; null for the first
--              p_after_id    its id
--              p_limit       rows at most, 1 to 1,000
-- Results      a row per entity, by list_name, then id: as billing_show_entity_in_tx_v1, made is 0, and list_name (the reference; the workspace's slug
--              where only that begins so).
-- Errors       VALIDATION_FAILED.
-- Cost         the rows that it returns, by two indexes; entities of a workspace that both names find are read twice.
CREATE PROCEDURE billing_list_entities_v1(
  IN p_beginning  VARCHAR(128),
  IN p_after_name VARCHAR(128),
  IN p_after_id   BIGINT UNSIGNED,
  IN p_limit      INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns a page of billable entities'
BEGIN
  -- Names are visible ASCII: whatever begins with these letters comes before them and DEL.
  DECLARE v_first, v_after, v_end VARCHAR(129) CHARACTER SET ascii COLLATE ascii_bin;

  IF NOT REGEXP_LIKE(COALESCE(p_beginning, ''), '^[!-~]{0,128}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: q: must be at most 128 visible ASCII characters';
  END IF;
  IF NOT REGEXP_LIKE(COALESCE(p_after_name, ''), '^[!-~]{0,128}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: cursor: must be the nextCursor of the page before';
  END IF;
  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 1000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 1000';
  END IF;
  SET v_first = COALESCE(p_beginning, '');
  SET v_end = CONCAT(v_first, CHAR(127 USING ascii));
  SET v_after = COALESCE(p_after_name, '');
  IF v_after < v_first THEN
    SET v_after = v_first;
  END IF;

  SELECT e.id, e.entity_type, e.entity_ref, e.workspace_id, w.slug AS workspace_slug, w.name AS workspace_name, e.owner_user_id,
         e.provider_customer_id, e.status, e.created_at, e.updated_at, FALSE AS made, t.list_name
    FROM (
      -- Each half reads a page by its index; an entity that both would find is the first one's.
      (SELECT r.id, r.entity_ref AS list_name
         FROM billable_entities AS r FORCE INDEX (ix_entities_ref)
        WHERE r.entity_ref >= v_after AND r.entity_ref < v_end
          AND (p_after_id IS NULL OR r.entity_ref > v_after OR r.id > p_after_id)
        ORDER BY r.entity_ref, r.id
        LIMIT p_limit)
      UNION ALL
      (SELECT r.id, s.slug AS list_name
         FROM workspaces AS s FORCE INDEX (uq_workspaces_slug)
         STRAIGHT_JOIN billable_entities AS r FORCE INDEX (ix_entities_workspace) ON r.workspace_id = s.id
        WHERE s.slug >= v_after AND s.slug < v_end AND NOT (r.entity_ref >= v_first AND r.entity_ref < v_end)
          AND (p_after_id IS NULL OR s.slug > v_after OR r.id > p_after_id)
        ORDER BY s.slug, r.id
        LIMIT p_limit)) AS t
    JOIN billable_entities AS e ON e.id = t.id
    LEFT JOIN workspaces AS w ON w.id = e.workspace_id
   ORDER BY t.list_name, t.id
   LIMIT p_limit;
END
