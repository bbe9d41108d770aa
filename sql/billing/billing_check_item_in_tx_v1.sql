-- billing_check_item_in_tx_v1: says all that is wrong with what a plan and a product have in common.
--
-- Called by    billing_put_plan_in_tx_v1, billing_put_product_in_tx_v1.
-- Transaction  reads in the caller's, or in none.
-- Locks        none: a code or a price that somebody else takes at the same moment is found by its unique key.
-- Idempotency  reads only.
-- Parameters   p_kind      plan, product
--              p_id        the plan or product; null: it is to be made
--              p_code      its code, which cannot be changed; null: it is to be made
--              p_fields    what is given of it: code, 1 to 64 of a-z, 0-9, _, . and -, a letter first; name, 1 to 160 characters;
--                archived, true or false; providerPriceIds, an array of at most 100 ids of 1 to 255 visible ASCII characters;
--                entitlements, which are not checked here. To be made it needs code and name
--              p_problems  out: null: nothing; else an array of [path, text, code of sql/errors.csv], at most 100
-- Results      none.
-- Errors       none: what is wrong is in p_problems, as VALIDATION_FAILED, CODE_TAKEN or PRICE_TAKEN.
-- Cost         a look-up per price.
CREATE PROCEDURE billing_check_item_in_tx_v1(
  IN  p_kind     VARCHAR(8),
  IN  p_id       INT UNSIGNED,
  IN  p_code     VARCHAR(64),
  IN  p_fields   JSON,
  OUT p_problems JSON
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Checks what plans and products have in common'
BEGIN
  DECLARE v_prices JSON DEFAULT JSON_EXTRACT(p_fields, '$.providerPriceIds');
  DECLARE v_is_list BOOLEAN DEFAULT COALESCE(JSON_TYPE(v_prices) = 'ARRAY' AND JSON_LENGTH(v_prices) <= 100, FALSE);
  DECLARE v_code VARCHAR(65);
  DECLARE v_is_code, v_is_taken BOOLEAN;

  SET v_code = IF(JSON_TYPE(JSON_EXTRACT(p_fields, '$.code')) = 'STRING', LEFT(JSON_UNQUOTE(JSON_EXTRACT(p_fields, '$.code')), 65), NULL);
  SET v_is_code = COALESCE(REGEXP_LIKE(v_code, '^[a-z][a-z0-9_.-]{0,63}\\z', 'c'), FALSE);
  IF p_id IS NULL AND v_is_code THEN
    SELECT COUNT(*) > 0 INTO v_is_taken
      FROM (SELECT p.id FROM billing_plans AS p WHERE p_kind = 'plan' AND p.code = CONVERT(v_code USING ascii)
            UNION ALL
            SELECT r.id FROM billing_products AS r WHERE p_kind = 'product' AND r.code = CONVERT(v_code USING ascii)) AS t;
  END IF;

  WITH g AS (
    SELECT j.place, CONCAT('providerPriceIds[', j.place - 1, ']') AS path,
           COALESCE(JSON_TYPE(j.price) = 'STRING' AND REGEXP_LIKE(JSON_UNQUOTE(j.price), '^[!-~]{1,255}\\z'), FALSE) AS is_price, JSON_UNQUOTE(j.price) AS price
      FROM JSON_TABLE(IF(v_is_list, v_prices, JSON_ARRAY()), '$[*]' COLUMNS (place FOR ORDINALITY, price JSON PATH '$')) AS j)
  SELECT JSON_ARRAYAGG(JSON_ARRAY(f.path, f.problem, f.code)) INTO p_problems
    FROM (SELECT c.path, c.problem, c.code
            FROM (SELECT 1 AS check_no, 0 AS place, LEFT(JSON_UNQUOTE(k.field), 64) AS path,
                         'is not known here: code, name, archived, providerPriceIds and entitlements are' AS problem, 'VALIDATION_FAILED' AS code
                    FROM JSON_TABLE(JSON_KEYS(p_fields), '$[*]' COLUMNS (field JSON PATH '$')) AS k
                   WHERE JSON_UNQUOTE(k.field) NOT IN ('code', 'name', 'archived', 'providerPriceIds', 'entitlements')
                  UNION ALL
                  SELECT 2, 0, 'code',
                         CASE WHEN p_id IS NOT NULL AND (JSON_EXTRACT(p_fields, '$.code') IS NULL OR v_code = p_code) THEN NULL
                              WHEN p_id IS NOT NULL THEN 'cannot be changed: the keys of grants are made from it'
                              WHEN JSON_EXTRACT(p_fields, '$.code') IS NULL THEN 'is required'
                              WHEN NOT v_is_code THEN 'must be 1 to 64 of a-z, 0-9, _, . and -, a letter first'
                              WHEN v_is_taken THEN CONCAT('belongs to another ', p_kind) END,
                         IF(p_id IS NULL AND v_is_taken, 'CODE_TAKEN', 'VALIDATION_FAILED')
                  UNION ALL
                  SELECT 3, 0, 'name',
                         CASE WHEN JSON_EXTRACT(p_fields, '$.name') IS NULL THEN IF(p_id IS NULL, 'is required', NULL)
                              WHEN JSON_TYPE(JSON_EXTRACT(p_fields, '$.name')) <> 'STRING' OR TRIM(JSON_UNQUOTE(JSON_EXTRACT(p_fields, '$.name'))) = ''
                                OR CHAR_LENGTH(JSON_UNQUOTE(JSON_EXTRACT(p_fields, '$.name'))) > 160 THEN 'must be 1 to 160 characters, not only blanks' END, 'VALIDATION_FAILED'
                  UNION ALL
                  SELECT 4, 0, 'archived', IF(COALESCE(JSON_TYPE(JSON_EXTRACT(p_fields, '$.archived')) = 'BOOLEAN', TRUE), NULL, 'must be true or false'), 'VALIDATION_FAILED'
                  UNION ALL
                  SELECT 5, 0, 'providerPriceIds', IF(v_prices IS NULL OR v_is_list, NULL, 'must be an array of at most 100 ids'), 'VALIDATION_FAILED'
                  UNION ALL
                  SELECT 6, g.place, g.path, 'must be 1 to 255 visible ASCII characters', 'VALIDATION_FAILED'
                    FROM g WHERE NOT g.is_price
                  UNION ALL
                  SELECT 7, b.place, b.path, CONCAT('is providerPriceIds[', a.place - 1, '] already'), 'VALIDATION_FAILED'
                    FROM g AS b
                    JOIN (SELECT g.price, MIN(g.place) AS place FROM g WHERE g.is_price GROUP BY g.price) AS a ON a.price = b.price AND a.place < b.place
                  UNION ALL
                  SELECT 8, g.place, g.path, CONCAT('belongs to the ', IF(t.plan_id IS NULL, 'product ', 'plan '), COALESCE(o.code, r.code)), 'PRICE_TAKEN'
                    FROM g
                    JOIN billing_provider_prices AS t ON t.provider_price_id = CONVERT(g.price USING ascii)
                    LEFT JOIN billing_plans AS o ON o.id = t.plan_id
                    LEFT JOIN billing_products AS r ON r.id = t.product_id
                   WHERE g.is_price AND NOT (IF(p_kind = 'plan', t.plan_id, t.product_id) <=> p_id AND p_id IS NOT NULL)) AS c
           WHERE c.problem IS NOT NULL
           ORDER BY c.check_no, c.place, c.path
           LIMIT 100) AS f;
END
