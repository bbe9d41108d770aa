-- billing_read_catalogue_in_tx_v1: gives the whole catalogue as one document.
--
-- Called by    billing_export_catalogue_v1, billing_apply_catalogue_in_tx_v1.
-- Transaction  reads in the caller's.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_catalogue  out: {definitions, plans, products}, each by code, in the form in which they are written: as entitlement_shape_definitions_in_tx_v1;
--                {code, name, archived, providerPriceIds, entitlements}
-- Results      none.
-- Errors       none.
-- Cost         the catalogue.
CREATE PROCEDURE billing_read_catalogue_in_tx_v1(
  OUT p_catalogue JSON
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Gives the catalogue as one document'
BEGIN
  DECLARE v_definitions, v_plan_shapes, v_product_shapes, v_plans, v_products JSON;

  CALL entitlement_shape_definitions_in_tx_v1(NULL, v_definitions);
  CALL billing_shape_plans_in_tx_v1(NULL, NULL, 4294967295, v_plan_shapes);
  CALL billing_shape_products_in_tx_v1(NULL, NULL, 4294967295, v_product_shapes);
  SELECT COALESCE(JSON_ARRAYAGG(JSON_REMOVE(s.item, '$.id', '$.archivedAt', '$.version', '$.createdAt', '$.updatedAt')), JSON_ARRAY()) INTO v_plans
    FROM (SELECT j.item
            FROM JSON_TABLE(v_plan_shapes, '$[*]' COLUMNS (code VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin PATH '$.code', item JSON PATH '$')) AS j
           ORDER BY j.code
           LIMIT 4294967295) AS s;
  SELECT COALESCE(JSON_ARRAYAGG(JSON_REMOVE(s.item, '$.id', '$.archivedAt', '$.version', '$.createdAt', '$.updatedAt')), JSON_ARRAY()) INTO v_products
    FROM (SELECT j.item
            FROM JSON_TABLE(v_product_shapes, '$[*]' COLUMNS (code VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin PATH '$.code', item JSON PATH '$')) AS j
           ORDER BY j.code
           LIMIT 4294967295) AS s;
  SET p_catalogue = JSON_OBJECT('definitions', v_definitions, 'plans', v_plans, 'products', v_products);
END
