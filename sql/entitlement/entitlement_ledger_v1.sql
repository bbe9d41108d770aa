-- entitlement_ledger_v1: returns a page of all that was ever recorded of one limit of a subject, the newest first.
--
-- Called by    GET /api/billing/limitations/{code}/ledger; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only. What was recorded never changes, so a cursor gives the same page again, whatever was recorded since.
-- Parameters   p_subject_id  billable entity
--              p_code        definition, also an inactive one
--              p_cursor      next_cursor of the page before; null: the newest page
--              p_limit       entries at most, 1 to 200
-- Results      one row: next_cursor (null: that was all). Then a row per entry, by place; columns that are not of its kind are null. kind, recorded at
--              entry_at, is
--                grant            grant_id, grant_kind, amount, priority, effective_at, expires_at, source, plan_assignment_id, purchase_id, reason, created_by
--                revocation       grant_id, revoked_at, reason, created_by
--                consumption      amount, usage_event_key, sequence_no, reason_code, occurred_at, metadata; what it left: consumed_amount,
--                                 held_amount, available_amount. A committed hold's has the key `hold` and the hold's number, with a blank between
--                hold             hold_id, amount, usage_event_key, reason_code, expires_at, metadata; what it left
--                hold_resolution  hold_id, resolution (committed, released; an expiry is a settlement), amount; what it left
--                count_change     change_kind, amount (below 0: fewer), usage_event_key, reason_code, occurred_at, metadata; what it left
--                settlement       segment_no, cause, recorded_at, closed_amount, closed_allotment_gave, closed_grants_gave, overage_paid, window_start_at, window_end_at,
--                                 granted_amount, consumed_amount; gave (JSON array of {"grantId": 7, "amount": 100}). Its entry_at is the boundary itself
-- Errors       VALIDATION_FAILED, SUBJECT_NOT_FOUND, DEFINITION_NOT_FOUND, in this order.
-- Cost         p_limit + 1 rows of each of seven tables and of the archive, by index, and what the page's settlements gave; nothing that grows with the
--              history.
--
-- A cursor says for each of the seven how far the pages before it came: numbers below it are still to come. Rows that are written later have higher
-- numbers, and so are on no later page. A page merges the seven by their instants; where a clock was set back, by the lowest instant since, so that no
-- table's own order is ever left. At one instant the later segment is the newer, and in it
-- the settlement that opened it is the oldest; grants and revocations, which make settlements, are older than these.
CREATE PROCEDURE entitlement_ledger_v1(
  IN p_subject_id BIGINT UNSIGNED,
  IN p_code       VARCHAR(64),
  IN p_cursor     VARCHAR(160),
  IN p_limit      INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns a page of a limit''s ledger'
BEGIN
  DECLARE v_highest BIGINT UNSIGNED DEFAULT 18446744073709551615;
  DECLARE v_subject_id BIGINT UNSIGNED;
  DECLARE v_definition_id INT UNSIGNED;
  DECLARE v_grants, v_revocations, v_settlements, v_holds, v_uses, v_counts, v_resolutions BIGINT UNSIGNED DEFAULT v_highest;
  DECLARE v_rows INT UNSIGNED;
  DECLARE v_candidates JSON;
  DECLARE v_next_cursor VARCHAR(160);

  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 200 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 200';
  END IF;
  IF p_cursor IS NOT NULL THEN
    IF NOT REGEXP_LIKE(p_cursor, '^[0-9]{1,19}([.][0-9]{1,19}){6}\\z') THEN
      SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: cursor: must be the nextCursor of the page before';
    END IF;
    SET v_grants = SUBSTRING_INDEX(p_cursor, '.', 1), v_revocations = SUBSTRING_INDEX(SUBSTRING_INDEX(p_cursor, '.', 2), '.', -1),
        v_settlements = SUBSTRING_INDEX(SUBSTRING_INDEX(p_cursor, '.', 3), '.', -1), v_holds = SUBSTRING_INDEX(SUBSTRING_INDEX(p_cursor, '.', 4), '.', -1),
        v_uses = SUBSTRING_INDEX(SUBSTRING_INDEX(p_cursor, '.', 5), '.', -1), v_counts = SUBSTRING_INDEX(SUBSTRING_INDEX(p_cursor, '.', 6), '.', -1),
        v_resolutions = SUBSTRING_INDEX(p_cursor, '.', -1);
  END IF;
  SELECT e.id INTO v_subject_id FROM billable_entities AS e WHERE e.id = p_subject_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
  END IF;
  SELECT d.id INTO v_definition_id FROM billing_entitlement_definitions AS d WHERE d.code = CONVERT(p_code USING ascii);
  IF v_definition_id IS NULL THEN
    SIGNAL SQLSTATE '45102' SET MYSQL_ERRNO = 52102, MESSAGE_TEXT = 'DEFINITION_NOT_FOUND: no entitlement definition has this code';
  END IF;

  SET v_rows = p_limit + 1;
  -- One statement, one snapshot: what one commit wrote is on the page together, or not at all.
  SELECT JSON_ARRAYAGG(JSON_ARRAY(o.place, o.source, o.no)) INTO v_candidates
    FROM (SELECT m.source, m.no, ROW_NUMBER() OVER (ORDER BY m.lowest_at DESC, m.segment_no DESC, m.source DESC, m.no DESC) AS place
            FROM (SELECT u.source, u.no, u.segment_no, MIN(u.entry_at) OVER (PARTITION BY u.source ORDER BY u.no DESC ROWS UNBOUNDED PRECEDING) AS lowest_at
                    FROM ((SELECT 1 AS source, g.id AS no, g.created_at AS entry_at, 0 AS segment_no
                             FROM billing_entitlement_grants AS g FORCE INDEX (ix_grants_subject)
                            WHERE g.subject_id = p_subject_id AND g.definition_id = v_definition_id AND g.id < v_grants
                            ORDER BY g.id DESC LIMIT v_rows)
                          UNION ALL
                          (SELECT 2, r.id, r.created_at, 0
                             FROM billing_entitlement_revocations AS r FORCE INDEX (ix_revocations_subject)
                            WHERE r.subject_id = p_subject_id AND r.definition_id = v_definition_id AND r.id < v_revocations
                            ORDER BY r.id DESC LIMIT v_rows)
                          UNION ALL
                          (SELECT 3, s.segment_no, s.settled_at, s.segment_no
                             FROM billing_entitlement_settlements AS s FORCE INDEX (PRIMARY)
                            WHERE s.subject_id = p_subject_id AND s.definition_id = v_definition_id AND s.segment_no < v_settlements
                            ORDER BY s.segment_no DESC LIMIT v_rows)
                          UNION ALL
                          (SELECT 4, h.id, h.created_at, h.segment_no
                             FROM billing_entitlement_holds AS h FORCE INDEX (ix_holds_subject)
                            WHERE h.subject_id = p_subject_id AND h.definition_id = v_definition_id AND h.id < v_holds
                            ORDER BY h.id DESC LIMIT v_rows)
                          UNION ALL
                          (SELECT 5, c.sequence_no, c.posted_at, c.segment_no
                             FROM billing_entitlement_consumptions AS c FORCE INDEX (uq_consumptions_sequence)
                            WHERE c.subject_id = p_subject_id AND c.definition_id = v_definition_id AND c.sequence_no < v_uses
                            ORDER BY c.sequence_no DESC LIMIT v_rows)
                          UNION ALL
                          -- A use is in one of the two. Both are read in one statement, so that none is missed that is being moved.
                          (SELECT 5, a.sequence_no, a.posted_at, a.segment_no
                             FROM billing_entitlement_consumption_archive AS a FORCE INDEX (uq_consumption_archive_sequence)
                            WHERE a.subject_id = p_subject_id AND a.definition_id = v_definition_id AND a.sequence_no < v_uses
                            ORDER BY a.sequence_no DESC LIMIT v_rows)
                          UNION ALL
                          (SELECT 6, k.id, k.posted_at, k.segment_no
                             FROM billing_resource_changes AS k FORCE INDEX (ix_resource_changes_subject)
                            WHERE k.subject_id = p_subject_id AND k.definition_id = v_definition_id AND k.id < v_counts
                            ORDER BY k.id DESC LIMIT v_rows)
                          UNION ALL
                          (SELECT 7, l.id, l.resolved_at, l.segment_no
                             FROM billing_entitlement_hold_resolutions AS l FORCE INDEX (ix_hold_resolutions_subject)
                            WHERE l.subject_id = p_subject_id AND l.definition_id = v_definition_id AND l.id < v_resolutions
                            ORDER BY l.id DESC LIMIT v_rows)) AS u) AS m) AS o;

  -- How far each of the seven has come: to the last that is on this page; where none is, to the newest that was there.
  SELECT IF(MAX(p.place) > p_limit, CONCAT_WS('.',
           COALESCE(MIN(IF(p.source = 1 AND p.place <= p_limit, p.no, NULL)), MAX(IF(p.source = 1, p.no, NULL)) + 1, 0),
           COALESCE(MIN(IF(p.source = 2 AND p.place <= p_limit, p.no, NULL)), MAX(IF(p.source = 2, p.no, NULL)) + 1, 0),
           COALESCE(MIN(IF(p.source = 3 AND p.place <= p_limit, p.no, NULL)), MAX(IF(p.source = 3, p.no, NULL)) + 1, 0),
           COALESCE(MIN(IF(p.source = 4 AND p.place <= p_limit, p.no, NULL)), MAX(IF(p.source = 4, p.no, NULL)) + 1, 0),
           COALESCE(MIN(IF(p.source = 5 AND p.place <= p_limit, p.no, NULL)), MAX(IF(p.source = 5, p.no, NULL)) + 1, 0),
           COALESCE(MIN(IF(p.source = 6 AND p.place <= p_limit, p.no, NULL)), MAX(IF(p.source = 6, p.no, NULL)) + 1, 0),
           COALESCE(MIN(IF(p.source = 7 AND p.place <= p_limit, p.no, NULL)), MAX(IF(p.source = 7, p.no, NULL)) + 1, 0)), NULL)
    INTO v_next_cursor
    FROM JSON_TABLE(v_candidates, '$[*]' COLUMNS (place INT UNSIGNED PATH '$[0]', source INT UNSIGNED PATH '$[1]', no BIGINT UNSIGNED PATH '$[2]')) AS p;
  SELECT v_next_cursor AS next_cursor;

  -- Each join names its index: a table that the statistics call small would otherwise be read whole.
  SELECT ELT(p.source, 'grant', 'revocation', 'settlement', 'hold', 'consumption', 'count_change', 'hold_resolution') AS kind,
         COALESCE(g.created_at, r.created_at, s.settled_at, h.created_at, c.posted_at, a.posted_at, k.posted_at, l.resolved_at) AS entry_at,
         COALESCE(g.amount, h.amount, c.amount, a.amount, k.amount, l.amount) AS amount,
         COALESCE(g.id, r.grant_id) AS grant_id, g.grant_kind, g.priority, g.effective_at, COALESCE(g.expires_at, h.expires_at) AS expires_at,
         g.source, g.plan_assignment_id, g.purchase_id, r.revoked_at, COALESCE(g.reason, r.reason) AS reason, COALESCE(g.created_by, r.created_by) AS created_by,
         COALESCE(h.usage_event_key, c.usage_event_key, a.usage_event_key, k.usage_event_key) AS usage_event_key,
         COALESCE(c.sequence_no, a.sequence_no) AS sequence_no, k.change_kind,
         COALESCE(h.reason_code, c.reason_code, a.reason_code, k.reason_code) AS reason_code,
         COALESCE(c.occurred_at, a.occurred_at, k.occurred_at) AS occurred_at,
         COALESCE(h.metadata, c.metadata, a.metadata, k.metadata) AS metadata, COALESCE(h.id, l.hold_id) AS hold_id, l.resolution,
         s.granted_amount,
         COALESCE(s.consumed_amount, h.consumed_after, c.consumed_after, a.consumed_after, k.consumed_after, l.consumed_after) AS consumed_amount,
         COALESCE(h.held_after, c.held_after, a.held_after, k.held_after, l.held_after) AS held_amount,
         GREATEST(COALESCE(h.left_after - h.held_after, c.left_after - c.held_after, a.left_after - a.held_after, k.left_after - k.held_after,
                           l.left_after - l.held_after), 0) AS available_amount,
         s.segment_no, s.cause, s.recorded_at, s.closed_amount, s.closed_allotment_gave, s.closed_grants_gave, s.overage_paid, s.window_start_at, s.window_end_at,
         (SELECT JSON_ARRAYAGG(JSON_OBJECT('grantId', t.grant_id, 'amount', t.gave_amount))
            FROM billing_entitlement_settlement_grants AS t FORCE INDEX (PRIMARY)
           WHERE t.subject_id = s.subject_id AND t.definition_id = s.definition_id AND t.segment_no = s.segment_no) AS gave
    FROM JSON_TABLE(v_candidates, '$[*]' COLUMNS (place INT UNSIGNED PATH '$[0]', source INT UNSIGNED PATH '$[1]', no BIGINT UNSIGNED PATH '$[2]')) AS p
    LEFT JOIN billing_entitlement_grants AS g FORCE INDEX (PRIMARY) ON p.source = 1 AND g.id = p.no
    LEFT JOIN billing_entitlement_revocations AS r FORCE INDEX (PRIMARY) ON p.source = 2 AND r.id = p.no
    LEFT JOIN billing_entitlement_settlements AS s FORCE INDEX (PRIMARY)
      ON p.source = 3 AND s.subject_id = p_subject_id AND s.definition_id = v_definition_id AND s.segment_no = p.no
    LEFT JOIN billing_entitlement_holds AS h FORCE INDEX (PRIMARY) ON p.source = 4 AND h.id = p.no
    LEFT JOIN billing_entitlement_consumptions AS c FORCE INDEX (uq_consumptions_sequence)
      ON p.source = 5 AND c.subject_id = p_subject_id AND c.definition_id = v_definition_id AND c.sequence_no = p.no
    LEFT JOIN billing_entitlement_consumption_archive AS a FORCE INDEX (uq_consumption_archive_sequence)
      ON a.subject_id = p_subject_id AND a.definition_id = v_definition_id AND a.sequence_no = IF(p.source = 5 AND c.sequence_no IS NULL, p.no, NULL)
    LEFT JOIN billing_resource_changes AS k FORCE INDEX (PRIMARY) ON p.source = 6 AND k.id = p.no
    LEFT JOIN billing_entitlement_hold_resolutions AS l FORCE INDEX (PRIMARY) ON p.source = 7 AND l.id = p.no
   WHERE p.place <= p_limit
   ORDER BY p.place;
END
