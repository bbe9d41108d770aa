-- billing_read_plan_entitlements_in_tx_v1: makes templates of a plan's entitlements, or says all that is wrong with them.
--
-- Called by    billing_put_plan_in_tx_v1.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only; the same entitlements give the same templates.
-- Parameters   p_entitlements  JSON array, at most 100 of
--                {"code": "ai.credits", "schemaVersion": 1, "valueJson": {"amount": 20, "grantKind": "plan_base"}}
--                schemaVersion: 1, which is the default. valueJson: amount, limit, max, of which the first positive whole number, in this order,
--                is the amount, up to 2^53-1 (a state's is 1); grantKind plan_base (default), plan_bonus; effectivePolicy
--                on_assignment_current (default), on_period_paid; durationPolicy while_current (default), period_window, fixed_duration;
--                durationDays 1 to 36500, with fixed_duration and only there. Whole numbers are written without fraction and exponent.
--                A field that is null is as one that is not there.
--              p_templates     out: array, in the order of the entries, of {definitionId, grantKind, amount, effectivePolicy,
--                durationPolicy, durationDays, schemaVersion}; null where something is wrong
--              p_problems      out: null: nothing; else an array of [path, text, code of sql/errors.csv], at most 100, in the order
--                of entries and, of each entry, in the order below
-- Results      none.
-- Errors       none: what is wrong is in p_problems, as VALIDATION_FAILED or UNKNOWN_ENTITLEMENT_CODE.
-- Cost         a look-up per entry.
--
-- An entry is another one than a second of its code and grantKind: that is the template's identity.
CREATE PROCEDURE billing_read_plan_entitlements_in_tx_v1(
  IN  p_entitlements JSON,
  OUT p_templates    JSON,
  OUT p_problems     JSON
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes templates of a plan''s entitlements'
BEGIN
  DECLARE v_entries JSON;

  SET p_templates = NULL, p_problems = NULL;
  IF p_entitlements IS NULL OR JSON_TYPE(p_entitlements) <> 'ARRAY' OR JSON_LENGTH(p_entitlements) > 100 THEN
    SET p_problems = JSON_ARRAY(JSON_ARRAY('entitlements', 'must be an array of at most 100 entries', 'VALIDATION_FAILED'));
  ELSE
    -- Each entry with what its words mean. A word of another type than text is read as '', which means nothing.
    SELECT JSON_ARRAYAGG(JSON_OBJECT(
             'entry', e.entry, 'value', e.value, 'code', e.code, 'definitionId', d.id, 'type', d.entitlement_type, 'schemaVersion', e.schema_version,
             'amountField', e.amount_field, 'amount', IF(e.amount_field IS NULL, NULL, JSON_EXTRACT(e.value, CONCAT('$.', e.amount_field))),
             'grantKind', e.grant_kind, 'effectivePolicy', e.effective_policy, 'durationPolicy', e.duration_policy, 'durationDays', e.duration_days,
             'sameAs', IF(e.code IS NULL, NULL, e.first_place)))
      INTO v_entries
      FROM (SELECT r.place, r.entry, r.value, r.schema_version, r.code, r.amount_field, r.grant_kind, r.effective_policy, r.duration_policy, r.duration_days,
                   MIN(r.place) OVER (PARTITION BY r.code, r.grant_kind) AS first_place
              FROM (SELECT j.place, j.entry, j.value, COALESCE(j.schema_version, CAST('1' AS JSON)) AS schema_version,
                           IF(JSON_TYPE(j.code) = 'STRING', LEFT(JSON_UNQUOTE(j.code), 65), NULL) AS code,
                           CASE WHEN JSON_TYPE(j.amount) IN ('INTEGER', 'UNSIGNED INTEGER') AND j.amount > 0 THEN 'amount'
                                WHEN JSON_TYPE(j.limit_amount) IN ('INTEGER', 'UNSIGNED INTEGER') AND j.limit_amount > 0 THEN 'limit'
                                WHEN JSON_TYPE(j.max_amount) IN ('INTEGER', 'UNSIGNED INTEGER') AND j.max_amount > 0 THEN 'max' END AS amount_field,
                           IF(j.grant_kind IS NULL, 'plan_base', IF(JSON_TYPE(j.grant_kind) = 'STRING', LEFT(JSON_UNQUOTE(j.grant_kind), 32), '')) AS grant_kind,
                           IF(j.effective_policy IS NULL, 'on_assignment_current',
                              IF(JSON_TYPE(j.effective_policy) = 'STRING', LEFT(JSON_UNQUOTE(j.effective_policy), 32), '')) AS effective_policy,
                           IF(j.duration_policy IS NULL, 'while_current',
                              IF(JSON_TYPE(j.duration_policy) = 'STRING', LEFT(JSON_UNQUOTE(j.duration_policy), 32), '')) AS duration_policy,
                           j.duration_days
                      FROM JSON_TABLE(p_entitlements, '$[*]' COLUMNS (
                             place FOR ORDINALITY, entry JSON PATH '$', code JSON PATH '$.code', schema_version JSON PATH '$.schemaVersion',
                             value JSON PATH '$.valueJson', amount JSON PATH '$.valueJson.amount', limit_amount JSON PATH '$.valueJson.limit',
                             max_amount JSON PATH '$.valueJson.max', grant_kind JSON PATH '$.valueJson.grantKind',
                             effective_policy JSON PATH '$.valueJson.effectivePolicy', duration_policy JSON PATH '$.valueJson.durationPolicy',
                             duration_days JSON PATH '$.valueJson.durationDays')) AS j) AS r
             ORDER BY r.place
             LIMIT 100) AS e
      LEFT JOIN billing_entitlement_definitions AS d ON d.code = CONVERT(e.code USING ascii) AND LENGTH(d.code) = LENGTH(e.code);

    WITH e AS (
      SELECT j.place, CONCAT('entitlements[', j.place - 1, ']') AS path, j.entry, j.value, j.code, j.definition_id, j.entitlement_type, j.schema_version,
             j.amount_field, j.amount, j.grant_kind, j.effective_policy, j.duration_policy, j.duration_days,
             j.same_as
        FROM JSON_TABLE(v_entries, '$[*]' COLUMNS (
               place FOR ORDINALITY, entry JSON PATH '$.entry', value JSON PATH '$.value', code VARCHAR(65) COLLATE utf8mb4_0900_bin PATH '$.code', definition_id INT UNSIGNED PATH '$.definitionId',
               entitlement_type VARCHAR(16) PATH '$.type', schema_version JSON PATH '$.schemaVersion', amount_field VARCHAR(8) PATH '$.amountField',
               amount JSON PATH '$.amount', grant_kind VARCHAR(32) COLLATE utf8mb4_0900_bin PATH '$.grantKind', effective_policy VARCHAR(32) COLLATE utf8mb4_0900_bin PATH '$.effectivePolicy',
               duration_policy VARCHAR(32) COLLATE utf8mb4_0900_bin PATH '$.durationPolicy', duration_days JSON PATH '$.durationDays', same_as INT PATH '$.sameAs')) AS j)
    SELECT JSON_ARRAYAGG(JSON_ARRAY(f.path, f.problem, f.code)) INTO p_problems
      FROM (SELECT c.path, c.problem, c.code
              FROM (SELECT e.place, 1 AS check_no, e.path, IF(JSON_TYPE(e.entry) = 'OBJECT', NULL, 'must be an object with code and valueJson') AS problem,
                           'VALIDATION_FAILED' AS code
                      FROM e
                    UNION ALL
                    SELECT e.place, 2, CONCAT(e.path, '.', LEFT(JSON_UNQUOTE(k.field), 64)), 'is not known here: code, schemaVersion and valueJson are', 'VALIDATION_FAILED'
                      FROM e JOIN JSON_TABLE(JSON_KEYS(e.entry), '$[*]' COLUMNS (field JSON PATH '$')) AS k
                     WHERE NOT k.field MEMBER OF ('["code", "schemaVersion", "valueJson"]')
                    UNION ALL
                    SELECT e.place, 3, CONCAT(e.path, '.code'),
                           IF(e.code IS NULL, 'must be the code of an entitlement definition', IF(e.definition_id IS NULL, 'no entitlement definition has this code', NULL)),
                           IF(e.code IS NULL, 'VALIDATION_FAILED', 'UNKNOWN_ENTITLEMENT_CODE')
                      FROM e WHERE JSON_TYPE(e.entry) = 'OBJECT'
                    UNION ALL
                    SELECT e.place, 4, CONCAT(e.path, '.code'), CONCAT('has the same grantKind in entitlements[', e.same_as - 1, ']'), 'VALIDATION_FAILED'
                      FROM e WHERE e.definition_id IS NOT NULL AND e.same_as < e.place
                    UNION ALL
                    SELECT e.place, 5, CONCAT(e.path, '.schemaVersion'),
                           IF(JSON_TYPE(e.schema_version) IN ('INTEGER', 'UNSIGNED INTEGER') AND e.schema_version = 1, NULL, 'must be 1: no other version is known'),
                           'VALIDATION_FAILED'
                      FROM e
                    UNION ALL
                    SELECT e.place, 6, CONCAT(e.path, '.valueJson'),
                           CASE WHEN e.value IS NULL OR JSON_TYPE(e.value) <> 'OBJECT' THEN 'must be an object with an amount'
                                WHEN e.amount_field IS NULL THEN 'must have a positive whole number as amount, limit or max' END, 'VALIDATION_FAILED'
                      FROM e WHERE JSON_TYPE(e.entry) = 'OBJECT'
                    UNION ALL
                    SELECT e.place, 7, CONCAT(e.path, '.valueJson.', LEFT(JSON_UNQUOTE(k.field), 64)),
                           'is not known here: amount, limit, max, grantKind, effectivePolicy, durationPolicy and durationDays are', 'VALIDATION_FAILED'
                      FROM e JOIN JSON_TABLE(JSON_KEYS(e.value), '$[*]' COLUMNS (field JSON PATH '$')) AS k
                     WHERE NOT k.field MEMBER OF ('["amount", "limit", "max", "grantKind", "effectivePolicy", "durationPolicy", "durationDays"]')
                    UNION ALL
                    SELECT e.place, 8, CONCAT(e.path, '.valueJson.', e.amount_field),
                           CASE WHEN e.amount > 9007199254740991 THEN 'must be at most 9007199254740991'
                                WHEN e.entitlement_type = 'state' AND e.amount <> 1 THEN 'must be 1: a state is on or off' END, 'VALIDATION_FAILED'
                      FROM e WHERE e.amount_field IS NOT NULL
                    UNION ALL
                    SELECT e.place, 9, CONCAT(e.path, '.valueJson.grantKind'),
                           IF(e.grant_kind IN ('plan_base', 'plan_bonus'), NULL, 'must be plan_base or plan_bonus'), 'VALIDATION_FAILED'
                      FROM e
                    UNION ALL
                    SELECT e.place, 10, CONCAT(e.path, '.valueJson.effectivePolicy'),
                           IF(e.effective_policy IN ('on_assignment_current', 'on_period_paid'), NULL, 'must be on_assignment_current or on_period_paid'), 'VALIDATION_FAILED'
                      FROM e
                    UNION ALL
                    SELECT e.place, 11, CONCAT(e.path, '.valueJson.durationPolicy'),
                           IF(e.duration_policy IN ('while_current', 'period_window', 'fixed_duration'), NULL, 'must be while_current, period_window or fixed_duration'),
                           'VALIDATION_FAILED'
                      FROM e
                    UNION ALL
                    SELECT e.place, 12, CONCAT(e.path, '.valueJson.durationDays'),
                           CASE WHEN e.duration_days IS NULL THEN IF(e.duration_policy = 'fixed_duration', 'is required with fixed_duration', NULL)
                                WHEN e.duration_policy IN ('while_current', 'period_window') THEN 'may be given with fixed_duration only'
                                WHEN JSON_TYPE(e.duration_days) NOT IN ('INTEGER', 'UNSIGNED INTEGER') OR NOT e.duration_days BETWEEN 1 AND 36500
                                  THEN 'must be a whole number from 1 to 36500' END, 'VALIDATION_FAILED'
                      FROM e) AS c
             WHERE c.problem IS NOT NULL
             ORDER BY c.place, c.check_no, c.path
             LIMIT 100) AS f;

    IF p_problems IS NULL THEN
      SELECT COALESCE(JSON_ARRAYAGG(JSON_REMOVE(j.entry, '$.entry', '$.value', '$.code', '$.type', '$.amountField', '$.sameAs')), JSON_ARRAY()) INTO p_templates
        FROM JSON_TABLE(v_entries, '$[*]' COLUMNS (entry JSON PATH '$')) AS j;
    END IF;
  END IF;
END
