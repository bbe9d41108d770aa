-- Reads the JSON of plans and products into typed entries, and stops on the first that is wrong: an unknown code, no usable amount, whatever the console
-- would refuse, too. A field that is null is as one that is not there.
DROP PROCEDURE IF EXISTS bootstrap_read_entries;
CREATE PROCEDURE bootstrap_read_entries()
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Reads the JSON of plans and products into typed entries'
BEGIN
  DECLARE v_problem VARCHAR(1000);

  -- Each JSON value that is there, and what it is called in a message. A plan or product may have two: its own column's and the input table's.
  DROP TEMPORARY TABLE IF EXISTS bootstrap_sets;
  CREATE TEMPORARY TABLE bootstrap_sets (
    set_no       INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    holder       VARCHAR(8) NOT NULL,
    holder_id    INT UNSIGNED NOT NULL,
    place        VARCHAR(160) NOT NULL,
    entitlements JSON NOT NULL
  ) ENGINE = InnoDB;
  INSERT INTO bootstrap_sets (holder, holder_id, place, entitlements)
  SELECT s.holder, s.holder_id, s.place, s.entitlements
    FROM (SELECT 1 AS source_no, 'plan' AS holder, p.id AS holder_id, CONCAT('billing_plans ', p.id, ' (', LEFT(p.code, 24), ') entitlements') AS place, p.entitlements
            FROM billing_plans AS p
           UNION ALL
          SELECT 2, 'plan', p.id, CONCAT('billing_bootstrap_entitlements (plan ', LEFT(p.code, 24), ') entitlements'), b.entitlements
            FROM billing_plans AS p
            JOIN billing_bootstrap_entitlements AS b ON b.kind = 'plan' AND b.code = p.code
           UNION ALL
          SELECT 3, 'product', q.id, CONCAT('billing_products ', q.id, ' (', LEFT(q.code, 24), ') metadata_json.entitlements'), JSON_EXTRACT(q.metadata_json, '$.entitlements')
            FROM billing_products AS q
           UNION ALL
          SELECT 4, 'product', q.id, CONCAT('billing_bootstrap_entitlements (product ', LEFT(q.code, 24), ') entitlements'), b.entitlements
            FROM billing_products AS q
            JOIN billing_bootstrap_entitlements AS b ON b.kind = 'product' AND b.code = q.code) AS s
   WHERE s.entitlements IS NOT NULL AND JSON_TYPE(s.entitlements) <> 'NULL'
   ORDER BY s.holder, s.holder_id, s.source_no;

  -- What is no array has no entries, so that a product which is meant to grant would end without a template.
  SELECT CONCAT(IF(s.holder = 'product', 'BOOTSTRAP_PRODUCT_WITHOUT_TEMPLATE: ', 'BOOTSTRAP_BAD_ENTRY: '), s.place,
                IF(JSON_TYPE(s.entitlements) = 'ARRAY', ': more than 100 entries', ': is not an array'))
    INTO v_problem
    FROM bootstrap_sets AS s
   WHERE JSON_TYPE(s.entitlements) <> 'ARRAY' OR JSON_LENGTH(s.entitlements) > 100
   ORDER BY s.set_no
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);

  DROP TEMPORARY TABLE IF EXISTS bootstrap_entries;
  CREATE TEMPORARY TABLE bootstrap_entries (
    set_no           INT UNSIGNED NOT NULL,
    entry_no         INT UNSIGNED NOT NULL,
    holder           VARCHAR(8) NOT NULL,
    holder_id        INT UNSIGNED NOT NULL,
    place            VARCHAR(160) NOT NULL,
    -- As it stands there. The terms are a plan's valueJson, a product's entry itself.
    entry            JSON NULL,
    terms            JSON NULL,
    code_json        JSON NULL,
    version_json     JSON NULL,
    amount_json      JSON NULL,
    kind_json        JSON NULL,
    effective_json   JSON NULL,
    duration_json    JSON NULL,
    days_json        JSON NULL,
    metadata         JSON NULL,
    unknown_field    TEXT NULL,
    unknown_term     TEXT NULL,
    -- As a template has it.
    definition_id    INT UNSIGNED NULL,
    code             VARCHAR(64) NULL,
    is_state         BOOLEAN NULL,
    grant_kind       VARCHAR(32) NULL,
    amount           BIGINT NULL,
    effective_policy VARCHAR(32) NULL,
    duration_policy  VARCHAR(32) NULL,
    duration_days    BIGINT NULL,
    PRIMARY KEY (set_no, entry_no)
  ) ENGINE = InnoDB;
  INSERT INTO bootstrap_entries
    (set_no, entry_no, holder, holder_id, place, entry, terms, code_json, version_json, amount_json, kind_json, effective_json, duration_json, days_json, metadata,
     unknown_field, unknown_term)
  SELECT s.set_no, j.entry_no, s.holder, s.holder_id, CONCAT(s.place, '[', j.entry_no - 1, ']'), j.entry, IF(s.holder = 'plan', j.value_json, j.entry), j.code,
         IF(s.holder = 'plan', j.schema_version, NULL),
         -- The amount is the first positive whole number among those that may say it.
         CASE WHEN JSON_TYPE(t.amount) IN ('INTEGER', 'UNSIGNED INTEGER') AND t.amount > 0 THEN t.amount
              WHEN s.holder = 'product' THEN NULL
              WHEN JSON_TYPE(t.limit_amount) IN ('INTEGER', 'UNSIGNED INTEGER') AND t.limit_amount > 0 THEN t.limit_amount
              WHEN JSON_TYPE(t.max_amount) IN ('INTEGER', 'UNSIGNED INTEGER') AND t.max_amount > 0 THEN t.max_amount END,
         t.grant_kind, IF(s.holder = 'plan', t.effective_policy, NULL), IF(s.holder = 'plan', t.duration_policy, NULL), t.duration_days,
         IF(s.holder = 'product', t.metadata, NULL),
         JSON_UNQUOTE(JSON_EXTRACT(JSON_KEYS(CASE
           WHEN JSON_TYPE(j.entry) <> 'OBJECT' THEN NULL
           WHEN s.holder = 'plan' THEN JSON_REMOVE(j.entry, '$.code', '$.schemaVersion', '$.valueJson')
           ELSE JSON_REMOVE(j.entry, '$.code', '$.amount', '$.grantKind', '$.durationDays', '$.metadataJson') END), '$[0]')),
         JSON_UNQUOTE(JSON_EXTRACT(JSON_KEYS(CASE
           WHEN s.holder = 'plan' AND JSON_TYPE(j.value_json) = 'OBJECT'
             THEN JSON_REMOVE(j.value_json, '$.amount', '$.limit', '$.max', '$.grantKind', '$.effectivePolicy', '$.durationPolicy', '$.durationDays') END), '$[0]'))
    FROM bootstrap_sets AS s
    JOIN JSON_TABLE(s.entitlements, '$[*]' COLUMNS (
           entry_no FOR ORDINALITY, entry JSON PATH '$', code JSON PATH '$.code', schema_version JSON PATH '$.schemaVersion', value_json JSON PATH '$.valueJson')) AS j
    LEFT JOIN JSON_TABLE(IF(s.holder = 'plan', j.value_json, j.entry), '$' COLUMNS (
           amount JSON PATH '$.amount', limit_amount JSON PATH '$.limit', max_amount JSON PATH '$.max', grant_kind JSON PATH '$.grantKind',
           effective_policy JSON PATH '$.effectivePolicy', duration_policy JSON PATH '$.durationPolicy', duration_days JSON PATH '$.durationDays',
           metadata JSON PATH '$.metadataJson')) AS t ON TRUE;

  -- Codes are compared byte for byte: as text, a blank at the end would not count.
  UPDATE bootstrap_entries AS e
    JOIN billing_entitlement_definitions AS d
      ON JSON_TYPE(e.code_json) = 'STRING' AND CAST(d.code AS BINARY) = CAST(JSON_UNQUOTE(e.code_json) AS BINARY)
     SET e.definition_id = d.id, e.code = d.code, e.is_state = d.entitlement_type = 'state';
  -- What is left out has the column's default. What is none of the allowed words stays null, and stops below.
  UPDATE bootstrap_entries AS e
     SET e.grant_kind = CASE
           WHEN e.holder = 'plan' AND e.kind_json IS NULL THEN 'plan_base'
           WHEN e.holder = 'plan' AND e.kind_json MEMBER OF ('["plan_base", "plan_bonus"]') THEN JSON_UNQUOTE(e.kind_json)
           WHEN e.holder = 'product' AND e.kind_json MEMBER OF ('["one_off_topup", "timeboxed_addon"]') THEN JSON_UNQUOTE(e.kind_json) END,
         e.effective_policy = CASE
           WHEN e.effective_json IS NULL THEN 'on_assignment_current'
           WHEN e.effective_json MEMBER OF ('["on_assignment_current", "on_period_paid"]') THEN JSON_UNQUOTE(e.effective_json) END,
         e.duration_policy = CASE
           WHEN e.duration_json IS NULL THEN 'while_current'
           WHEN e.duration_json MEMBER OF ('["while_current", "period_window", "fixed_duration"]') THEN JSON_UNQUOTE(e.duration_json) END;

  SELECT LEFT(CONCAT('BOOTSTRAP_', SUBSTRING_INDEX(x.problem, '@', 1), ': ', x.place, SUBSTRING(x.problem, LOCATE('@', x.problem) + 1)), 1000) INTO v_problem
    FROM (SELECT e.set_no, e.entry_no, e.place, CASE
            WHEN COALESCE(JSON_TYPE(e.entry), '') <> 'OBJECT' THEN 'BAD_ENTRY@: is not an object'
            WHEN e.unknown_field IS NOT NULL THEN CONCAT('BAD_ENTRY@: no field ', e.unknown_field)
            WHEN e.code_json IS NULL THEN 'UNKNOWN_CODE@.code: is missing'
            WHEN e.definition_id IS NULL THEN CONCAT('UNKNOWN_CODE@.code: no definition ', JSON_UNQUOTE(e.code_json))
            WHEN NOT (JSON_TYPE(e.version_json) IN ('INTEGER', 'UNSIGNED INTEGER') AND e.version_json = 1) THEN 'BAD_ENTRY@.schemaVersion: is not 1'
            WHEN COALESCE(JSON_TYPE(e.terms), '') <> 'OBJECT' THEN 'NO_AMOUNT@.valueJson: is not an object with an amount'
            WHEN e.unknown_term IS NOT NULL THEN CONCAT('BAD_ENTRY@.valueJson: no field ', e.unknown_term)
            WHEN e.amount_json IS NULL THEN IF(e.holder = 'plan', 'NO_AMOUNT@.valueJson: no positive whole amount, limit or max', 'NO_AMOUNT@.amount: no positive whole number')
            WHEN e.amount_json > 9007199254740991 THEN CONCAT('NO_AMOUNT@: ', e.amount_json, ' is more than 9007199254740991')
            WHEN e.is_state AND e.amount_json <> 1 THEN CONCAT('NO_AMOUNT@: ', e.amount_json, ' of a state, which is 1')
            WHEN e.grant_kind IS NULL THEN CONCAT('BAD_ENTRY@: ', IF(e.kind_json IS NULL, 'grantKind is missing', CONCAT('no grantKind ', e.kind_json)))
            WHEN e.effective_policy IS NULL THEN CONCAT('BAD_ENTRY@: no effectivePolicy ', e.effective_json)
            WHEN e.duration_policy IS NULL THEN CONCAT('BAD_ENTRY@: no durationPolicy ', e.duration_json)
            WHEN (e.days_json IS NOT NULL) <> (e.duration_policy = 'fixed_duration' OR e.grant_kind = 'timeboxed_addon')
              THEN CONCAT('BAD_ENTRY@: durationDays ', IF(e.days_json IS NULL, 'is required with ', 'does not go with '),
                          IF(e.holder = 'plan', e.duration_policy, e.grant_kind))
            WHEN NOT (JSON_TYPE(e.days_json) IN ('INTEGER', 'UNSIGNED INTEGER') AND e.days_json BETWEEN 1 AND 36500)
              THEN CONCAT('BAD_ENTRY@: durationDays is not 1 to 36500: ', e.days_json)
            WHEN JSON_TYPE(e.metadata) <> 'OBJECT' OR JSON_STORAGE_SIZE(e.metadata) > 2048 THEN 'BAD_ENTRY@.metadataJson: is not an object of up to 2048 bytes'
          END AS problem
            FROM bootstrap_entries AS e) AS x
   WHERE x.problem IS NOT NULL
   ORDER BY x.set_no, x.entry_no
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);
  UPDATE bootstrap_entries AS e
     SET e.amount = e.amount_json, e.duration_days = e.days_json;
END
