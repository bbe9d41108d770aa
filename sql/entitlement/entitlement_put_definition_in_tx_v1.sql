-- entitlement_put_definition_in_tx_v1: makes a definition, or edits one.
--
-- Called by    entitlement_put_definition_v1, billing_apply_catalogue_v1; people, inside their own transaction.
-- Transaction  needs the caller's. Where p_problems is not null nothing is to stay: roll back.
-- Locks        the definition. Writes an outbox row without a subject: limits of everybody name the definition.
-- Idempotency  fields that are as they were change nothing, the version neither.
-- Parameters   p_id                the definition; null: make one
--              p_fields            JSON object; a field that is not there stays as it is, or has its default in a new definition. Where a field may be null,
--                an empty text says so, too.
--                Fixed once it is made: code, 1 to 64 of a-z, 0-9, _ and . between parts, a letter first; entitlementType capacity, metered_quota,
--                balance, state; windowInterval day, week, month, year and windowAnchor calendar_utc (default), billing_period, rolling,
--                both with metered_quota and only there; aggregationMode sum (default), max (not with balance), boolean_any_true (with state and only
--                there); resourceCode, null or 1 to 64 of a-z, 0-9, _, . and -, with capacity only.
--                name, 1 to 160 characters; description, null or up to 1,000; unit, 1 to 32; scale, 0 (default) to 9; enforcementMode
--                hard_deny (default), hard_lock_resource, soft_warn; lockLabel, null or 1 to 64 visible ASCII characters, not none,
--                required for a state and with hard_lock_resource; metadata, null or an object of up to 2,048 bytes; isActive (default true)
--              p_expected_version  the version that is edited; null: whichever
--              p_definition_id     out: the definition
--              p_problems          out: null: done; else all that is wrong, as an array of [path, text, code of sql/errors.csv]
-- Results      none.
-- Errors       VALIDATION_FAILED, if p_fields is no object; DEFINITION_NOT_FOUND. In p_problems: VERSION_CONFLICT, alone; what is wrong with fields; CODE_TAKEN.
-- Cost         one row, and one of the outbox.
CREATE PROCEDURE entitlement_put_definition_in_tx_v1(
  IN  p_id               INT UNSIGNED,
  IN  p_fields           JSON,
  IN  p_expected_version INT UNSIGNED,
  OUT p_definition_id    INT UNSIGNED,
  OUT p_problems         JSON
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes or edits a definition inside the caller''s transaction'
BEGIN
  DECLARE v_now DATETIME(3);
  DECLARE v_version INT UNSIGNED;
  DECLARE v_written INT DEFAULT 0;
  -- What it was, what is given of it, and what it is to be.
  DECLARE v_shapes, v_old, v_given, v_merged, v_new JSON;
  DECLARE v_code_taken, v_resource_taken BOOLEAN DEFAULT FALSE;

  SET p_definition_id = p_id, p_problems = NULL;
  IF p_fields IS NULL OR JSON_TYPE(p_fields) <> 'OBJECT' THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: body: must be an object';
  END IF;
  IF p_id IS NOT NULL THEN
    SELECT d.version INTO v_version FROM billing_entitlement_definitions AS d WHERE d.id = p_id FOR UPDATE;
    IF v_version IS NULL THEN
      SIGNAL SQLSTATE '45102' SET MYSQL_ERRNO = 52102, MESSAGE_TEXT = 'DEFINITION_NOT_FOUND: no entitlement definition has this id';
    END IF;
    CALL entitlement_shape_definitions_in_tx_v1(p_id, v_shapes);
    SET v_old = JSON_EXTRACT(v_shapes, '$[0]');
  END IF;
  SET v_now = UTC_TIMESTAMP(3);

  IF v_version <> p_expected_version THEN
    SET p_problems = JSON_ARRAY(JSON_ARRAY('version', CONCAT('is ', v_version, ' by now'), 'VERSION_CONFLICT'));
  ELSE
    SELECT COALESCE(JSON_OBJECTAGG(g.field, IF(g.is_nullable AND g.value = '', CAST('null' AS JSON), g.value)), JSON_OBJECT()) INTO v_given
      FROM (SELECT JSON_UNQUOTE(k.field) AS field, JSON_EXTRACT(p_fields, CONCAT('$.', k.field)) AS value,
                   JSON_UNQUOTE(k.field) IN ('description', 'windowInterval', 'windowAnchor', 'lockLabel', 'resourceCode', 'metadata') AS is_nullable
              FROM JSON_TABLE(JSON_KEYS(p_fields), '$[*]' COLUMNS (field JSON PATH '$')) AS k
             WHERE JSON_UNQUOTE(k.field) IN ('code', 'name', 'description', 'entitlementType', 'unit', 'scale', 'windowInterval', 'windowAnchor', 'aggregationMode',
                                             'enforcementMode', 'lockLabel', 'resourceCode', 'isActive', 'metadata')) AS g;
    -- What is given, over what there is or the defaults. In a merge null takes a field away; metadata is replaced as a whole. What is fixed stays.
    SET v_merged = JSON_MERGE_PATCH(
      COALESCE(JSON_REMOVE(v_old, '$.metadata'), JSON_OBJECT(
        'scale', 0, 'enforcementMode', 'hard_deny', 'isActive', CAST('true' AS JSON),
        'aggregationMode', IF(JSON_EXTRACT(v_given, '$.entitlementType') = 'state', 'boolean_any_true', 'sum'),
        'windowAnchor', IF(JSON_EXTRACT(v_given, '$.entitlementType') = 'metered_quota', 'calendar_utc', NULL))),
      IF(p_id IS NULL, JSON_REMOVE(v_given, '$.metadata'),
         JSON_REMOVE(v_given, '$.metadata', '$.code', '$.entitlementType', '$.windowInterval', '$.windowAnchor', '$.aggregationMode', '$.resourceCode')));
    SET v_new = JSON_SET(v_merged, '$.metadata', COALESCE(JSON_EXTRACT(v_given, '$.metadata'), JSON_EXTRACT(v_old, '$.metadata'), CAST('null' AS JSON)));

    IF p_id IS NULL THEN
      SELECT COUNT(IF(d.code = j.code, 1, NULL)) > 0, COUNT(IF(d.resource_code = j.resource_code, 1, NULL)) > 0 INTO v_code_taken, v_resource_taken
        FROM (SELECT CONVERT(LEFT(t.code, 65) USING ascii) AS code, CONVERT(LEFT(t.resource_code, 65) USING ascii) AS resource_code
                FROM JSON_TABLE(v_new, '$' COLUMNS (code TEXT PATH '$.code', resource_code TEXT PATH '$.resourceCode')) AS t) AS j
        JOIN billing_entitlement_definitions AS d ON d.code = j.code OR d.resource_code = j.resource_code;
    END IF;

    WITH n AS (
      SELECT j.code, j.name, j.description, j.entitlement_type, j.unit, j.scale, j.window_interval, j.window_anchor, j.aggregation_mode, j.enforcement_mode,
             j.lock_label, j.resource_code, j.is_active, j.metadata
        FROM JSON_TABLE(v_new, '$' COLUMNS (
               code TEXT PATH '$.code', name TEXT PATH '$.name', description TEXT PATH '$.description', entitlement_type TEXT PATH '$.entitlementType',
               unit TEXT PATH '$.unit', scale JSON PATH '$.scale', window_interval TEXT PATH '$.windowInterval', window_anchor TEXT PATH '$.windowAnchor',
               aggregation_mode TEXT PATH '$.aggregationMode', enforcement_mode TEXT PATH '$.enforcementMode', lock_label TEXT PATH '$.lockLabel',
               resource_code TEXT PATH '$.resourceCode', is_active JSON PATH '$.isActive', metadata JSON PATH '$.metadata')) AS j)
    SELECT JSON_ARRAYAGG(JSON_ARRAY(f.path, f.problem, f.code)) INTO p_problems
      FROM (SELECT c.path, c.problem, c.code, ROW_NUMBER() OVER (PARTITION BY c.path ORDER BY c.check_no) AS place
              FROM (SELECT 1 AS check_no, LEFT(JSON_UNQUOTE(k.field), 64) AS path,
                           'is not known here: code, name, description, entitlementType, unit, scale, windowInterval, windowAnchor, aggregationMode, enforcementMode, lockLabel, resourceCode, isActive and metadata are' AS problem,
                           'VALIDATION_FAILED' AS code
                      FROM JSON_TABLE(JSON_KEYS(p_fields), '$[*]' COLUMNS (field JSON PATH '$')) AS k
                     WHERE JSON_EXTRACT(v_given, CONCAT('$.', k.field)) IS NULL
                    UNION ALL
                    SELECT 2, JSON_UNQUOTE(k.field), 'must be a text', 'VALIDATION_FAILED'
                      FROM JSON_TABLE(JSON_KEYS(v_given), '$[*]' COLUMNS (field JSON PATH '$')) AS k
                     WHERE JSON_UNQUOTE(k.field) NOT IN ('scale', 'isActive', 'metadata')
                       AND JSON_TYPE(JSON_EXTRACT(v_given, CONCAT('$.', k.field))) NOT IN ('STRING', 'NULL')
                    UNION ALL
                    SELECT 3, JSON_UNQUOTE(k.field), 'cannot be changed: grants and balances stand on it', 'VALIDATION_FAILED'
                      FROM JSON_TABLE(JSON_KEYS(v_given), '$[*]' COLUMNS (field JSON PATH '$')) AS k
                     WHERE p_id IS NOT NULL AND JSON_UNQUOTE(k.field) IN ('code', 'entitlementType', 'windowInterval', 'windowAnchor', 'aggregationMode', 'resourceCode')
                       AND JSON_EXTRACT(v_given, CONCAT('$.', k.field)) <> JSON_EXTRACT(v_old, CONCAT('$.', k.field))
                    UNION ALL
                    SELECT 4, 'code',
                           CASE WHEN n.code IS NULL THEN 'is required'
                                WHEN CHAR_LENGTH(n.code) > 64 OR NOT REGEXP_LIKE(LEFT(n.code, 65), '^[a-z][a-z0-9_]*([.][a-z0-9_]+)*\\z', 'c')
                                  THEN 'must be 1 to 64 of a-z, 0-9, _ and . between parts, a letter first'
                                WHEN v_code_taken THEN 'belongs to another definition' END, IF(v_code_taken, 'CODE_TAKEN', 'VALIDATION_FAILED')
                      FROM n
                    UNION ALL
                    SELECT 5, 'name',
                           CASE WHEN n.name IS NULL THEN 'is required'
                                WHEN TRIM(n.name) = '' OR CHAR_LENGTH(n.name) > 160 THEN 'must be 1 to 160 characters, not only blanks' END, 'VALIDATION_FAILED'
                      FROM n
                    UNION ALL
                    SELECT 6, 'description', IF(CHAR_LENGTH(n.description) > 1000, 'must be at most 1000 characters', NULL), 'VALIDATION_FAILED' FROM n
                    UNION ALL
                    SELECT 7, 'entitlementType',
                           CASE WHEN n.entitlement_type IS NULL THEN 'is required'
                                WHEN CAST(n.entitlement_type AS BINARY) NOT IN ('capacity', 'metered_quota', 'balance', 'state')
                                  THEN 'must be capacity, metered_quota, balance or state' END, 'VALIDATION_FAILED'
                      FROM n
                    UNION ALL
                    SELECT 8, 'unit',
                           CASE WHEN n.unit IS NULL THEN 'is required'
                                WHEN TRIM(n.unit) = '' OR CHAR_LENGTH(n.unit) > 32 THEN 'must be 1 to 32 characters, not only blanks' END, 'VALIDATION_FAILED'
                      FROM n
                    UNION ALL
                    SELECT 9, 'scale',
                           IF(COALESCE(JSON_TYPE(n.scale) IN ('INTEGER', 'UNSIGNED INTEGER') AND n.scale BETWEEN 0 AND 9, FALSE), NULL, 'must be a whole number from 0 to 9'),
                           'VALIDATION_FAILED'
                      FROM n
                    UNION ALL
                    SELECT 10, 'windowInterval',
                           CASE WHEN n.entitlement_type = 'metered_quota' AND n.window_interval IS NULL THEN 'is required for a metered_quota'
                                WHEN n.entitlement_type <> 'metered_quota' AND n.window_interval IS NOT NULL THEN 'may be given for a metered_quota only'
                                WHEN CAST(n.window_interval AS BINARY) NOT IN ('day', 'week', 'month', 'year') THEN 'must be day, week, month or year' END, 'VALIDATION_FAILED'
                      FROM n
                    UNION ALL
                    SELECT 11, 'windowAnchor',
                           CASE WHEN n.entitlement_type = 'metered_quota' AND n.window_anchor IS NULL THEN 'is required for a metered_quota'
                                WHEN n.entitlement_type <> 'metered_quota' AND n.window_anchor IS NOT NULL THEN 'may be given for a metered_quota only'
                                WHEN CAST(n.window_anchor AS BINARY) NOT IN ('calendar_utc', 'billing_period', 'rolling') THEN 'must be calendar_utc, billing_period or rolling' END,
                           'VALIDATION_FAILED'
                      FROM n
                    UNION ALL
                    SELECT 12, 'aggregationMode',
                           CASE WHEN CAST(COALESCE(n.aggregation_mode, '') AS BINARY) NOT IN ('sum', 'max', 'boolean_any_true') THEN 'must be sum, max or boolean_any_true'
                                WHEN n.entitlement_type = 'state' AND n.aggregation_mode <> 'boolean_any_true' THEN 'must be boolean_any_true for a state'
                                WHEN n.entitlement_type <> 'state' AND n.aggregation_mode = 'boolean_any_true' THEN 'may be boolean_any_true for a state only'
                                WHEN n.entitlement_type = 'balance' AND n.aggregation_mode <> 'sum' THEN 'must be sum for a balance' END, 'VALIDATION_FAILED'
                      FROM n
                    UNION ALL
                    SELECT 13, 'enforcementMode',
                           IF(CAST(COALESCE(n.enforcement_mode, '') AS BINARY) IN ('hard_deny', 'hard_lock_resource', 'soft_warn'), NULL,
                              'must be hard_deny, hard_lock_resource or soft_warn'), 'VALIDATION_FAILED'
                      FROM n
                    UNION ALL
                    SELECT 14, 'lockLabel',
                           CASE WHEN n.lock_label IS NULL AND n.entitlement_type = 'state' THEN 'is required for a state'
                                WHEN n.lock_label IS NULL AND n.enforcement_mode = 'hard_lock_resource' THEN 'is required with hard_lock_resource'
                                WHEN CHAR_LENGTH(n.lock_label) > 64 OR NOT REGEXP_LIKE(LEFT(n.lock_label, 65), '^[!-~]{1,64}\\z') THEN 'must be 1 to 64 visible ASCII characters'
                                WHEN n.lock_label = 'none' THEN 'must not be none, which says that nothing is locked' END, 'VALIDATION_FAILED'
                      FROM n
                    UNION ALL
                    SELECT 15, 'resourceCode',
                           CASE WHEN n.resource_code IS NULL THEN NULL
                                WHEN n.entitlement_type <> 'capacity' THEN 'may be given for a capacity only'
                                WHEN CHAR_LENGTH(n.resource_code) > 64 OR NOT REGEXP_LIKE(LEFT(n.resource_code, 65), '^[a-z][a-z0-9_.-]{0,63}\\z', 'c')
                                  THEN 'must be 1 to 64 of a-z, 0-9, _, . and -, a letter first'
                                WHEN v_resource_taken THEN 'belongs to another definition' END, IF(v_resource_taken, 'CODE_TAKEN', 'VALIDATION_FAILED')
                      FROM n
                    UNION ALL
                    SELECT 16, 'isActive', IF(COALESCE(JSON_TYPE(n.is_active) = 'BOOLEAN', FALSE), NULL, 'must be true or false'), 'VALIDATION_FAILED' FROM n
                    UNION ALL
                    SELECT 17, 'metadata',
                           IF(n.metadata IS NULL OR JSON_TYPE(n.metadata) = 'OBJECT' AND JSON_STORAGE_SIZE(n.metadata) <= 2048, NULL,
                              'must be an object of up to 2048 bytes'), 'VALIDATION_FAILED'
                      FROM n) AS c
             WHERE c.problem IS NOT NULL
             ORDER BY c.check_no, c.path
             LIMIT 100) AS f
     WHERE f.place = 1;
  END IF;

  IF p_problems IS NULL AND p_id IS NULL THEN
    BEGIN
      DECLARE EXIT HANDLER FOR 1062 SET p_problems = JSON_ARRAY(JSON_ARRAY('code', 'it, or the resourceCode, was taken at the same moment', 'CODE_TAKEN'));
      INSERT INTO billing_entitlement_definitions
        (code, name, description, entitlement_type, unit, scale, window_interval, window_anchor, aggregation_mode, enforcement_mode, lock_label, resource_code,
         is_active, metadata, created_at, updated_at)
      SELECT j.code, j.name, j.description, j.entitlement_type, j.unit, j.scale, j.window_interval, j.window_anchor, j.aggregation_mode, j.enforcement_mode,
             j.lock_label, j.resource_code, j.is_active = 'true', j.metadata, v_now, v_now
        FROM JSON_TABLE(v_new, '$' COLUMNS (
               code VARCHAR(64) PATH '$.code', name VARCHAR(160) PATH '$.name', description VARCHAR(1000) PATH '$.description',
               entitlement_type VARCHAR(16) PATH '$.entitlementType', unit VARCHAR(32) PATH '$.unit', scale INT PATH '$.scale',
               window_interval VARCHAR(16) PATH '$.windowInterval', window_anchor VARCHAR(16) PATH '$.windowAnchor', aggregation_mode VARCHAR(16) PATH '$.aggregationMode',
               enforcement_mode VARCHAR(32) PATH '$.enforcementMode', lock_label VARCHAR(64) PATH '$.lockLabel', resource_code VARCHAR(64) PATH '$.resourceCode',
               is_active VARCHAR(8) PATH '$.isActive', metadata JSON PATH '$.metadata')) AS j;
      SET p_definition_id = LAST_INSERT_ID(), v_written = 1;
    END;
  ELSEIF p_problems IS NULL THEN
    UPDATE billing_entitlement_definitions AS d
      JOIN JSON_TABLE(v_new, '$' COLUMNS (
             name VARCHAR(160) PATH '$.name', description VARCHAR(1000) PATH '$.description', unit VARCHAR(32) PATH '$.unit', scale INT PATH '$.scale',
             enforcement_mode VARCHAR(32) PATH '$.enforcementMode', lock_label VARCHAR(64) PATH '$.lockLabel', is_active VARCHAR(8) PATH '$.isActive',
             metadata JSON PATH '$.metadata')) AS j
       SET d.name = j.name, d.description = j.description, d.unit = j.unit, d.scale = j.scale, d.enforcement_mode = j.enforcement_mode, d.lock_label = j.lock_label,
           d.is_active = j.is_active = 'true', d.metadata = j.metadata, d.version = d.version + 1, d.updated_at = v_now
     -- A merge takes null fields away, so what there was is merged, too, before the two are compared.
     WHERE d.id = p_id
       AND (JSON_MERGE_PATCH(JSON_OBJECT(), JSON_REMOVE(v_new, '$.metadata')) <> JSON_MERGE_PATCH(JSON_OBJECT(), JSON_REMOVE(v_old, '$.metadata'))
            OR JSON_EXTRACT(v_new, '$.metadata') <> JSON_EXTRACT(v_old, '$.metadata'));
    SET v_written = ROW_COUNT();
  END IF;

  IF v_written > 0 THEN
    INSERT INTO billing_limit_changes (change_source, changes, changed_at)
    SELECT 'manual_refresh', JSON_ARRAY(JSON_OBJECT('codes', JSON_ARRAY(d.code))), v_now
      FROM billing_entitlement_definitions AS d
     WHERE d.id = p_definition_id;
  END IF;
END
