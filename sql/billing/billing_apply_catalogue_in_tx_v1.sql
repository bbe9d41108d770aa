-- billing_apply_catalogue_in_tx_v1: makes and edits definitions, plans and products as one document says.
--
-- Called by    billing_apply_catalogue_v1.
-- Transaction  needs the caller's. Where p_problems is not null nothing is to stay: roll back.
-- Locks        what there is of the document: plans, then products, then definitions, each by id; then prices and templates.
-- Idempotency  what is as the document says stays as it is, the version too.
-- Parameters   p_catalogue  JSON object: definitions, plans, products, each an array of at most 1,000, known by their codes, in the form that
--                entitlement_put_definition_in_tx_v1, billing_put_plan_in_tx_v1 and billing_put_product_in_tx_v1 read. What is not in it stays. A price
--                may move from one thing of the document to another
--              p_before     out: the catalogue before, as billing_read_catalogue_in_tx_v1
--              p_after      out: the catalogue after
--              p_problems   out: null: done; else all that is wrong, as an array of [path, text, code of sql/errors.csv], such as plans[3].entitlements[0].code
-- Results      none.
-- Errors       none: what is wrong is in p_problems.
-- Cost         three times the catalogue, and the cost of each of its puts.
CREATE PROCEDURE billing_apply_catalogue_in_tx_v1(
  IN  p_catalogue JSON,
  OUT p_before    JSON,
  OUT p_after     JSON,
  OUT p_problems  JSON
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Writes a catalogue inside the caller''s transaction'
BEGIN
  DECLARE v_now DATETIME(3);
  -- What the document holds, in the order of writing: [kind, place, code, item, problem].
  DECLARE v_items, v_item, v_found, v_more, v_released_plans, v_released_products JSON;
  DECLARE v_problems JSON DEFAULT JSON_ARRAY();
  DECLARE v_count, v_no INT UNSIGNED DEFAULT 0;
  DECLARE v_id, v_written_id INT UNSIGNED;
  DECLARE v_kind VARCHAR(16);

  SET p_before = NULL, p_after = NULL, p_problems = NULL;

  -- The document as a whole.
  SELECT JSON_ARRAYAGG(JSON_ARRAY(c.path, c.problem, 'VALIDATION_FAILED')) INTO p_problems
    FROM (SELECT 'catalogue' AS path, 'must be an object with definitions, plans and products' AS problem
            FROM (SELECT 1 AS one) AS o WHERE COALESCE(JSON_TYPE(p_catalogue), '') <> 'OBJECT'
          UNION ALL
          SELECT LEFT(JSON_UNQUOTE(k.field), 64), 'is not known here: definitions, plans and products are'
            FROM JSON_TABLE(JSON_KEYS(p_catalogue), '$[*]' COLUMNS (field JSON PATH '$')) AS k
           WHERE JSON_UNQUOTE(k.field) NOT IN ('definitions', 'plans', 'products')
          UNION ALL
          SELECT JSON_UNQUOTE(k.field), 'must be an array of at most 1000'
            FROM JSON_TABLE(JSON_KEYS(p_catalogue), '$[*]' COLUMNS (field JSON PATH '$')) AS k
           WHERE JSON_UNQUOTE(k.field) IN ('definitions', 'plans', 'products')
             AND (JSON_TYPE(JSON_EXTRACT(p_catalogue, CONCAT('$.', k.field))) <> 'ARRAY' OR JSON_LENGTH(p_catalogue, CONCAT('$.', k.field)) > 1000)
          LIMIT 100) AS c;

  IF p_problems IS NULL THEN
    SELECT JSON_ARRAYAGG(JSON_ARRAY(i.kind, i.place - 1, i.code, i.item,
             IF(i.code IS NULL, JSON_ARRAY(CONCAT(i.kind, '[', i.place - 1, ']'), 'must be an object with a code', 'VALIDATION_FAILED'),
                IF(i.first_place < i.place,
                   JSON_ARRAY(CONCAT(i.kind, '[', i.place - 1, '].code'), CONCAT('is ', i.kind, '[', i.first_place - 1, '] already'), 'VALIDATION_FAILED'), NULL))))
      INTO v_items
      FROM (SELECT j.kind_no, j.kind, j.place, j.code, j.item, MIN(j.place) OVER (PARTITION BY j.kind_no, j.code) AS first_place
              FROM (SELECT 1 AS kind_no, 'definitions' AS kind, d.place, IF(JSON_TYPE(d.code) = 'STRING', LEFT(JSON_UNQUOTE(d.code), 65), NULL) AS code, d.item
                      FROM JSON_TABLE(p_catalogue, '$.definitions[*]' COLUMNS (place FOR ORDINALITY, code JSON PATH '$.code', item JSON PATH '$')) AS d
                    UNION ALL
                    SELECT 2, 'plans', p.place, IF(JSON_TYPE(p.code) = 'STRING', LEFT(JSON_UNQUOTE(p.code), 65), NULL), p.item
                      FROM JSON_TABLE(p_catalogue, '$.plans[*]' COLUMNS (place FOR ORDINALITY, code JSON PATH '$.code', item JSON PATH '$')) AS p
                    UNION ALL
                    SELECT 3, 'products', r.place, IF(JSON_TYPE(r.code) = 'STRING', LEFT(JSON_UNQUOTE(r.code), 65), NULL), r.item
                      FROM JSON_TABLE(p_catalogue, '$.products[*]' COLUMNS (place FOR ORDINALITY, code JSON PATH '$.code', item JSON PATH '$')) AS r) AS j
             ORDER BY j.kind_no, j.place
             LIMIT 3000) AS i;

    SELECT COUNT(k.id) INTO v_count
      FROM (SELECT p.id
              FROM JSON_TABLE(p_catalogue, '$.plans[*]' COLUMNS (code VARCHAR(65) PATH '$.code')) AS j
              JOIN billing_plans AS p ON p.code = CONVERT(j.code USING ascii)
             ORDER BY p.id
             LIMIT 1000) AS n
      STRAIGHT_JOIN billing_plans AS k FORCE INDEX (PRIMARY) ON k.id = n.id
        FOR UPDATE OF k;
    SELECT COUNT(k.id) INTO v_count
      FROM (SELECT r.id
              FROM JSON_TABLE(p_catalogue, '$.products[*]' COLUMNS (code VARCHAR(65) PATH '$.code')) AS j
              JOIN billing_products AS r ON r.code = CONVERT(j.code USING ascii)
             ORDER BY r.id
             LIMIT 1000) AS n
      STRAIGHT_JOIN billing_products AS k FORCE INDEX (PRIMARY) ON k.id = n.id
        FOR UPDATE OF k;
    SELECT COUNT(k.id) INTO v_count
      FROM (SELECT d.id
              FROM JSON_TABLE(p_catalogue, '$.definitions[*]' COLUMNS (code VARCHAR(65) PATH '$.code')) AS j
              JOIN billing_entitlement_definitions AS d ON d.code = CONVERT(j.code USING ascii)
             ORDER BY d.id
             LIMIT 1000) AS n
      STRAIGHT_JOIN billing_entitlement_definitions AS k FORCE INDEX (PRIMARY) ON k.id = n.id
        FOR UPDATE OF k;
    SET v_now = UTC_TIMESTAMP(3);
    CALL billing_read_catalogue_in_tx_v1(p_before);

    -- What gives a price away does so first: another thing of the document may want it.
    SELECT JSON_ARRAYAGG(JSON_ARRAY(x.id, x.version)) INTO v_released_plans
      FROM (SELECT DISTINCT p.id, p.version
              FROM JSON_TABLE(p_catalogue, '$.plans[*]' COLUMNS (code VARCHAR(65) PATH '$.code', prices JSON PATH '$.providerPriceIds')) AS j
              JOIN billing_plans AS p ON p.code = CONVERT(j.code USING ascii)
              JOIN billing_provider_prices AS t ON t.plan_id = p.id
             WHERE JSON_TYPE(j.prices) = 'ARRAY' AND NOT JSON_CONTAINS(j.prices, JSON_QUOTE(CONVERT(t.provider_price_id USING utf8mb4)))) AS x;
    SELECT JSON_ARRAYAGG(JSON_ARRAY(x.id, x.version)) INTO v_released_products
      FROM (SELECT DISTINCT r.id, r.version
              FROM JSON_TABLE(p_catalogue, '$.products[*]' COLUMNS (code VARCHAR(65) PATH '$.code', prices JSON PATH '$.providerPriceIds')) AS j
              JOIN billing_products AS r ON r.code = CONVERT(j.code USING ascii)
              JOIN billing_provider_prices AS t ON t.product_id = r.id
             WHERE JSON_TYPE(j.prices) = 'ARRAY' AND NOT JSON_CONTAINS(j.prices, JSON_QUOTE(CONVERT(t.provider_price_id USING utf8mb4)))) AS x;
    DELETE t
      FROM billing_provider_prices AS t
      JOIN billing_plans AS p ON p.id = t.plan_id
      JOIN JSON_TABLE(p_catalogue, '$.plans[*]' COLUMNS (code VARCHAR(65) PATH '$.code', prices JSON PATH '$.providerPriceIds')) AS j ON CONVERT(j.code USING ascii) = p.code
     WHERE JSON_TYPE(j.prices) = 'ARRAY' AND NOT JSON_CONTAINS(j.prices, JSON_QUOTE(CONVERT(t.provider_price_id USING utf8mb4)));
    DELETE t
      FROM billing_provider_prices AS t
      JOIN billing_products AS r ON r.id = t.product_id
      JOIN JSON_TABLE(p_catalogue, '$.products[*]' COLUMNS (code VARCHAR(65) PATH '$.code', prices JSON PATH '$.providerPriceIds')) AS j ON CONVERT(j.code USING ascii) = r.code
     WHERE JSON_TYPE(j.prices) = 'ARRAY' AND NOT JSON_CONTAINS(j.prices, JSON_QUOTE(CONVERT(t.provider_price_id USING utf8mb4)));

    SET v_count = COALESCE(JSON_LENGTH(v_items), 0);
    WHILE v_no < v_count DO
      SET v_item = JSON_EXTRACT(v_items, CONCAT('$[', v_no, ']'));
      SET v_kind = JSON_UNQUOTE(JSON_EXTRACT(v_item, '$[0]')), v_id = NULL, v_more = NULL;
      IF JSON_TYPE(JSON_EXTRACT(v_item, '$[4]')) = 'ARRAY' THEN
        SET v_problems = JSON_ARRAY_APPEND(v_problems, '$', JSON_EXTRACT(v_item, '$[4]'));
      ELSEIF v_kind = 'definitions' THEN
        SELECT d.id INTO v_id FROM billing_entitlement_definitions AS d WHERE d.code = CONVERT(JSON_UNQUOTE(JSON_EXTRACT(v_item, '$[2]')) USING ascii);
        CALL entitlement_put_definition_in_tx_v1(v_id, JSON_EXTRACT(v_item, '$[3]'), NULL, v_written_id, v_more);
      ELSEIF v_kind = 'plans' THEN
        SELECT p.id INTO v_id FROM billing_plans AS p WHERE p.code = CONVERT(JSON_UNQUOTE(JSON_EXTRACT(v_item, '$[2]')) USING ascii);
        CALL billing_put_plan_in_tx_v1(v_id, JSON_EXTRACT(v_item, '$[3]'), NULL, v_written_id, v_more);
      ELSE
        SELECT r.id INTO v_id FROM billing_products AS r WHERE r.code = CONVERT(JSON_UNQUOTE(JSON_EXTRACT(v_item, '$[2]')) USING ascii);
        CALL billing_put_product_in_tx_v1(v_id, JSON_EXTRACT(v_item, '$[3]'), NULL, v_written_id, v_more);
      END IF;
      IF v_more IS NOT NULL THEN
        SELECT JSON_ARRAYAGG(JSON_ARRAY(CONCAT(v_kind, '[', JSON_EXTRACT(v_item, '$[1]'), '].', j.path), j.problem, j.code)) INTO v_found
          FROM JSON_TABLE(v_more, '$[*]' COLUMNS (path VARCHAR(255) PATH '$[0]', problem VARCHAR(255) PATH '$[1]', code VARCHAR(64) PATH '$[2]')) AS j;
        SET v_problems = JSON_MERGE_PRESERVE(v_problems, v_found);
      END IF;
      SET v_no = v_no + 1;
    END WHILE;
    SET p_problems = IF(JSON_LENGTH(v_problems) = 0, NULL, v_problems);
  END IF;

  IF p_problems IS NULL THEN
    -- An edit adds one to the version, also where giving a price away was all of it.
    UPDATE billing_plans AS p
      JOIN JSON_TABLE(COALESCE(v_released_plans, JSON_ARRAY()), '$[*]' COLUMNS (id INT UNSIGNED PATH '$[0]', version INT UNSIGNED PATH '$[1]')) AS j ON j.id = p.id
       SET p.version = p.version + 1, p.updated_at = v_now
     WHERE p.version = j.version;
    UPDATE billing_products AS r
      JOIN JSON_TABLE(COALESCE(v_released_products, JSON_ARRAY()), '$[*]' COLUMNS (id INT UNSIGNED PATH '$[0]', version INT UNSIGNED PATH '$[1]')) AS j ON j.id = r.id
       SET r.version = r.version + 1, r.updated_at = v_now
     WHERE r.version = j.version;
    CALL billing_read_catalogue_in_tx_v1(p_after);
  END IF;
END
