-- entitlement_show_definitions_in_tx_v1: returns definitions, the inactive ones too.
--
-- Called by    every procedure that answers with definitions.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_definition_id  one definition; null: all
--              p_after_id       only definitions with a greater id; null: from the first
--              p_limit          definitions at most
--              p_made           whether the caller has just made it; returned as it is
-- Results      a row per definition, by id: id, code, name, description, entitlement_type, unit, scale, window_interval, window_anchor, aggregation_mode,
--              enforcement_mode, lock_label, resource_code, is_active, metadata, version, created_at, updated_at, made.
-- Errors       none; no row where there is no such definition.
-- Cost         the definitions.
CREATE PROCEDURE entitlement_show_definitions_in_tx_v1(
  IN p_definition_id INT UNSIGNED,
  IN p_after_id      BIGINT UNSIGNED,
  IN p_limit         INT UNSIGNED,
  IN p_made          BOOLEAN
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns definitions'
BEGIN
  SELECT d.id, d.code, d.name, d.description, d.entitlement_type, d.unit, d.scale, d.window_interval, d.window_anchor, d.aggregation_mode, d.enforcement_mode,
         d.lock_label, d.resource_code, d.is_active, d.metadata, d.version, d.created_at, d.updated_at, p_made AS made
    FROM billing_entitlement_definitions AS d
   WHERE d.id > COALESCE(p_after_id, 0) AND d.id BETWEEN COALESCE(p_definition_id, 0) AND COALESCE(p_definition_id, 4294967295)
   ORDER BY d.id
   LIMIT p_limit;
END
