-- entitlement_post_in_tx_v1: writes uses that have been decided on: the ledger rows and the balances they move.
--
-- Called by    entitlement_consume_in_tx_v1 and entitlement_resolve_hold_in_tx_v1, which hold the balance rows' locks and have settled them.
-- Transaction  needs the caller's.
-- Locks        none of its own, but the counts of capacities.
-- Idempotency  none of its own: a key that is there already breaks on a unique key.
-- Parameters   p_items  JSON array of [request_no, item_no, subject_id, definition_id, amount, key, reason, occurred_at, metadata, sha256 hex]
--              p_change_kind  what it is for a count: consume, hold_commit
--              p_has_capacities  FALSE: none of the items is of a capacity, and their counts are not looked at
--              p_now    UTC; the caller's clock
-- Results      none.
-- Errors       none.
-- Cost         one ledger row per use, one update per balance; nothing that grows with history or with grants.
--
-- A use of a capacity moves the subject's count of the resource, which is its consumption: it has no row of its own there.
CREATE PROCEDURE entitlement_post_in_tx_v1(
  IN p_items          JSON,
  IN p_change_kind    VARCHAR(16),
  IN p_has_capacities BOOLEAN,
  IN p_now            DATETIME(3)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Writes uses that have been decided on'
BEGIN
  INSERT INTO billing_entitlement_consumptions
    (subject_id, definition_id, usage_event_key, sequence_no, segment_no, amount, reason_code, occurred_at, posted_at, returns_at,
     consumed_after, left_after, held_after, next_change_at, content_sha256, metadata)
  SELECT b.subject_id, b.definition_id, i.usage_event_key, b.last_sequence_no + ROW_NUMBER() OVER w, b.segment_no, i.amount, i.reason_code,
         COALESCE(i.occurred_at, p_now), p_now, d.returns_at, b.consumed_amount + SUM(i.amount) OVER w, b.left_amount - SUM(i.amount) OVER w, b.held_amount,
         -- A use that comes back is a boundary; with uses yet to come back, the oldest of them is.
         IF(d.returns_at IS NOT NULL AND b.last_sequence_no = b.returned_sequence_no, LEAST(COALESCE(b.next_change_at, d.returns_at), d.returns_at), b.next_change_at),
         UNHEX(i.content_sha256), IF(JSON_TYPE(i.metadata) = 'NULL', NULL, i.metadata)
    FROM JSON_TABLE(p_items, '$[*]' COLUMNS (
           request_no INT PATH '$[0]', item_no INT PATH '$[1]', subject_id BIGINT UNSIGNED PATH '$[2]', definition_id INT UNSIGNED PATH '$[3]',
           amount BIGINT PATH '$[4]', usage_event_key VARCHAR(128) PATH '$[5]', reason_code VARCHAR(64) PATH '$[6]',
           occurred_at DATETIME(3) PATH '$[7]', metadata JSON PATH '$[8]', content_sha256 CHAR(64) PATH '$[9]')) AS i
    STRAIGHT_JOIN (SELECT f.id,
                          -- The one place that says when a use comes back: after a trailing interval, counted from when it was posted.
                          CASE WHEN COALESCE(f.window_anchor <> 'rolling', TRUE) THEN NULL
                               WHEN f.window_interval = 'day' THEN p_now + INTERVAL 1 DAY
                               WHEN f.window_interval = 'week' THEN p_now + INTERVAL 7 DAY
                               WHEN f.window_interval = 'month' THEN p_now + INTERVAL 1 MONTH
                               ELSE p_now + INTERVAL 1 YEAR END AS returns_at
                     FROM billing_entitlement_definitions AS f FORCE INDEX (PRIMARY)
                    WHERE f.entitlement_type <> 'capacity') AS d ON d.id = i.definition_id
    STRAIGHT_JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
      ON b.subject_id = i.subject_id AND b.definition_id = i.definition_id AND b.history_no = 0
  WINDOW w AS (PARTITION BY i.subject_id, i.definition_id ORDER BY i.request_no, i.item_no ROWS UNBOUNDED PRECEDING);

  IF p_has_capacities THEN
    INSERT INTO billing_resource_changes
      (subject_id, definition_id, usage_event_key, change_kind, amount, reason_code, occurred_at, posted_at, segment_no,
       consumed_after, left_after, held_after, next_change_at, content_sha256, metadata)
    SELECT b.subject_id, b.definition_id, i.usage_event_key, p_change_kind, i.amount, i.reason_code, COALESCE(i.occurred_at, p_now), p_now, b.segment_no,
           b.consumed_amount + SUM(i.amount) OVER w, b.left_amount - SUM(i.amount) OVER w, b.held_amount, b.next_change_at,
           UNHEX(i.content_sha256), IF(JSON_TYPE(i.metadata) = 'NULL', NULL, i.metadata)
      FROM JSON_TABLE(p_items, '$[*]' COLUMNS (
             request_no INT PATH '$[0]', item_no INT PATH '$[1]', subject_id BIGINT UNSIGNED PATH '$[2]', definition_id INT UNSIGNED PATH '$[3]',
             amount BIGINT PATH '$[4]', usage_event_key VARCHAR(128) PATH '$[5]', reason_code VARCHAR(64) PATH '$[6]',
             occurred_at DATETIME(3) PATH '$[7]', metadata JSON PATH '$[8]', content_sha256 CHAR(64) PATH '$[9]')) AS i
      STRAIGHT_JOIN billing_entitlement_definitions AS d FORCE INDEX (PRIMARY) ON d.id = i.definition_id AND d.entitlement_type = 'capacity'
      STRAIGHT_JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
        ON b.subject_id = i.subject_id AND b.definition_id = i.definition_id AND b.history_no = 0
    WINDOW w AS (PARTITION BY i.subject_id, i.definition_id ORDER BY i.request_no, i.item_no ROWS UNBOUNDED PRECEDING);

    INSERT INTO billing_resource_snapshots (subject_id, definition_id, resource_count, counted_at, counted_by)
      SELECT i.subject_id, i.definition_id, SUM(i.amount), p_now, 'hold'
        FROM JSON_TABLE(p_items, '$[*]' COLUMNS (
               subject_id BIGINT UNSIGNED PATH '$[2]', definition_id INT UNSIGNED PATH '$[3]', amount BIGINT PATH '$[4]')) AS i
        STRAIGHT_JOIN billing_entitlement_definitions AS d FORCE INDEX (PRIMARY) ON d.id = i.definition_id AND d.entitlement_type = 'capacity'
       GROUP BY i.subject_id, i.definition_id
      ON DUPLICATE KEY UPDATE resource_count = billing_resource_snapshots.resource_count + VALUES(resource_count), counted_at = p_now, counted_by = 'hold';
  END IF;

  -- The totals drive the join, by primary key: a scan of the balances would wait for rows of others.
  UPDATE (SELECT i.subject_id, i.definition_id, SUM(i.amount) AS amount, COUNT(*) AS uses
            FROM JSON_TABLE(p_items, '$[*]' COLUMNS (
                   subject_id BIGINT UNSIGNED PATH '$[2]', definition_id INT UNSIGNED PATH '$[3]', amount BIGINT PATH '$[4]')) AS i
           GROUP BY i.subject_id, i.definition_id) AS t
    STRAIGHT_JOIN billing_entitlement_definitions AS d FORCE INDEX (PRIMARY) ON d.id = t.definition_id
    STRAIGHT_JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
      ON t.subject_id = b.subject_id AND t.definition_id = b.definition_id AND b.history_no = 0
    -- Of a rolling quota, the first use that was just written: it knows the next boundary.
    LEFT JOIN billing_entitlement_consumptions AS c FORCE INDEX (uq_consumptions_sequence)
      ON c.subject_id = t.subject_id AND c.definition_id = t.definition_id AND c.sequence_no = IF(d.window_anchor = 'rolling', b.last_sequence_no + 1, NULL)
     SET b.next_change_at = COALESCE(c.next_change_at, b.next_change_at),
         b.segment_consumed_amount = b.segment_consumed_amount + IF(d.entitlement_type = 'capacity', 0, t.amount),
         b.segment_start_consumed_amount = b.segment_start_consumed_amount + IF(d.entitlement_type = 'capacity', t.amount, 0),
         b.segment_start_left_amount = b.segment_start_left_amount - IF(d.entitlement_type = 'capacity', t.amount, 0),
         b.last_sequence_no = b.last_sequence_no + IF(d.entitlement_type = 'capacity', 0, t.uses);
END
