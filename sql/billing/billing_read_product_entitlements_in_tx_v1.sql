-- billing_read_product_entitlements_in_tx_v1: makes templates of a product's entitlements, or says all that is wrong with them.
--
-- Called by    billing_put_product_in_tx_v1.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only; the same entitlements give the same templates.
-- Parameters   p_entitlements  JSON array, at most 100 of
--                {"code": "ai.credits", "amount": 500, "grantKind": "one_off_topup", "durationDays": null, "metadataJson": {}}
--                amount: 1 to 2^53-1 (a state's is 1); grantKind: one_off_topup, timeboxed_addon; durationDays: 1 to 36500, with
--                timeboxed_addon and only there; metadataJson: null or an object of up to 2,048 bytes. Whole numbers are written without
--                fraction and exponent. A field that is null is as one that is not there.
--              p_templates     out: array, in the order of the entries, of {definitionId, grantKind, amount, durationDays, metadata};
--                null where something is wrong
--              p_problems      out: null: nothing; else an array of [path, text, code of sql/errors.csv], at most 100, in the order
--                of entries and, of each entry, in the order below
-- Results      none.
-- Errors       none: what is wrong is in p_problems, as VALIDATION_FAILED or UNKNOWN_ENTITLEMENT_CODE.
-- Cost         a look-up per entry.
--
-- An entry is another one than a second of its code and grantKind: that is the template's identity.
CREATE PROCEDURE billing_read_product_entitlements_in_tx_v1(
  IN  p_entitlements JSON,
  OUT p_templates    JSON,
  OUT p_problems     JSON
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes templates of a product''s entitlements'
BEGIN
  DECLARE v_entries JSON;

  SET p_templates = NULL, p_problems = NULL;
  IF p_entitlements IS NULL OR JSON_TYPE(p_entitlements) <> 'ARRAY' OR JSON_LENGTH(p_entitlements) > 100 THEN
    SET p_problems = JSON_ARRAY(JSON_ARRAY('entitlements', 'must be an array of at most 100 entries', 'VALIDATION_FAILED'));
  ELSE
    -- Each entry with what its words mean. A word of another type than text is read as '', which means nothing.
    SELECT JSON_ARRAYAGG(JSON_OBJECT(
             'entry', e.entry, 'code', e.code, 'definitionId', d.id, 'type', d.entitlement_type, 'amount', e.amount, 'grantKind', e.grant_kind,
             'durationDays', e.duration_days, 'metadata', e.metadata, 'sameAs', IF(e.code IS NULL, NULL, e.first_place)))
      INTO v_entries
      FROM (SELECT r.place, r.entry, r.code, r.amount, r.grant_kind, r.duration_days, r.metadata,
                   MIN(r.place) OVER (PARTITION BY r.code, r.grant_kind) AS first_place
              FROM (SELECT j.place, j.entry, IF(JSON_TYPE(j.code) = 'STRING', LEFT(JSON_UNQUOTE(j.code), 65), NULL) AS code, j.amount,
                           IF(JSON_TYPE(j.grant_kind) = 'STRING', LEFT(JSON_UNQUOTE(j.grant_kind), 32), '') AS grant_kind, j.duration_days, j.metadata
                      FROM JSON_TABLE(p_entitlements, '$[*]' COLUMNS (
                             place FOR ORDINALITY, entry JSON PATH '$', code JSON PATH '$.code', amount JSON PATH '$.amount', grant_kind JSON PATH '$.grantKind',
                             duration_days JSON PATH '$.durationDays', metadata JSON PATH '$.metadataJson')) AS j) AS r
             ORDER BY r.place
             LIMIT 100) AS e
      LEFT JOIN billing_entitlement_definitions AS d ON d.code = CONVERT(e.code USING ascii) AND LENGTH(d.code) = LENGTH(e.code);

    WITH e AS (
      SELECT j.place, CONCAT('entitlements[', j.place - 1, ']') AS path, j.entry, j.code, j.definition_id, j.entitlement_type,
             JSON_TYPE(j.amount) IN ('INTEGER', 'UNSIGNED INTEGER') AND j.amount BETWEEN 1 AND 9007199254740991 AS is_amount, j.amount, j.grant_kind,
             j.duration_days, j.metadata, j.same_as
        FROM JSON_TABLE(v_entries, '$[*]' COLUMNS (
               place FOR ORDINALITY, entry JSON PATH '$.entry', code VARCHAR(65) COLLATE utf8mb4_0900_bin PATH '$.code', definition_id INT UNSIGNED PATH '$.definitionId',
               entitlement_type VARCHAR(16) PATH '$.type', amount JSON PATH '$.amount', grant_kind VARCHAR(32) COLLATE utf8mb4_0900_bin PATH '$.grantKind',
               duration_days JSON PATH '$.durationDays', metadata JSON PATH '$.metadata', same_as INT PATH '$.sameAs')) AS j)
    SELECT JSON_ARRAYAGG(JSON_ARRAY(f.path, f.problem, f.code)) INTO p_problems
      FROM (SELECT c.path, c.problem, c.code
              FROM (SELECT e.place, 1 AS check_no, e.path, IF(JSON_TYPE(e.entry) = 'OBJECT', NULL, 'must be an object with code, amount and grantKind') AS problem,
                           'VALIDATION_FAILED' AS code
                      FROM e
                    UNION ALL
                    SELECT e.place, 2, CONCAT(e.path, '.', LEFT(JSON_UNQUOTE(k.field), 64)),
                           'is not known here: code, amount, grantKind, durationDays and metadataJson are', 'VALIDATION_FAILED'
                      FROM e JOIN JSON_TABLE(JSON_KEYS(e.entry), '$[*]' COLUMNS (field JSON PATH '$')) AS k
                     WHERE NOT k.field MEMBER OF ('["code", "amount", "grantKind", "durationDays", "metadataJson"]')
                    UNION ALL
                    SELECT e.place, 3, CONCAT(e.path, '.code'),
                           IF(e.code IS NULL, 'must be the code of an entitlement definition', IF(e.definition_id IS NULL, 'no entitlement definition has this code', NULL)),
                           IF(e.code IS NULL, 'VALIDATION_FAILED', 'UNKNOWN_ENTITLEMENT_CODE')
                      FROM e WHERE JSON_TYPE(e.entry) = 'OBJECT'
                    UNION ALL
                    SELECT e.place, 4, CONCAT(e.path, '.code'), CONCAT('has the same grantKind in entitlements[', e.same_as - 1, ']'), 'VALIDATION_FAILED'
                      FROM e WHERE e.definition_id IS NOT NULL AND e.same_as < e.place
                    UNION ALL
                    SELECT e.place, 5, CONCAT(e.path, '.amount'),
                           CASE WHEN NOT COALESCE(e.is_amount, FALSE) THEN 'must be a whole number from 1 to 9007199254740991'
                                WHEN e.entitlement_type = 'state' AND e.amount <> 1 THEN 'must be 1: a state is on or off' END, 'VALIDATION_FAILED'
                      FROM e WHERE JSON_TYPE(e.entry) = 'OBJECT'
                    UNION ALL
                    SELECT e.place, 6, CONCAT(e.path, '.grantKind'),
                           IF(e.grant_kind IN ('one_off_topup', 'timeboxed_addon'), NULL, 'must be one_off_topup or timeboxed_addon'), 'VALIDATION_FAILED'
                      FROM e WHERE JSON_TYPE(e.entry) = 'OBJECT'
                    UNION ALL
                    SELECT e.place, 7, CONCAT(e.path, '.durationDays'),
                           CASE WHEN e.duration_days IS NULL THEN IF(e.grant_kind = 'timeboxed_addon', 'is required with timeboxed_addon', NULL)
                                WHEN e.grant_kind = 'one_off_topup' THEN 'may be given with timeboxed_addon only'
                                WHEN JSON_TYPE(e.duration_days) NOT IN ('INTEGER', 'UNSIGNED INTEGER') OR NOT e.duration_days BETWEEN 1 AND 36500
                                  THEN 'must be a whole number from 1 to 36500' END, 'VALIDATION_FAILED'
                      FROM e
                    UNION ALL
                    SELECT e.place, 8, CONCAT(e.path, '.metadataJson'),
                           IF(JSON_TYPE(e.metadata) = 'OBJECT' AND JSON_STORAGE_SIZE(e.metadata) <= 2048, NULL, 'must be an object of up to 2048 bytes'),
                           'VALIDATION_FAILED'
                      FROM e WHERE e.metadata IS NOT NULL) AS c
             WHERE c.problem IS NOT NULL
             ORDER BY c.place, c.check_no, c.path
             LIMIT 100) AS f;

    IF p_problems IS NULL THEN
      SELECT COALESCE(JSON_ARRAYAGG(JSON_REMOVE(j.entry, '$.entry', '$.code', '$.type', '$.sameAs')), JSON_ARRAY()) INTO p_templates
        FROM JSON_TABLE(v_entries, '$[*]' COLUMNS (entry JSON PATH '$')) AS j;
    END IF;
  END IF;
END
