-- entitlement_recompute_v1: rebuilds a subject's projections from the ledger, in one commit. On a healthy database it changes nothing.
--
-- Called by    POST /api/billing/limits/refresh; operators, after a repair.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        all balance rows of the subject, by definition; then its grant balances, holds and counts.
-- Idempotency  what it writes follows from the ledger alone.
-- Parameters   p_subject_id  billable entity
-- Results      the limitations, as entitlement_limitations_v1.
-- Errors       SUBJECT_NOT_FOUND; if something is due, SETTLEMENT_STUCK.
-- Cost         the subject's grants and what they gave; its settlements; the uses since the newest of them. Not the uses before, nor the archive, of which the
--              newest use of each limit is looked up.
--
-- The newest settlement of a balance says what held when the open segment began; the uses of that segment are the rest. What a grant
-- gave is the sum of what its settlements say. Windows that have ended are history and stay.
CREATE PROCEDURE entitlement_recompute_v1(
  IN p_subject_id BIGINT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Rebuilds a subject''s projections from the ledger'
BEGIN
  DECLARE v_now DATETIME(3);
  DECLARE v_lifetime_end DATETIME(3) DEFAULT '9999-12-31 23:59:59.999';
  DECLARE v_subject_id BIGINT UNSIGNED;
  DECLARE v_count INT UNSIGNED;
  DECLARE v_archived, v_codes JSON;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT e.id INTO v_subject_id FROM billable_entities AS e WHERE e.id = p_subject_id;
    IF v_subject_id IS NULL THEN
      SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
    END IF;

    -- A balance row that was lost is put back first, so that there is something to lock; the numbers come below.
    INSERT INTO billing_entitlement_balances
      (subject_id, definition_id, history_no, window_start_at, window_end_at, segment_no, settled_at, granted_amount,
       allotment_amount, allotment_given_amount, overage_amount, segment_start_consumed_amount, segment_start_left_amount,
       segment_consumed_amount, held_amount, last_sequence_no, next_change_at)
    SELECT s.subject_id, s.definition_id, 0, s.window_start_at, s.window_end_at, s.segment_no, s.settled_at, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL
      FROM billing_entitlement_settlements AS s
     WHERE s.subject_id = p_subject_id
       AND s.segment_no = (SELECT MAX(n.segment_no) FROM billing_entitlement_settlements AS n
                            WHERE n.subject_id = s.subject_id AND n.definition_id = s.definition_id)
    ON DUPLICATE KEY UPDATE held_amount = billing_entitlement_balances.held_amount;
    SELECT COUNT(*) INTO v_count
      FROM billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
     WHERE b.subject_id = p_subject_id
       FOR UPDATE;
    SET v_now = UTC_TIMESTAMP(3);

    -- What grants gave is the sum of what settlements say they gave; `before` is what they gave before the current window began.
    REPLACE INTO billing_entitlement_grant_balances
      (subject_id, definition_id, grant_state, grant_id, is_allotment, priority, effective_at, expires_at, ends_at, amount,
       given_amount, given_before_window_amount)
    SELECT p.subject_id, p.definition_id, p.grant_state, p.grant_id, p.is_allotment, p.priority, p.effective_at, p.expires_at, p.ends_at, p.amount,
           COALESCE(p.given_amount, 0), IF(p.grant_state = 'ended', 0, COALESCE(p.given_before_amount, 0))
      FROM (SELECT g.subject_id, g.definition_id, g.id AS grant_id, g.priority, g.effective_at, g.expires_at, g.amount,
                   NULLIF(LEAST(COALESCE(g.expires_at, v_lifetime_end), COALESCE(r.revoked_at, v_lifetime_end)), v_lifetime_end) AS ends_at,
                   CASE WHEN LEAST(COALESCE(g.expires_at, v_lifetime_end), COALESCE(r.revoked_at, v_lifetime_end)) <= s.settled_at THEN 'ended'
                        WHEN g.effective_at <= s.settled_at THEN 'active'
                        ELSE 'pending' END AS grant_state,
                   d.entitlement_type IN ('capacity', 'state') OR COALESCE(d.window_anchor = 'rolling', FALSE)
                     OR (d.entitlement_type = 'metered_quota' AND g.grant_kind IN ('plan_base', 'plan_bonus', 'addon_timeboxed')) AS is_allotment,
                   (SELECT SUM(t.gave_amount) FROM billing_entitlement_settlement_grants AS t WHERE t.grant_id = g.id) AS given_amount,
                   (SELECT SUM(t.gave_amount) FROM billing_entitlement_settlement_grants AS t
                     WHERE t.grant_id = g.id AND t.segment_no <= n.window_segment_no) AS given_before_amount
              FROM billing_entitlement_grants AS g
              JOIN billing_entitlement_definitions AS d ON d.id = g.definition_id
              JOIN (SELECT a.definition_id, MAX(a.segment_no) AS segment_no, MAX(IF(a.cause = 'window_end', a.segment_no, 1)) AS window_segment_no
                      FROM billing_entitlement_settlements AS a
                     WHERE a.subject_id = p_subject_id
                     GROUP BY a.definition_id) AS n ON n.definition_id = g.definition_id
              JOIN billing_entitlement_settlements AS s
                ON s.subject_id = g.subject_id AND s.definition_id = g.definition_id AND s.segment_no = n.segment_no
              LEFT JOIN billing_entitlement_revocations AS r ON r.grant_id = g.id
             WHERE g.subject_id = p_subject_id) AS p;

    -- A hold is what its resolution says, or the clock, as of the newest settlement.
    UPDATE billing_entitlement_holds AS h FORCE INDEX (ix_holds_pending)
      JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY) ON b.subject_id = h.subject_id AND b.definition_id = h.definition_id AND b.history_no = 0
      LEFT JOIN billing_entitlement_hold_resolutions AS r ON r.hold_id = h.id
       SET h.status = COALESCE(r.resolution, IF(h.expires_at <= b.settled_at, 'expired', 'pending'))
     WHERE h.subject_id = p_subject_id;

    -- A count is what its newest change says.
    UPDATE billing_resource_snapshots AS n FORCE INDEX (PRIMARY)
      JOIN (SELECT m.definition_id, MAX(m.id) AS id FROM billing_resource_changes AS m WHERE m.subject_id = p_subject_id GROUP BY m.definition_id) AS l
        ON l.definition_id = n.definition_id
      JOIN billing_resource_changes AS k ON k.id = l.id
       SET n.resource_count = k.consumed_after
     WHERE n.subject_id = p_subject_id;

    -- How far each balance is archived. Nothing is moved there but under the lock of its balance, so this needs none of its own.
    SELECT JSON_ARRAYAGG(JSON_ARRAY(o.definition_id, o.sequence_no)) INTO v_archived
      FROM (SELECT a.definition_id, MAX(a.sequence_no) AS sequence_no
              FROM billing_entitlement_consumption_archive AS a FORCE INDEX (uq_consumption_archive_sequence)
             WHERE a.subject_id = p_subject_id
             GROUP BY a.definition_id) AS o;

    -- The newest settlement, and the uses after it, are the balance.
    UPDATE billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
      JOIN billing_entitlement_settlements AS s
        ON s.subject_id = b.subject_id AND s.definition_id = b.definition_id
      JOIN (SELECT a.definition_id, MAX(a.segment_no) AS segment_no
              FROM billing_entitlement_settlements AS a
             WHERE a.subject_id = p_subject_id
             GROUP BY a.definition_id) AS n ON n.definition_id = s.definition_id AND n.segment_no = s.segment_no
      LEFT JOIN (SELECT c.definition_id, SUM(c.amount) AS used_amount, MAX(c.sequence_no) AS last_sequence_no
                   FROM billing_entitlement_consumptions AS c
                   JOIN (SELECT a.definition_id, MAX(a.last_sequence_no) AS last_sequence_no
                           FROM billing_entitlement_settlements AS a
                          WHERE a.subject_id = p_subject_id
                          GROUP BY a.definition_id) AS l ON l.definition_id = c.definition_id
                  WHERE c.subject_id = p_subject_id AND c.sequence_no > l.last_sequence_no
                  GROUP BY c.definition_id) AS u ON u.definition_id = b.definition_id
      JOIN billing_entitlement_definitions AS d ON d.id = b.definition_id
      LEFT JOIN billing_resource_snapshots AS k ON k.subject_id = b.subject_id AND k.definition_id = b.definition_id
      LEFT JOIN (SELECT h.definition_id, SUM(h.amount) AS held_amount, MIN(h.expires_at) AS next_hold_at
                   FROM billing_entitlement_holds AS h
                  WHERE h.subject_id = p_subject_id AND h.status = 'pending'
                  GROUP BY h.definition_id) AS p ON p.definition_id = b.definition_id
      LEFT JOIN billing_entitlement_consumptions AS f FORCE INDEX (uq_consumptions_sequence)
        ON d.window_anchor = 'rolling' AND f.subject_id = b.subject_id AND f.definition_id = b.definition_id AND f.sequence_no = s.returned_sequence_no + 1
      LEFT JOIN (SELECT g.definition_id,
                        MIN(LEAST(COALESCE(g.ends_at, v_lifetime_end), IF(g.grant_state = 'pending', g.effective_at, v_lifetime_end))) AS next_grant_at
                   FROM billing_entitlement_grant_balances AS g
                  WHERE g.subject_id = p_subject_id AND g.grant_state IN ('pending', 'active')
                  GROUP BY g.definition_id) AS x ON x.definition_id = b.definition_id
      LEFT JOIN JSON_TABLE(v_archived, '$[*]' COLUMNS (definition_id INT UNSIGNED PATH '$[0]', sequence_no BIGINT UNSIGNED PATH '$[1]')) AS o
        ON o.definition_id = b.definition_id
       SET b.window_start_at = s.window_start_at, b.window_end_at = s.window_end_at, b.segment_no = s.segment_no, b.settled_at = s.settled_at,
           b.granted_amount = s.granted_amount, b.allotment_amount = s.allotment_amount, b.allotment_given_amount = s.allotment_given_amount,
           b.overage_amount = s.overage_amount,
           b.segment_start_consumed_amount = IF(d.entitlement_type = 'capacity', COALESCE(k.resource_count, 0), s.consumed_amount),
           b.segment_start_left_amount = IF(d.entitlement_type = 'capacity', s.granted_amount - COALESCE(k.resource_count, 0), s.left_amount),
           b.held_amount = COALESCE(p.held_amount, 0), b.returned_sequence_no = s.returned_sequence_no,
           b.segment_consumed_amount = COALESCE(u.used_amount, 0), b.last_sequence_no = COALESCE(u.last_sequence_no, s.last_sequence_no),
           b.archived_sequence_no = COALESCE(o.sequence_no, 0),
           b.next_change_at = NULLIF(LEAST(
             COALESCE(x.next_grant_at, v_lifetime_end), COALESCE(p.next_hold_at, v_lifetime_end), s.window_end_at,
             COALESCE(GREATEST(s.settled_at, f.returns_at), v_lifetime_end)), v_lifetime_end)
     WHERE b.subject_id = p_subject_id AND b.history_no = 0;

    SELECT JSON_ARRAYAGG(d.code) INTO v_codes
      FROM billing_entitlement_balances AS b
      JOIN billing_entitlement_definitions AS d ON d.id = b.definition_id
     WHERE b.subject_id = p_subject_id AND b.history_no = 0;
    IF v_codes IS NOT NULL THEN
      INSERT INTO billing_limit_changes (change_source, changes, changed_at)
      VALUES ('manual_refresh', JSON_ARRAY(JSON_OBJECT('subjectId', p_subject_id, 'codes', v_codes)), v_now);
    END IF;
    COMMIT;
  END;
  CALL entitlement_limitations_v1(p_subject_id, NULL, FALSE);
END
