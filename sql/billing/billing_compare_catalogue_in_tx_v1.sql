-- billing_compare_catalogue_in_tx_v1: returns what a document changed in the catalogue.
--
-- Called by    billing_apply_catalogue_v1.
-- Transaction  reads in the caller's, or in none; no table is read.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_catalogue  the document
--              p_before     the catalogue before, as billing_read_catalogue_in_tx_v1; null: no rows
--              p_after      the catalogue after
-- Results      rows per thing of the catalogue, by kind (definition, plan, product), code and field: action create and update with a row per field that
--              differs, before_value and after_value (JSON; null: none); unchanged and not_in_file with one row and no field. An entitlement is a field of its own: its
--              code and grant kind.
-- Errors       none.
-- Cost         the catalogue.
CREATE PROCEDURE billing_compare_catalogue_in_tx_v1(
  IN p_catalogue JSON,
  IN p_before    JSON,
  IN p_after     JSON
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns what a document changed in the catalogue'
BEGIN
  DECLARE v_sides JSON DEFAULT JSON_ARRAY();

  IF p_before IS NOT NULL THEN
    SET v_sides = JSON_ARRAY(JSON_OBJECT('side', 'file', 'catalogue', p_catalogue), JSON_OBJECT('side', 'before', 'catalogue', p_before),
                             JSON_OBJECT('side', 'after', 'catalogue', p_after));
  END IF;
  WITH items AS (
    SELECT j.side, CASE WHEN j.definition_code IS NOT NULL THEN 'definition' WHEN j.plan_code IS NOT NULL THEN 'plan' ELSE 'product' END AS kind,
           COALESCE(j.definition_code, j.plan_code, j.product_code) AS code, COALESCE(j.definition, j.plan, j.product) AS item
      FROM JSON_TABLE(v_sides, '$[*]' COLUMNS (
             side VARCHAR(8) PATH '$.side',
             NESTED PATH '$.catalogue.definitions[*]' COLUMNS (definition_code VARCHAR(64) PATH '$.code', definition JSON PATH '$'),
             NESTED PATH '$.catalogue.plans[*]' COLUMNS (plan_code VARCHAR(64) PATH '$.code', plan JSON PATH '$'),
             NESTED PATH '$.catalogue.products[*]' COLUMNS (product_code VARCHAR(64) PATH '$.code', product JSON PATH '$'))) AS j
     WHERE COALESCE(j.definition_code, j.plan_code, j.product_code) IS NOT NULL),
  fields AS (
    SELECT i.side, i.kind, i.code, JSON_UNQUOTE(k.field) AS field, IF(JSON_TYPE(JSON_EXTRACT(i.item, CONCAT('$.', k.field))) = 'NULL', NULL, JSON_EXTRACT(i.item, CONCAT('$.', k.field))) AS value
      FROM items AS i
      JOIN JSON_TABLE(JSON_KEYS(i.item), '$[*]' COLUMNS (field JSON PATH '$')) AS k
     WHERE i.side <> 'file' AND JSON_UNQUOTE(k.field) NOT IN ('code', 'entitlements')
    UNION ALL
    SELECT i.side, i.kind, i.code, CONCAT('entitlements ', e.code, ' ', COALESCE(e.plan_kind, e.product_kind)), e.entry
      FROM items AS i
      JOIN JSON_TABLE(JSON_EXTRACT(i.item, '$.entitlements'), '$[*]' COLUMNS (
             code VARCHAR(64) PATH '$.code', plan_kind VARCHAR(32) PATH '$.valueJson.grantKind', product_kind VARCHAR(32) PATH '$.grantKind', entry JSON PATH '$')) AS e
     WHERE i.side <> 'file'),
  changes AS (
    SELECT n.kind, n.code, n.field, b.value AS before_value, a.value AS after_value
      FROM (SELECT DISTINCT f.kind, f.code, f.field FROM fields AS f) AS n
      LEFT JOIN fields AS b ON b.side = 'before' AND b.kind = n.kind AND b.code = n.code AND b.field = n.field
      LEFT JOIN fields AS a ON a.side = 'after' AND a.kind = n.kind AND a.code = n.code AND a.field = n.field
     WHERE NOT (b.value <=> a.value))
  SELECT t.kind, t.code,
         CASE WHEN NOT t.is_in_file THEN 'not_in_file' WHEN NOT t.was_there THEN 'create' WHEN c.field IS NULL THEN 'unchanged' ELSE 'update' END AS action,
         c.field, c.before_value, c.after_value
    FROM (SELECT i.kind, i.code, MAX(i.side = 'file') AS is_in_file, MAX(i.side = 'before') AS was_there FROM items AS i GROUP BY i.kind, i.code) AS t
    LEFT JOIN changes AS c ON t.is_in_file AND c.kind = t.kind AND c.code = t.code
   ORDER BY t.kind, t.code, c.field;
END
