-- entitlement_verify_range_in_tx_v1: compares every projected number of a range of subjects with the ledger.
--
-- Called by    entitlement_verify_v1, entitlement_verify_page_v1.
-- Transaction  reads in the caller's, which must be one consistent snapshot.
-- Locks        none: no writer waits for it.
-- Idempotency  reads only.
-- Parameters   p_first_id  the first billable entity
--              p_last_id   the last one
-- Results      a row per difference: subject_id, definition_id, code, what, number (of the segment, grant or hold; null for the balance), projected,
--              ledger.
-- Errors       none.
-- Cost         every use, archived or not, grant, settlement and hold of the subjects, once; where uses were archived, the others of that limit are looked up
--              in the archive.
--
-- What is compared: a balance with its newest settlement and the uses after it; a segment's total with its uses, wherever they are; the archive with what the
-- balance says is in it, which is the oldest uses without gaps, none of whose keys was used again; what a settlement says that grants gave with what each gave; a grant's rest with its gifts; a count with its newest change; what is held with the pending
-- holds; a hold's state with its resolution; and each settlement with the one before it, as nothing may be gained or lost between them.
--
-- Each table is read once and only rows that differ are kept; what of them differs is told afterwards. Keeping every comparison and
-- sorting the equal ones out at the end takes minutes where this takes seconds.
CREATE PROCEDURE entitlement_verify_range_in_tx_v1(
  IN p_first_id BIGINT UNSIGNED,
  IN p_last_id  BIGINT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Compares the numbers of a range of subjects with the ledger'
BEGIN
  WITH
  newest AS (
    SELECT s.subject_id, s.definition_id, MAX(s.segment_no) AS segment_no
      FROM billing_entitlement_settlements AS s
     WHERE s.subject_id BETWEEN p_first_id AND p_last_id
     GROUP BY s.subject_id, s.definition_id),
  -- Each table is summed by itself: of many uses a segment makes one row or, where its uses are being archived, two.
  used_in AS (
    SELECT c.subject_id, c.definition_id, c.segment_no, FALSE AS is_archived, SUM(c.amount) AS amount, COUNT(*) AS uses,
           MIN(c.sequence_no) AS first_sequence_no, MAX(c.sequence_no) AS last_sequence_no
      FROM billing_entitlement_consumptions AS c
     WHERE c.subject_id BETWEEN p_first_id AND p_last_id
     GROUP BY c.subject_id, c.definition_id, c.segment_no
    UNION ALL
    SELECT a.subject_id, a.definition_id, a.segment_no, TRUE, SUM(a.amount), COUNT(*), MIN(a.sequence_no), MAX(a.sequence_no)
      FROM billing_entitlement_consumption_archive AS a
     WHERE a.subject_id BETWEEN p_first_id AND p_last_id
     GROUP BY a.subject_id, a.definition_id, a.segment_no),
  used AS (
    SELECT i.subject_id, i.definition_id, i.segment_no, SUM(i.amount) AS amount, MAX(i.last_sequence_no) AS last_sequence_no
      FROM used_in AS i
     GROUP BY i.subject_id, i.definition_id, i.segment_no),
  archived AS (
    SELECT i.subject_id, i.definition_id, MAX(i.last_sequence_no) AS last_sequence_no
      FROM used_in AS i
     WHERE i.is_archived
     GROUP BY i.subject_id, i.definition_id),
  gave AS (
    SELECT t.subject_id, t.definition_id, t.segment_no, SUM(t.gave_amount) AS amount
      FROM billing_entitlement_settlement_grants AS t
     WHERE t.subject_id BETWEEN p_first_id AND p_last_id
     GROUP BY t.subject_id, t.definition_id, t.segment_no),
  gave_in_all AS (
    SELECT t.grant_id, SUM(t.gave_amount) AS amount
      FROM billing_entitlement_settlement_grants AS t
     WHERE t.subject_id BETWEEN p_first_id AND p_last_id
     GROUP BY t.grant_id),
  newest_change AS (
    SELECT m.subject_id, m.definition_id, MAX(m.id) AS id
      FROM billing_resource_changes AS m
     WHERE m.subject_id BETWEEN p_first_id AND p_last_id
     GROUP BY m.subject_id, m.definition_id),
  held AS (
    SELECT h.subject_id, h.definition_id, SUM(h.amount) AS amount
      FROM billing_entitlement_holds AS h
      LEFT JOIN billing_entitlement_hold_resolutions AS r ON r.hold_id = h.id
      JOIN billing_entitlement_balances AS b ON b.subject_id = h.subject_id AND b.definition_id = h.definition_id AND b.history_no = 0
     WHERE h.subject_id BETWEEN p_first_id AND p_last_id AND r.hold_id IS NULL AND h.expires_at > b.settled_at
     GROUP BY h.subject_id, h.definition_id),
  -- Rows that differ in anything, each with all that was compared: [what, number, projected, ledger].
  differing AS (
    -- A balance is its newest settlement and the uses after it; a capacity's consumption is its count.
    SELECT b.subject_id, b.definition_id, JSON_ARRAY(
             JSON_ARRAY('segment', NULL, b.segment_no, s.segment_no),
             JSON_ARRAY('granted', NULL, b.granted_amount, s.granted_amount),
             JSON_ARRAY('consumed', NULL, b.consumed_amount, IF(d.entitlement_type = 'capacity', COALESCE(r.consumed_after, 0), s.consumed_amount + COALESCE(u.amount, 0))),
             JSON_ARRAY('left', NULL, b.left_amount, IF(d.entitlement_type = 'capacity', s.granted_amount - COALESCE(r.consumed_after, 0), s.left_amount - COALESCE(u.amount, 0))),
             JSON_ARRAY('held', NULL, b.held_amount, COALESCE(h.amount, 0)),
             JSON_ARRAY('allotment', NULL, b.allotment_amount, s.allotment_amount),
             JSON_ARRAY('allotment given', NULL, b.allotment_given_amount, s.allotment_given_amount),
             JSON_ARRAY('overage', NULL, b.overage_amount, s.overage_amount),
             JSON_ARRAY('uses', NULL, b.last_sequence_no, COALESCE(u.last_sequence_no, s.last_sequence_no)),
             JSON_ARRAY('archived', NULL, b.archived_sequence_no, COALESCE(o.last_sequence_no, 0))) AS compared
      FROM billing_entitlement_balances AS b
      STRAIGHT_JOIN billing_entitlement_definitions AS d ON d.id = b.definition_id
      LEFT JOIN newest AS n ON n.subject_id = b.subject_id AND n.definition_id = b.definition_id
      LEFT JOIN billing_entitlement_settlements AS s ON s.subject_id = b.subject_id AND s.definition_id = b.definition_id AND s.segment_no = n.segment_no
      LEFT JOIN used AS u ON u.subject_id = b.subject_id AND u.definition_id = b.definition_id AND u.segment_no = n.segment_no
      LEFT JOIN archived AS o ON o.subject_id = b.subject_id AND o.definition_id = b.definition_id
      LEFT JOIN newest_change AS k ON k.subject_id = b.subject_id AND k.definition_id = b.definition_id
      LEFT JOIN billing_resource_changes AS r ON r.id = k.id
      LEFT JOIN held AS h ON h.subject_id = b.subject_id AND h.definition_id = b.definition_id
     WHERE b.history_no = 0 AND b.subject_id BETWEEN p_first_id AND p_last_id
       AND NOT COALESCE(
             b.segment_no = s.segment_no AND b.granted_amount = s.granted_amount AND b.held_amount = COALESCE(h.amount, 0)
             AND b.allotment_amount = s.allotment_amount AND b.allotment_given_amount = s.allotment_given_amount AND b.overage_amount = s.overage_amount
             AND b.last_sequence_no = COALESCE(u.last_sequence_no, s.last_sequence_no) AND b.archived_sequence_no = COALESCE(o.last_sequence_no, 0)
             AND IF(d.entitlement_type = 'capacity',
                    b.consumed_amount = COALESCE(r.consumed_after, 0) AND b.left_amount = s.granted_amount - COALESCE(r.consumed_after, 0),
                    b.consumed_amount = s.consumed_amount + COALESCE(u.amount, 0) AND b.left_amount = s.left_amount - COALESCE(u.amount, 0)), FALSE)
    UNION ALL
    -- Settlements without a balance.
    SELECT n.subject_id, n.definition_id, JSON_ARRAY(JSON_ARRAY('balance', NULL, NULL, n.segment_no))
      FROM newest AS n
      LEFT JOIN billing_entitlement_balances AS b ON b.subject_id = n.subject_id AND b.definition_id = n.definition_id AND b.history_no = 0
     WHERE b.subject_id IS NULL
    UNION ALL
    -- A settlement closes what was used in the segment before it. Of what is not rolling, grants gave for that segment, and for overage
    -- that the allotment did not pay; and overage goes on from settlement to settlement, but for a window's end.
    SELECT x.subject_id, x.definition_id, JSON_ARRAY(
             JSON_ARRAY('used in segment', x.segment_no - 1, x.closed_amount, x.used_amount),
             JSON_ARRAY('given by grants', x.segment_no, x.given_amount, IF(x.is_paid, x.gave_amount, x.given_amount)),
             JSON_ARRAY('overage of segment', x.segment_no, x.overage_amount, IF(x.is_paid, x.overage_after, x.overage_amount)))
      FROM (SELECT s.subject_id, s.definition_id, s.segment_no, s.closed_amount, s.overage_amount, COALESCE(u.amount, 0) AS used_amount,
                   COALESCE(g.amount, 0) AS gave_amount,
                   d.entitlement_type IN ('balance', 'metered_quota') AND COALESCE(d.window_anchor, '') <> 'rolling' AND o.segment_no IS NOT NULL AS is_paid,
                   s.closed_grants_gave + s.overage_paid
                     - (s.allotment_given_amount - IF(s.cause = 'window_end', 0, o.allotment_given_amount + s.closed_allotment_gave)) AS given_amount,
                   IF(s.cause = 'window_end', 0, o.overage_amount + s.closed_amount - s.closed_allotment_gave - s.closed_grants_gave) - s.overage_paid AS overage_after
              FROM billing_entitlement_settlements AS s
              STRAIGHT_JOIN billing_entitlement_definitions AS d ON d.id = s.definition_id
              LEFT JOIN billing_entitlement_settlements AS o
                ON o.subject_id = s.subject_id AND o.definition_id = s.definition_id AND o.segment_no = s.segment_no - 1
              LEFT JOIN used AS u ON u.subject_id = s.subject_id AND u.definition_id = s.definition_id AND u.segment_no = s.segment_no - 1
              LEFT JOIN gave AS g ON g.subject_id = s.subject_id AND g.definition_id = s.definition_id AND g.segment_no = s.segment_no
             WHERE s.subject_id BETWEEN p_first_id AND p_last_id) AS x
     WHERE x.closed_amount <> x.used_amount OR (x.is_paid AND (x.given_amount <> x.gave_amount OR x.overage_amount <> x.overage_after))
    UNION ALL
    -- What a grant gave is the sum of what settlements say it gave.
    SELECT g.subject_id, g.definition_id, JSON_ARRAY(JSON_ARRAY('given by grant', g.id, p.given_amount, COALESCE(t.amount, 0)))
      FROM billing_entitlement_grants AS g
      LEFT JOIN billing_entitlement_grant_balances AS p ON p.grant_id = g.id
      LEFT JOIN gave_in_all AS t ON t.grant_id = g.id
     WHERE g.subject_id BETWEEN p_first_id AND p_last_id AND NOT p.given_amount <=> COALESCE(t.amount, 0)
    UNION ALL
    -- Uses are numbered without gaps, the archive has the first of them, and each is of a segment that there is.
    SELECT x.subject_id, x.definition_id, JSON_ARRAY(
             JSON_ARRAY('number of uses', NULL, x.last_sequence_no, x.uses),
             JSON_ARRAY('number of archived uses', NULL, x.last_archived_no, x.archived_uses),
             JSON_ARRAY('first use not archived', NULL, x.first_kept_no, IF(x.first_kept_no IS NULL, NULL, x.last_archived_no + 1)),
             JSON_ARRAY('segment of a use', NULL, GREATEST(x.segment_no, COALESCE(n.segment_no, 0)), n.segment_no))
      FROM (SELECT i.subject_id, i.definition_id, MAX(i.segment_no) AS segment_no, MAX(i.last_sequence_no) AS last_sequence_no, SUM(i.uses) AS uses,
                   MAX(IF(i.is_archived, i.last_sequence_no, 0)) AS last_archived_no, SUM(IF(i.is_archived, i.uses, 0)) AS archived_uses,
                   MIN(IF(i.is_archived, NULL, i.first_sequence_no)) AS first_kept_no
              FROM used_in AS i
             GROUP BY i.subject_id, i.definition_id) AS x
      LEFT JOIN newest AS n ON n.subject_id = x.subject_id AND n.definition_id = x.definition_id
     WHERE x.last_sequence_no <> x.uses OR x.last_archived_no <> x.archived_uses OR x.first_kept_no <> x.last_archived_no + 1
        OR x.segment_no > COALESCE(n.segment_no, 0)
    UNION ALL
    -- No key was used once more after its use was archived.
    SELECT b.subject_id, b.definition_id, JSON_ARRAY(JSON_ARRAY('keys used twice', NULL, COUNT(*), 0))
      FROM billing_entitlement_balances AS b
      STRAIGHT_JOIN billing_entitlement_consumptions AS c FORCE INDEX (PRIMARY) ON c.subject_id = b.subject_id AND c.definition_id = b.definition_id
      STRAIGHT_JOIN billing_entitlement_consumption_archive AS a FORCE INDEX (PRIMARY)
        ON a.subject_id = c.subject_id AND a.definition_id = c.definition_id AND a.usage_event_key = c.usage_event_key
     WHERE b.history_no = 0 AND b.archived_sequence_no > 0 AND b.subject_id BETWEEN p_first_id AND p_last_id
     GROUP BY b.subject_id, b.definition_id
    UNION ALL
    -- A count is what its newest change says.
    SELECT c.subject_id, c.definition_id, JSON_ARRAY(JSON_ARRAY('count', NULL, c.resource_count, r.consumed_after))
      FROM billing_resource_snapshots AS c
      LEFT JOIN newest_change AS k ON k.subject_id = c.subject_id AND k.definition_id = c.definition_id
      LEFT JOIN billing_resource_changes AS r ON r.id = k.id
     WHERE c.subject_id BETWEEN p_first_id AND p_last_id AND NOT c.resource_count <=> r.consumed_after
    UNION ALL
    -- A hold's state is its resolution's. 1: committed, 2: released, 0: neither.
    SELECT x.subject_id, x.definition_id, JSON_ARRAY(JSON_ARRAY('state of hold', x.id, x.projected, x.ledger))
      FROM (SELECT h.subject_id, h.definition_id, h.id,
                   CASE h.status WHEN 'committed' THEN 1 WHEN 'released' THEN 2 ELSE 0 END AS projected,
                   CASE r.resolution WHEN 'committed' THEN 1 WHEN 'released' THEN 2 ELSE 0 END AS ledger
              FROM billing_entitlement_holds AS h
              LEFT JOIN billing_entitlement_hold_resolutions AS r ON r.hold_id = h.id
             WHERE h.subject_id BETWEEN p_first_id AND p_last_id) AS x
     WHERE x.projected <> x.ledger)
  SELECT x.subject_id, x.definition_id, d.code, c.what, c.number, c.projected, c.ledger
    FROM differing AS x
    JOIN JSON_TABLE(x.compared, '$[*]' COLUMNS (
           what VARCHAR(32) PATH '$[0]', number BIGINT UNSIGNED PATH '$[1]', projected BIGINT PATH '$[2]', ledger BIGINT PATH '$[3]')) AS c
      ON NOT c.projected <=> c.ledger
    JOIN billing_entitlement_definitions AS d ON d.id = x.definition_id
   ORDER BY x.subject_id, x.definition_id, c.what, c.number;
END
