-- Reads the JSON of plans and products into typed entries, and stops on the first that is wrong: an unknown code, no usable amount, whatever the console would refuse, too.
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
    entry            JSON NOT NULL,
    definition_id    INT UNSIGNED NULL,
    code             VARCHAR(64) NULL,
    is_state         BOOLEAN NULL,
    -- Where the amount and the rest stand: in a plan's valueJson, in a product's entry itself.
    terms            JSON NULL,
    amount_json      JSON NULL,
    amount           BIGINT NULL,
    grant_kind       VARCHAR(32) NULL,
    effective_policy VARCHAR(32) NULL,
    duration_policy  VARCHAR(32) NULL,
    days_json        JSON NULL,
    duration_days    BIGINT NULL,
    metadata         JSON NULL,
    unknown_field    TEXT NULL,
    unknown_term     TEXT NULL,
    PRIMARY KEY (set_no, entry_no)
  ) ENGINE = InnoDB;
  INSERT INTO bootstrap_entries (set_no, entry_no, holder, holder_id, place, entry, terms)
  SELECT s.set_no, j.entry_no, s.holder, s.holder_id, CONCAT(s.place, '[', j.entry_no - 1, ']'), j.entry,
         IF(s.holder = 'plan', JSON_EXTRACT(j.entry, '$.valueJson'), j.entry)
    FROM bootstrap_sets AS s
    JOIN JSON_TABLE(s.entitlements, '$[*]' COLUMNS (entry_no FOR ORDINALITY, entry JSON PATH '$')) AS j;

  -- Codes are compared byte for byte: as text, a blank at the end would not count.
  UPDATE bootstrap_entries AS e
    JOIN billing_entitlement_definitions AS d
      ON JSON_TYPE(JSON_EXTRACT(e.entry, '$.code')) = 'STRING'
     AND CAST(d.code AS BINARY) = CAST(JSON_UNQUOTE(JSON_EXTRACT(e.entry, '$.code')) AS BINARY)
     SET e.definition_id = d.id, e.code = d.code, e.is_state = d.entitlement_type = 'state';
  -- The amount is the first positive whole number among those that may say it. What is left out has the column's default; what is none of the
  -- allowed words stays null, and stops below.
  UPDATE bootstrap_entries AS e
     SET e.amount_json = CASE
           WHEN JSON_TYPE(JSON_EXTRACT(e.terms, '$.amount')) IN ('INTEGER', 'UNSIGNED INTEGER') AND JSON_EXTRACT(e.terms, '$.amount') > 0
             THEN JSON_EXTRACT(e.terms, '$.amount')
           WHEN e.holder = 'product' THEN NULL
           WHEN JSON_TYPE(JSON_EXTRACT(e.terms, '$.limit')) IN ('INTEGER', 'UNSIGNED INTEGER') AND JSON_EXTRACT(e.terms, '$.limit') > 0
             THEN JSON_EXTRACT(e.terms, '$.limit')
           WHEN JSON_TYPE(JSON_EXTRACT(e.terms, '$.max')) IN ('INTEGER', 'UNSIGNED INTEGER') AND JSON_EXTRACT(e.terms, '$.max') > 0
             THEN JSON_EXTRACT(e.terms, '$.max')
         END,
         e.grant_kind = CASE
           WHEN e.holder = 'product' THEN
             IF(JSON_EXTRACT(e.terms, '$.grantKind') MEMBER OF ('["one_off_topup", "timeboxed_addon"]'), JSON_UNQUOTE(JSON_EXTRACT(e.terms, '$.grantKind')), NULL)
           WHEN JSON_EXTRACT(e.terms, '$.grantKind') IS NULL THEN 'plan_base'
           WHEN JSON_EXTRACT(e.terms, '$.grantKind') MEMBER OF ('["plan_base", "plan_bonus"]') THEN JSON_UNQUOTE(JSON_EXTRACT(e.terms, '$.grantKind'))
         END,
         e.effective_policy = CASE
           WHEN JSON_EXTRACT(e.terms, '$.effectivePolicy') IS NULL THEN 'on_assignment_current'
           WHEN JSON_EXTRACT(e.terms, '$.effectivePolicy') MEMBER OF ('["on_assignment_current", "on_period_paid"]')
             THEN JSON_UNQUOTE(JSON_EXTRACT(e.terms, '$.effectivePolicy'))
         END,
         e.duration_policy = CASE
           WHEN JSON_EXTRACT(e.terms, '$.durationPolicy') IS NULL THEN 'while_current'
           WHEN JSON_EXTRACT(e.terms, '$.durationPolicy') MEMBER OF ('["while_current", "period_window", "fixed_duration"]')
             THEN JSON_UNQUOTE(JSON_EXTRACT(e.terms, '$.durationPolicy'))
         END,
         e.days_json = NULLIF(JSON_EXTRACT(e.terms, '$.durationDays'), CAST('null' AS JSON)),
         e.metadata = IF(e.holder = 'product', NULLIF(JSON_EXTRACT(e.terms, '$.metadataJson'), CAST('null' AS JSON)), NULL),
         e.unknown_field = JSON_UNQUOTE(JSON_EXTRACT(JSON_KEYS(IF(JSON_TYPE(e.entry) <> 'OBJECT', NULL,
           IF(e.holder = 'plan', JSON_REMOVE(e.entry, '$.code', '$.schemaVersion', '$.valueJson'),
                                 JSON_REMOVE(e.entry, '$.code', '$.amount', '$.grantKind', '$.durationDays', '$.metadataJson')))), '$[0]')),
         e.unknown_term = JSON_UNQUOTE(JSON_EXTRACT(JSON_KEYS(IF(e.holder = 'product' OR JSON_TYPE(e.terms) <> 'OBJECT', NULL,
           JSON_REMOVE(e.terms, '$.amount', '$.limit', '$.max', '$.grantKind', '$.effectivePolicy', '$.durationPolicy', '$.durationDays'))), '$[0]'));

  SELECT CONCAT('BOOTSTRAP_', SUBSTRING_INDEX(x.problem, ':', 1), ': ', x.place, SUBSTRING(x.problem, LOCATE(':', x.problem) + 1)) INTO v_problem
    FROM (SELECT e.set_no, e.entry_no, e.place, CASE
            WHEN JSON_TYPE(e.entry) <> 'OBJECT' THEN 'BAD_ENTRY:: is not an object'
            WHEN e.unknown_field IS NOT NULL THEN CONCAT('BAD_ENTRY:: no field ', e.unknown_field)
            WHEN e.definition_id IS NULL THEN CONCAT('UNKNOWN_CODE:.code: no definition ', COALESCE(JSON_UNQUOTE(JSON_EXTRACT(e.entry, '$.code')), 'is named'))
            WHEN e.holder = 'plan' AND NOT (JSON_TYPE(JSON_EXTRACT(e.entry, '$.schemaVersion')) IN ('INTEGER', 'UNSIGNED INTEGER')
                                            AND JSON_EXTRACT(e.entry, '$.schemaVersion') = 1) THEN 'BAD_ENTRY:.schemaVersion: is not 1'
            WHEN e.holder = 'plan' AND COALESCE(JSON_TYPE(e.terms), '') <> 'OBJECT' THEN 'NO_AMOUNT:.valueJson: is not an object with an amount'
            WHEN e.unknown_term IS NOT NULL THEN CONCAT('BAD_ENTRY:.valueJson: no field ', e.unknown_term)
            WHEN e.amount_json IS NULL AND e.holder = 'plan' THEN 'NO_AMOUNT:.valueJson: no positive whole amount, limit or max'
            WHEN e.amount_json IS NULL THEN 'NO_AMOUNT:.amount: is no positive whole number'
            WHEN e.amount_json > 9007199254740991 THEN CONCAT('NO_AMOUNT:: ', e.amount_json, ' is more than 9007199254740991')
            WHEN e.is_state AND e.amount_json <> 1 THEN CONCAT('NO_AMOUNT:: ', e.amount_json, ' of a state, which is 1')
            WHEN e.grant_kind IS NULL THEN CONCAT('BAD_ENTRY:: no such grantKind ', COALESCE(JSON_EXTRACT(e.terms, '$.grantKind'), ''))
            WHEN e.effective_policy IS NULL THEN CONCAT('BAD_ENTRY:: no such effectivePolicy ', JSON_EXTRACT(e.terms, '$.effectivePolicy'))
            WHEN e.duration_policy IS NULL THEN CONCAT('BAD_ENTRY:: no such durationPolicy ', JSON_EXTRACT(e.terms, '$.durationPolicy'))
            WHEN (e.days_json IS NOT NULL) <> IF(e.holder = 'plan', e.duration_policy = 'fixed_duration', e.grant_kind = 'timeboxed_addon')
              THEN CONCAT('BAD_ENTRY:: durationDays ', IF(e.days_json IS NULL, 'is required with ', 'does not go with '),
                          IF(e.holder = 'plan', e.duration_policy, e.grant_kind))
            WHEN NOT (JSON_TYPE(e.days_json) IN ('INTEGER', 'UNSIGNED INTEGER') AND e.days_json BETWEEN 1 AND 36500)
              THEN 'BAD_ENTRY:: durationDays is not 1 to 36500'
            WHEN JSON_TYPE(e.metadata) <> 'OBJECT' THEN 'BAD_ENTRY:.metadataJson: is not an object'
          END AS problem
            FROM bootstrap_entries AS e) AS x
   WHERE x.problem IS NOT NULL
   ORDER BY x.set_no, x.entry_no
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);
  UPDATE bootstrap_entries AS e
     SET e.amount = e.amount_json, e.duration_days = e.days_json;
END
