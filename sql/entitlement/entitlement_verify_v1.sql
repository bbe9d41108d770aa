-- entitlement_verify_v1: compares every projected number with the ledger. No rows is the proof.
--
-- Called by    consumable verify; people; every test of concurrency and of faults.
-- Transaction  owns it: one consistent snapshot, read only. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        none: no writer waits for it.
-- Idempotency  reads only.
-- Parameters   p_subject_id  one billable entity; null: all
-- Results      a row per difference: subject_id, definition_id, code, what, number (of the segment, grant or hold; null for the balance), projected,
--              ledger.
-- Errors       none.
-- Cost         every use, grant, settlement and hold of the subjects, once.
--
-- What is compared: a balance with its newest settlement and the uses after it; a segment's total with its uses; what a settlement says
-- that grants gave with what each gave; a grant's rest with its gifts; a count with its newest change; what is held with the pending
-- holds; a hold's state with its resolution; and each settlement with the one before it, as nothing may be gained or lost between them.
CREATE PROCEDURE entitlement_verify_v1(
  IN p_subject_id BIGINT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Compares every projected number with the ledger'
BEGIN
  SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY;

    WITH
    newest AS (
      SELECT s.subject_id, s.definition_id, MAX(s.segment_no) AS segment_no, MAX(IF(s.cause = 'window_end', s.segment_no, 1)) AS window_segment_no
        FROM billing_entitlement_settlements AS s
       WHERE p_subject_id IS NULL OR s.subject_id = p_subject_id
       GROUP BY s.subject_id, s.definition_id),
    used AS (
      SELECT c.subject_id, c.definition_id, c.segment_no, SUM(c.amount) AS amount, COUNT(*) AS uses, MAX(c.sequence_no) AS last_sequence_no
        FROM billing_entitlement_consumptions AS c
       WHERE p_subject_id IS NULL OR c.subject_id = p_subject_id
       GROUP BY c.subject_id, c.definition_id, c.segment_no),
    gave AS (
      SELECT t.subject_id, t.definition_id, t.segment_no, SUM(t.gave_amount) AS amount
        FROM billing_entitlement_settlement_grants AS t
       WHERE p_subject_id IS NULL OR t.subject_id = p_subject_id
       GROUP BY t.subject_id, t.definition_id, t.segment_no),
    counted AS (
      SELECT r.subject_id, r.definition_id, r.consumed_after AS amount
        FROM billing_resource_changes AS r
        JOIN (SELECT MAX(m.id) AS id FROM billing_resource_changes AS m
               WHERE p_subject_id IS NULL OR m.subject_id = p_subject_id
               GROUP BY m.subject_id, m.definition_id) AS l ON l.id = r.id),
    held AS (
      SELECT h.subject_id, h.definition_id, SUM(h.amount) AS amount
        FROM billing_entitlement_holds AS h
        LEFT JOIN billing_entitlement_hold_resolutions AS r ON r.hold_id = h.id
        JOIN billing_entitlement_balances AS b ON b.subject_id = h.subject_id AND b.definition_id = h.definition_id AND b.history_no = 0
       WHERE (p_subject_id IS NULL OR h.subject_id = p_subject_id) AND r.hold_id IS NULL AND h.expires_at > b.settled_at
       GROUP BY h.subject_id, h.definition_id),
    differences AS (
      -- A balance is its newest settlement and the uses after it.
      SELECT b.subject_id, b.definition_id, w.what, NULL AS number,
             CASE w.what WHEN 'segment' THEN b.segment_no WHEN 'granted' THEN b.granted_amount WHEN 'consumed' THEN b.consumed_amount
                         WHEN 'left' THEN b.left_amount WHEN 'held' THEN b.held_amount WHEN 'allotment' THEN b.allotment_amount
                         WHEN 'allotment given' THEN b.allotment_given_amount WHEN 'overage' THEN b.overage_amount ELSE b.last_sequence_no END AS projected,
             CASE w.what WHEN 'segment' THEN s.segment_no WHEN 'granted' THEN s.granted_amount
                         WHEN 'consumed' THEN IF(d.entitlement_type = 'capacity', COALESCE(k.amount, 0), s.consumed_amount + COALESCE(u.amount, 0))
                         WHEN 'left' THEN IF(d.entitlement_type = 'capacity', s.granted_amount - COALESCE(k.amount, 0), s.left_amount - COALESCE(u.amount, 0))
                         WHEN 'held' THEN COALESCE(h.amount, 0) WHEN 'allotment' THEN s.allotment_amount WHEN 'allotment given' THEN s.allotment_given_amount
                         WHEN 'overage' THEN s.overage_amount ELSE COALESCE(u.last_sequence_no, s.last_sequence_no) END AS ledger
        FROM billing_entitlement_balances AS b
        JOIN billing_entitlement_definitions AS d ON d.id = b.definition_id
        JOIN (SELECT 'segment' AS what UNION ALL SELECT 'granted' UNION ALL SELECT 'consumed' UNION ALL SELECT 'left' UNION ALL SELECT 'held'
              UNION ALL SELECT 'allotment' UNION ALL SELECT 'allotment given' UNION ALL SELECT 'overage' UNION ALL SELECT 'uses') AS w
        LEFT JOIN newest AS n ON n.subject_id = b.subject_id AND n.definition_id = b.definition_id
        LEFT JOIN billing_entitlement_settlements AS s
          ON s.subject_id = b.subject_id AND s.definition_id = b.definition_id AND s.segment_no = n.segment_no
        LEFT JOIN used AS u ON u.subject_id = b.subject_id AND u.definition_id = b.definition_id AND u.segment_no = n.segment_no
        LEFT JOIN counted AS k ON k.subject_id = b.subject_id AND k.definition_id = b.definition_id
        LEFT JOIN held AS h ON h.subject_id = b.subject_id AND h.definition_id = b.definition_id
       WHERE b.history_no = 0 AND (p_subject_id IS NULL OR b.subject_id = p_subject_id)
      UNION ALL
      -- Settlements without a balance.
      SELECT n.subject_id, n.definition_id, 'balance', NULL, NULL, n.segment_no
        FROM newest AS n
        LEFT JOIN billing_entitlement_balances AS b ON b.subject_id = n.subject_id AND b.definition_id = n.definition_id AND b.history_no = 0
       WHERE b.subject_id IS NULL
      UNION ALL
      -- A settlement closes what was used in the segment before it, and each use belongs to a segment.
      SELECT COALESCE(s.subject_id, u.subject_id), COALESCE(s.definition_id, u.definition_id), 'used in segment', s.segment_no - 1, s.closed_amount, COALESCE(u.amount, 0)
        FROM billing_entitlement_settlements AS s
        LEFT JOIN used AS u ON u.subject_id = s.subject_id AND u.definition_id = s.definition_id AND u.segment_no = s.segment_no - 1
       WHERE p_subject_id IS NULL OR s.subject_id = p_subject_id
      UNION ALL
      -- What grants gave at a settlement: for its segment, and for overage that the allotment did not pay.
      SELECT s.subject_id, s.definition_id, 'given by grants', s.segment_no,
             s.closed_grants_gave + s.overage_paid
               - (s.allotment_given_amount - IF(s.cause = 'window_end', 0, o.allotment_given_amount + s.closed_allotment_gave)),
             COALESCE(g.amount, 0)
        FROM billing_entitlement_settlements AS s
        JOIN billing_entitlement_settlements AS o ON o.subject_id = s.subject_id AND o.definition_id = s.definition_id AND o.segment_no = s.segment_no - 1
        JOIN billing_entitlement_definitions AS d ON d.id = s.definition_id AND d.entitlement_type IN ('balance', 'metered_quota')
        LEFT JOIN gave AS g ON g.subject_id = s.subject_id AND g.definition_id = s.definition_id AND g.segment_no = s.segment_no
       WHERE (p_subject_id IS NULL OR s.subject_id = p_subject_id) AND COALESCE(d.window_anchor, '') <> 'rolling'
      UNION ALL
      -- Overage goes on from settlement to settlement, but for a window's end.
      SELECT s.subject_id, s.definition_id, 'overage of segment', s.segment_no, s.overage_amount,
             IF(s.cause = 'window_end', 0, o.overage_amount + s.closed_amount - s.closed_allotment_gave - s.closed_grants_gave) - s.overage_paid
        FROM billing_entitlement_settlements AS s
        JOIN billing_entitlement_settlements AS o ON o.subject_id = s.subject_id AND o.definition_id = s.definition_id AND o.segment_no = s.segment_no - 1
        JOIN billing_entitlement_definitions AS d ON d.id = s.definition_id AND d.entitlement_type IN ('balance', 'metered_quota')
       WHERE (p_subject_id IS NULL OR s.subject_id = p_subject_id) AND COALESCE(d.window_anchor, '') <> 'rolling'
      UNION ALL
      -- What a grant gave is the sum of what settlements say it gave.
      SELECT g.subject_id, g.definition_id, 'given by grant', g.id, p.given_amount, COALESCE(t.amount, 0)
        FROM billing_entitlement_grants AS g
        LEFT JOIN billing_entitlement_grant_balances AS p ON p.grant_id = g.id
        LEFT JOIN (SELECT sg.grant_id, SUM(sg.gave_amount) AS amount
                     FROM billing_entitlement_settlement_grants AS sg
                    WHERE p_subject_id IS NULL OR sg.subject_id = p_subject_id
                    GROUP BY sg.grant_id) AS t ON t.grant_id = g.id
       WHERE p_subject_id IS NULL OR g.subject_id = p_subject_id
      UNION ALL
      -- Uses are numbered without gaps.
      SELECT u.subject_id, u.definition_id, 'number of uses', NULL, MAX(u.last_sequence_no), SUM(u.uses)
        FROM used AS u
       GROUP BY u.subject_id, u.definition_id
      UNION ALL
      -- A count is what its newest change says.
      SELECT r.subject_id, r.definition_id, 'count', NULL, r.resource_count, k.amount
        FROM billing_resource_snapshots AS r
        LEFT JOIN counted AS k ON k.subject_id = r.subject_id AND k.definition_id = r.definition_id
       WHERE p_subject_id IS NULL OR r.subject_id = p_subject_id
      UNION ALL
      -- A hold's state is its resolution's. 1: committed, 2: released, 0: neither.
      SELECT h.subject_id, h.definition_id, 'state of hold', h.id,
             CASE h.status WHEN 'committed' THEN 1 WHEN 'released' THEN 2 ELSE 0 END,
             CASE r.resolution WHEN 'committed' THEN 1 WHEN 'released' THEN 2 ELSE 0 END
        FROM billing_entitlement_holds AS h
        LEFT JOIN billing_entitlement_hold_resolutions AS r ON r.hold_id = h.id
       WHERE p_subject_id IS NULL OR h.subject_id = p_subject_id)
    SELECT x.subject_id, x.definition_id, d.code, x.what, x.number, x.projected, x.ledger
      FROM differences AS x
      JOIN billing_entitlement_definitions AS d ON d.id = x.definition_id
     WHERE NOT x.projected <=> x.ledger
     ORDER BY x.subject_id, x.definition_id, x.what, x.number;
    COMMIT;
  END;
END
