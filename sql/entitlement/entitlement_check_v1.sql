-- entitlement_check_v1: says what a use would be answered now, and books nothing.
--
-- Called by    POST /api/billing/check; people.
-- Transaction  none, unless something is due: then entitlement_settle_v1 commits first.
-- Locks        none, unless something is due. So the answer may be old by the time that it arrives: only a use or a hold decides.
-- Idempotency  reads only, but for what the clock made due.
-- Parameters   p_subject_id  billable entity
--              p_items       JSON array of 1 to 100 items, as in entitlement_consume_in_tx_v1; of a capacity also currentCount, the caller's own
--                            count of the resource, which counts instead of the one that the engine knows
-- Results      a row per item, by item_no: allowed, problem (null, or "CODE: text"), requested_amount, used_amount (consumed and held),
--              over_by_amount, retry_after_seconds; then the limitation, as entitlement_limitations_v1. A request is allowed if all its items are.
--              Then, if something was due, one row: refreshed, how many balances that were.
-- Errors       VALIDATION_FAILED, SUBJECT_NOT_FOUND.
-- Cost         one row of each of three tables per item.
CREATE PROCEDURE entitlement_check_v1(
  IN p_subject_id BIGINT UNSIGNED,
  IN p_items      JSON
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Says what a use would be answered now'
BEGIN
  DECLARE v_now DATETIME(3) DEFAULT UTC_TIMESTAMP(3);
  DECLARE v_subject_id BIGINT UNSIGNED;
  DECLARE v_due INT UNSIGNED;

  IF COALESCE(JSON_TYPE(p_items) <> 'ARRAY' OR JSON_LENGTH(p_items) NOT BETWEEN 1 AND 100, TRUE) THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: items: must be 1 to 100 items';
  END IF;
  SELECT e.id INTO v_subject_id FROM billable_entities AS e WHERE e.id = p_subject_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
  END IF;
  SELECT COUNT(*) INTO v_due
    FROM billing_entitlement_balances AS b
   WHERE b.subject_id = p_subject_id AND b.history_no = 0 AND b.next_change_at <= v_now;
  IF v_due > 0 THEN
    CALL entitlement_settle_v1(p_subject_id);
    SET v_now = UTC_TIMESTAMP(3);
  END IF;

  SELECT f.item_no, f.problem IS NULL AS allowed, f.problem, f.amount AS requested_amount, f.consumed_amount + f.held_amount AS used_amount, f.over_by_amount,
         (GREATEST(TIMESTAMPDIFF(MICROSECOND, v_now, IF(f.window_anchor = 'rolling', f.next_change_at, NULLIF(f.window_end_at, '9999-12-31 23:59:59.999'))), 0) + 999999)
           DIV 1000000 AS retry_after_seconds,
         p_subject_id AS subject_id, v_now AS generated_at,
         f.code, f.name, f.entitlement_type, f.enforcement_mode, f.unit, f.scale, f.window_interval, f.window_anchor,
         f.granted_amount, f.consumed_amount, f.held_amount, f.granted_amount - f.consumed_amount AS effective_amount, f.available_amount,
         IF(f.entitlement_type IN ('capacity', 'metered_quota'), f.granted_amount, NULL) AS hard_limit_amount,
         f.over_limit,
         IF(f.over_limit AND f.enforcement_mode = 'hard_lock_resource' OR f.entitlement_type = 'state' AND f.granted_amount = 0, f.lock_label, 'none') AS lock_state,
         f.next_change_at, f.window_start_at, f.window_end_at, f.last_recomputed_at
    FROM (SELECT i.item_no, i.amount,
                 CASE
                   WHEN (i.capability IS NULL) = (i.code IS NULL) THEN CONCAT('VALIDATION_FAILED: items[', i.item_no - 1, ']: must name a capability or a limitationCode, not both')
                   WHEN i.capability IS NOT NULL AND i.definition_id IS NULL THEN 'CAPABILITY_NOT_FOUND: no capability has this name'
                   WHEN d.id IS NULL THEN 'DEFINITION_NOT_FOUND: no entitlement definition has this code'
                   WHEN NOT d.is_active THEN 'DEFINITION_INACTIVE: this entitlement definition is not active'
                   WHEN d.entitlement_type = 'state' THEN 'NOT_CONSUMABLE: a state is on or off, and is not used up'
                   WHEN i.amount IS NULL OR i.amount NOT BETWEEN 1 AND 9007199254740991
                     THEN CONCAT('VALIDATION_FAILED: items[', i.item_no - 1, '].amount: must be a whole number from 1 to 9007199254740991')
                   WHEN i.has_count AND (i.count_given IS NULL OR i.count_given NOT BETWEEN 0 AND 9007199254740991)
                     THEN CONCAT('VALIDATION_FAILED: items[', i.item_no - 1, '].currentCount: must be a whole number from 0 to 9007199254740991')
                   WHEN i.uses_of_limit > 1 THEN CONCAT('VALIDATION_FAILED: items[', i.item_no - 1, ']: another item of this request uses the same limit')
                   WHEN d.enforcement_mode <> 'soft_warn'
                     AND i.amount > IF(i.current_count IS NULL, COALESCE(b.available_amount, 0), COALESCE(b.granted_amount, 0) - i.current_count - COALESCE(b.held_amount, 0))
                     THEN CONCAT(IF(d.entitlement_type = 'capacity', 'BILLING_CAPACITY_LOCKED: ', 'BILLING_LIMIT_EXCEEDED: '), d.code, ' does not leave room for this use')
                 END AS problem,
                 GREATEST(i.amount - IF(i.current_count IS NULL, COALESCE(b.left_amount, 0), COALESCE(b.granted_amount, 0) - i.current_count) + COALESCE(b.held_amount, 0), 0)
                   AS over_by_amount,
                 d.code, d.name, d.entitlement_type, d.enforcement_mode, d.unit, d.scale, d.window_interval, d.window_anchor, d.lock_label,
                 COALESCE(b.granted_amount, 0) AS granted_amount, COALESCE(i.current_count, b.consumed_amount, 0) AS consumed_amount,
                 COALESCE(b.held_amount, 0) AS held_amount,
                 IF(i.current_count IS NULL, COALESCE(b.available_amount, 0),
                    GREATEST(COALESCE(b.granted_amount, 0) - i.current_count - COALESCE(b.held_amount, 0), 0)) AS available_amount,
                 IF(i.current_count IS NULL, COALESCE(b.over_limit, FALSE), i.current_count > COALESCE(b.granted_amount, 0)) AS over_limit,
                 b.next_change_at, b.window_start_at, b.window_end_at, b.settled_at AS last_recomputed_at
            FROM (SELECT j.item_no, j.capability, j.code, COALESCE(c.definition_id, n.id) AS definition_id,
                         CASE WHEN j.amount IS NULL THEN COALESCE(c.amount, 1)
                              WHEN JSON_TYPE(j.amount) NOT IN ('INTEGER', 'UNSIGNED INTEGER') THEN NULL
                              -- Not LEAST(), which compares JSON as text: 97 would be more than 9007199254740992.
                              WHEN j.amount > 9007199254740991 THEN 9007199254740992
                              ELSE CAST(j.amount AS SIGNED) END AS amount,
                         IF(COALESCE(dc.entitlement_type, n.entitlement_type) = 'capacity', j.current_count, NULL) AS current_count,
                         j.has_count, j.current_count AS count_given,
                         COUNT(*) OVER (PARTITION BY COALESCE(c.definition_id, n.id)) AS uses_of_limit
                    FROM JSON_TABLE(p_items, '$[*]' COLUMNS (
                           item_no FOR ORDINALITY, capability VARCHAR(64) PATH '$.capability', code VARCHAR(64) PATH '$.limitationCode',
                           amount JSON PATH '$.amount', current_count BIGINT PATH '$.currentCount',
                           has_count INT EXISTS PATH '$.currentCount')) AS j
                    LEFT JOIN billing_capabilities AS c ON c.capability = CONVERT(j.capability USING ascii)
                    LEFT JOIN billing_entitlement_definitions AS dc ON dc.id = c.definition_id
                    LEFT JOIN billing_entitlement_definitions AS n ON n.code = CONVERT(j.code USING ascii)) AS i
            LEFT JOIN billing_entitlement_definitions AS d ON d.id = i.definition_id
            LEFT JOIN billing_entitlement_balances AS b ON b.subject_id = p_subject_id AND b.definition_id = d.id AND b.history_no = 0) AS f
   ORDER BY f.item_no;
  IF v_due > 0 THEN
    SELECT v_due AS refreshed;
  END IF;
END
