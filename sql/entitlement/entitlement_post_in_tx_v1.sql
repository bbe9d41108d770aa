-- entitlement_post_in_tx_v1: writes uses that have been decided on: the ledger rows and the balances they move.
--
-- Called by    entitlement_consume_in_tx_v1, which holds the balance rows' locks, has settled them and found that the uses fit.
-- Transaction  needs the caller's.
-- Locks        none of its own.
-- Idempotency  none of its own: a key that is there already breaks on the primary key.
-- Parameters   p_items  JSON array of [request_no, item_no, subject_id, definition_id, amount, key, reason, occurred_at, metadata, sha256 hex]
--              p_now    UTC; the caller's clock
-- Results      none.
-- Errors       none.
-- Cost         one ledger row per use, one update per balance; nothing that grows with history or with grants.
CREATE PROCEDURE entitlement_post_in_tx_v1(
  IN p_items JSON,
  IN p_now   DATETIME(3)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Writes uses that have been decided on'
BEGIN
  INSERT INTO billing_entitlement_consumptions
    (subject_id, definition_id, usage_event_key, sequence_no, segment_no, amount, reason_code, occurred_at, posted_at,
     consumed_after, left_after, held_after, next_change_at, content_sha256, metadata)
  SELECT b.subject_id, b.definition_id, i.usage_event_key, b.last_sequence_no + ROW_NUMBER() OVER w, b.segment_no, i.amount, i.reason_code,
         COALESCE(i.occurred_at, p_now), p_now, b.consumed_amount + SUM(i.amount) OVER w, b.left_amount - SUM(i.amount) OVER w, b.held_amount,
         b.next_change_at, UNHEX(i.content_sha256), IF(JSON_TYPE(i.metadata) = 'NULL', NULL, i.metadata)
    FROM JSON_TABLE(p_items, '$[*]' COLUMNS (
           request_no INT PATH '$[0]', item_no INT PATH '$[1]', subject_id BIGINT UNSIGNED PATH '$[2]', definition_id INT UNSIGNED PATH '$[3]',
           amount BIGINT PATH '$[4]', usage_event_key VARCHAR(128) PATH '$[5]', reason_code VARCHAR(64) PATH '$[6]',
           occurred_at DATETIME(3) PATH '$[7]', metadata JSON PATH '$[8]', content_sha256 CHAR(64) PATH '$[9]')) AS i
    STRAIGHT_JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
      ON b.subject_id = i.subject_id AND b.definition_id = i.definition_id AND b.history_no = 0
  WINDOW w AS (PARTITION BY i.subject_id, i.definition_id ORDER BY i.request_no, i.item_no ROWS UNBOUNDED PRECEDING);

  -- The totals drive the join, by primary key: a scan of the balances would wait for rows of others.
  UPDATE (SELECT i.subject_id, i.definition_id, SUM(i.amount) AS amount, COUNT(*) AS uses
            FROM JSON_TABLE(p_items, '$[*]' COLUMNS (
                   subject_id BIGINT UNSIGNED PATH '$[2]', definition_id INT UNSIGNED PATH '$[3]', amount BIGINT PATH '$[4]')) AS i
           GROUP BY i.subject_id, i.definition_id) AS t
    STRAIGHT_JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
      ON t.subject_id = b.subject_id AND t.definition_id = b.definition_id AND b.history_no = 0
     SET b.segment_consumed_amount = b.segment_consumed_amount + t.amount, b.last_sequence_no = b.last_sequence_no + t.uses;
END
