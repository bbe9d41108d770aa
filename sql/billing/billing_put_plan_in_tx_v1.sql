-- billing_put_plan_in_tx_v1: makes a plan, or edits one: its row, its prices and what it grants.
--
-- Called by    billing_put_plan_v1, billing_archive_plan_v1, billing_apply_catalogue_v1; people, inside their own transaction.
-- Transaction  needs the caller's. Where p_problems is not null nothing is to stay: roll back.
-- Locks        the plan, then its prices and templates.
-- Idempotency  fields that are as they were change nothing, the version neither.
-- Parameters   p_id                the plan; null: make one
--              p_fields            JSON object; a field that is not there stays as it is (no prices and entitlements, for a new plan): code, name, archived,
--                providerPriceIds as billing_check_item_in_tx_v1; entitlements as billing_read_plan_entitlements_in_tx_v1, which replace
--                what the plan grants from now on. Grants that were made stay
--              p_expected_version  the version that is edited; null: whichever
--              p_plan_id           out: the plan
--              p_problems          out: null: done; else all that is wrong, as an array of [path, text, code of sql/errors.csv]
-- Results      none.
-- Errors       VALIDATION_FAILED, if p_fields is no object; PLAN_NOT_FOUND. In p_problems: VERSION_CONFLICT, alone; what is wrong with fields; CODE_TAKEN, PRICE_TAKEN,
--              UNKNOWN_ENTITLEMENT_CODE.
-- Cost         the plan's prices and templates.
CREATE PROCEDURE billing_put_plan_in_tx_v1(
  IN  p_id               INT UNSIGNED,
  IN  p_fields           JSON,
  IN  p_expected_version INT UNSIGNED,
  OUT p_plan_id          INT UNSIGNED,
  OUT p_problems         JSON
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes or edits a plan inside the caller''s transaction'
BEGIN
  DECLARE v_now DATETIME(3);
  DECLARE v_version, v_changes INT UNSIGNED;
  DECLARE v_code VARCHAR(64);
  DECLARE v_name VARCHAR(160);
  DECLARE v_is_archived BOOLEAN DEFAULT FALSE;
  DECLARE v_templates, v_problems, v_more JSON;

  SET p_plan_id = p_id, p_problems = NULL;
  IF p_fields IS NULL OR JSON_TYPE(p_fields) <> 'OBJECT' THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: body: must be an object';
  END IF;
  IF p_id IS NOT NULL THEN
    SELECT p.version, p.code, p.name, p.archived_at IS NOT NULL INTO v_version, v_code, v_name, v_is_archived
      FROM billing_plans AS p
     WHERE p.id = p_id
       FOR UPDATE;
    IF v_version IS NULL THEN
      SIGNAL SQLSTATE '45107' SET MYSQL_ERRNO = 52107, MESSAGE_TEXT = 'PLAN_NOT_FOUND: no plan has this id';
    END IF;
  END IF;
  SET v_now = UTC_TIMESTAMP(3);

  IF v_version <> p_expected_version THEN
    SET p_problems = JSON_ARRAY(JSON_ARRAY('version', CONCAT('is ', v_version, ' by now'), 'VERSION_CONFLICT'));
  ELSE
    CALL billing_check_item_in_tx_v1('plan', p_id, v_code, p_fields, v_problems);
    IF JSON_EXTRACT(p_fields, '$.entitlements') IS NOT NULL THEN
      CALL billing_read_plan_entitlements_in_tx_v1(JSON_EXTRACT(p_fields, '$.entitlements'), v_templates, v_more);
    END IF;
    IF v_problems IS NOT NULL OR v_more IS NOT NULL THEN
      SET p_problems = JSON_MERGE_PRESERVE(COALESCE(v_problems, JSON_ARRAY()), COALESCE(v_more, JSON_ARRAY()));
    END IF;
  END IF;

  IF p_problems IS NULL THEN
    SET v_name = COALESCE(JSON_UNQUOTE(JSON_EXTRACT(p_fields, '$.name')), v_name),
        v_is_archived = COALESCE(JSON_UNQUOTE(JSON_EXTRACT(p_fields, '$.archived')) = 'true', v_is_archived);
    IF p_id IS NULL THEN
      BEGIN
        DECLARE EXIT HANDLER FOR 1062 SET p_problems = JSON_ARRAY(JSON_ARRAY('code', 'belongs to another plan', 'CODE_TAKEN'));
        INSERT INTO billing_plans (code, name, archived_at, created_at, updated_at)
        VALUES (JSON_UNQUOTE(JSON_EXTRACT(p_fields, '$.code')), v_name, IF(v_is_archived, v_now, NULL), v_now, v_now);
        SET p_plan_id = LAST_INSERT_ID();
      END;
    END IF;
  END IF;

  IF p_problems IS NULL THEN
    CALL billing_put_prices_in_tx_v1(p_plan_id, NULL, JSON_EXTRACT(p_fields, '$.providerPriceIds'), v_now, v_changes, p_problems);
    IF v_templates IS NOT NULL THEN
      DELETE t
        FROM billing_plan_entitlement_templates AS t
        LEFT JOIN JSON_TABLE(v_templates, '$[*]' COLUMNS (definition_id INT UNSIGNED PATH '$.definitionId', grant_kind VARCHAR(32) PATH '$.grantKind')) AS n
          ON n.definition_id = t.definition_id AND n.grant_kind = t.grant_kind
       WHERE t.plan_id = p_plan_id AND n.definition_id IS NULL;
      SET v_changes = v_changes + ROW_COUNT();
      UPDATE billing_plan_entitlement_templates AS t
        JOIN JSON_TABLE(v_templates, '$[*]' COLUMNS (
               definition_id INT UNSIGNED PATH '$.definitionId', grant_kind VARCHAR(32) PATH '$.grantKind', amount BIGINT PATH '$.amount',
               effective_policy VARCHAR(32) PATH '$.effectivePolicy', duration_policy VARCHAR(32) PATH '$.durationPolicy',
               duration_days INT UNSIGNED PATH '$.durationDays', schema_version INT UNSIGNED PATH '$.schemaVersion')) AS n
          ON n.definition_id = t.definition_id AND n.grant_kind = t.grant_kind
         SET t.amount = n.amount, t.effective_policy = n.effective_policy, t.duration_policy = n.duration_policy, t.duration_days = n.duration_days,
             t.schema_version = n.schema_version
       WHERE t.plan_id = p_plan_id
         AND NOT (t.amount = n.amount AND t.effective_policy = n.effective_policy AND t.duration_policy = n.duration_policy AND t.duration_days <=> n.duration_days
                  AND t.schema_version = n.schema_version);
      SET v_changes = v_changes + ROW_COUNT();
      INSERT INTO billing_plan_entitlement_templates
        (plan_id, definition_id, grant_kind, amount, effective_policy, duration_policy, duration_days, schema_version, created_at)
      SELECT p_plan_id, n.definition_id, n.grant_kind, n.amount, n.effective_policy, n.duration_policy, n.duration_days, n.schema_version, v_now
        FROM JSON_TABLE(v_templates, '$[*]' COLUMNS (
               place FOR ORDINALITY, definition_id INT UNSIGNED PATH '$.definitionId', grant_kind VARCHAR(32) PATH '$.grantKind', amount BIGINT PATH '$.amount',
               effective_policy VARCHAR(32) PATH '$.effectivePolicy', duration_policy VARCHAR(32) PATH '$.durationPolicy',
               duration_days INT UNSIGNED PATH '$.durationDays', schema_version INT UNSIGNED PATH '$.schemaVersion')) AS n
        LEFT JOIN billing_plan_entitlement_templates AS t ON t.plan_id = p_plan_id AND t.definition_id = n.definition_id AND t.grant_kind = n.grant_kind
       WHERE t.id IS NULL
       ORDER BY n.place;
      SET v_changes = v_changes + ROW_COUNT();
    END IF;
    UPDATE billing_plans AS p
       SET p.name = v_name, p.archived_at = IF(v_is_archived, COALESCE(p.archived_at, v_now), NULL), p.version = p.version + 1, p.updated_at = v_now
     WHERE p.id = p_id AND (v_changes > 0 OR CAST(p.name AS BINARY) <> CAST(v_name AS BINARY) OR (p.archived_at IS NOT NULL) <> v_is_archived);
  END IF;
END
