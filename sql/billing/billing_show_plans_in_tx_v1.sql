-- billing_show_plans_in_tx_v1: returns plans with their prices and what they grant.
--
-- Called by    every procedure that answers with plans.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_plan_id   one plan; null: all
--              p_after_id  only plans with a greater id; null: from the first
--              p_limit     plans at most
--              p_made      whether the caller has just made it; returned as it is
-- Results      a row per plan, by id: id, code, name, archived_at, version, provider_price_ids and entitlements (JSON, as billing_shape_plans_in_tx_v1),
--              created_at, updated_at, made.
-- Errors       none; no row where there is no such plan.
-- Cost         as billing_shape_plans_in_tx_v1.
CREATE PROCEDURE billing_show_plans_in_tx_v1(
  IN p_plan_id  INT UNSIGNED,
  IN p_after_id BIGINT UNSIGNED,
  IN p_limit    INT UNSIGNED,
  IN p_made     BOOLEAN
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns plans with what they grant'
BEGIN
  DECLARE v_shapes JSON;

  CALL billing_shape_plans_in_tx_v1(p_plan_id, p_after_id, p_limit, v_shapes);
  SELECT s.id, s.code, s.name, s.archived_at, s.version, s.provider_price_ids, s.entitlements, s.created_at, s.updated_at, p_made AS made
    FROM JSON_TABLE(v_shapes, '$[*]' COLUMNS (
           id INT UNSIGNED PATH '$.id', code VARCHAR(64) PATH '$.code', name VARCHAR(160) PATH '$.name', archived_at DATETIME(3) PATH '$.archivedAt',
           version INT UNSIGNED PATH '$.version', provider_price_ids JSON PATH '$.providerPriceIds', entitlements JSON PATH '$.entitlements',
           created_at DATETIME(3) PATH '$.createdAt', updated_at DATETIME(3) PATH '$.updatedAt')) AS s
   ORDER BY s.id;
END
