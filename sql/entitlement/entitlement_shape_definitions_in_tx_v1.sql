-- entitlement_shape_definitions_in_tx_v1: gives definitions in the form in which they are written.
--
-- Called by    entitlement_put_definition_in_tx_v1, billing_read_catalogue_in_tx_v1.
-- Transaction  reads in the caller's, or in none: it is one statement.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_definition_id  one definition; null: all
--              p_shapes         out: array, by code, of the fields that entitlement_put_definition_in_tx_v1 reads; what has no value is null
-- Results      none.
-- Errors       none.
-- Cost         the definitions.
CREATE PROCEDURE entitlement_shape_definitions_in_tx_v1(
  IN  p_definition_id INT UNSIGNED,
  OUT p_shapes        JSON
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Gives definitions as JSON'
BEGIN
  SELECT COALESCE(JSON_ARRAYAGG(JSON_OBJECT(
           'code', s.code, 'name', s.name, 'description', s.description, 'entitlementType', s.entitlement_type, 'unit', s.unit, 'scale', s.scale,
           'windowInterval', s.window_interval, 'windowAnchor', s.window_anchor, 'aggregationMode', s.aggregation_mode, 'enforcementMode', s.enforcement_mode,
           'lockLabel', s.lock_label, 'resourceCode', s.resource_code, 'isActive', CAST(IF(s.is_active, 'true', 'false') AS JSON), 'metadata', s.metadata)), JSON_ARRAY())
    INTO p_shapes
    FROM (SELECT d.code, d.name, d.description, d.entitlement_type, d.unit, d.scale, d.window_interval, d.window_anchor, d.aggregation_mode, d.enforcement_mode,
                 d.lock_label, d.resource_code, d.is_active, d.metadata
            FROM billing_entitlement_definitions AS d
           WHERE d.id BETWEEN COALESCE(p_definition_id, 0) AND COALESCE(p_definition_id, 4294967295)
           ORDER BY d.code
           LIMIT 4294967295) AS s;
END
