-- billing_show_entity_in_tx_v1: returns one billable entity with its workspace.
--
-- Called by    every procedure that answers with a billable entity.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_entity_id  the entity
--              p_made       whether the caller has just made it; returned as it is
-- Results      one row; none where there is no such entity.
-- Errors       none.
-- Cost         two rows.
CREATE PROCEDURE billing_show_entity_in_tx_v1(
  IN p_entity_id BIGINT UNSIGNED,
  IN p_made      BOOLEAN
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns one billable entity'
BEGIN
  SELECT e.id, e.entity_type, e.entity_ref, e.workspace_id, w.slug AS workspace_slug, w.name AS workspace_name, e.owner_user_id,
         e.provider_customer_id, e.status, e.created_at, e.updated_at, p_made AS made
    FROM billable_entities AS e
    LEFT JOIN workspaces AS w ON w.id = e.workspace_id
   WHERE e.id = p_entity_id;
END
