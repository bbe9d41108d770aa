-- operator_health_v1: says how many balances could not be settled, how many are due, where the outbox stands, and how many locks and grants there were.
--
-- Called by    GET /metrics; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   none.
-- Results      one row: balances_aside (set aside because they could not be settled), highest_failure_count (the worst one's, in a row), balances_due (due and not
--              settled, 10,000 at most), oldest_due_milliseconds (for how long the oldest has been due; 0: none is), last_sequence_no (the newest number of
--              the outbox), unnumbered_changes (committed, and not yet given a number; 10,000 at most), lock_changes (locks
--              that came or went, ever), last_grant_id (of the newest grant, whoever made it; one that was undone with its transaction had a number, too).
-- Errors       none.
-- Cost         the balances that are set aside, and at most 20,000 index entries, and one for each lock that came or went; none of the balances that are fine.
CREATE PROCEDURE operator_health_v1()
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Says what is set aside, due and not yet told'
BEGIN
  DECLARE v_now DATETIME(3) DEFAULT UTC_TIMESTAMP(3);
  DECLARE v_aside, v_failures, v_due, v_unnumbered INT UNSIGNED;
  DECLARE v_oldest_at DATETIME(3);
  DECLARE v_last, v_lock_changes, v_last_grant_id BIGINT UNSIGNED;

  SELECT COUNT(*), COALESCE(MAX(b.failure_count), 0) INTO v_aside, v_failures
    FROM billing_entitlement_balances AS b FORCE INDEX (ix_balances_failures)
   WHERE b.failure_count > 0 AND b.due_at IS NOT NULL;
  SELECT COUNT(*), MIN(t.due_at) INTO v_due, v_oldest_at
    FROM (SELECT b.due_at FROM billing_entitlement_balances AS b FORCE INDEX (ix_balances_due)
           WHERE b.due_at <= v_now ORDER BY b.due_at LIMIT 10000) AS t;
  SELECT COUNT(*) INTO v_unnumbered
    FROM (SELECT c.id FROM billing_limit_changes AS c WHERE c.sequence_no IS NULL LIMIT 10000) AS t;
  -- The counter, as the newest of the rows may have been pruned.
  SELECT n.last_sequence_no INTO v_last FROM billing_limit_change_counter AS n WHERE n.id = 1;

  SELECT COUNT(*) INTO v_lock_changes FROM billing_entitlement_lock_changes AS l FORCE INDEX (ix_lock_changes_subject);
  -- Not their number, which would take longer with each.
  SELECT COALESCE(MAX(g.id), 0) INTO v_last_grant_id FROM billing_entitlement_grants AS g;

  SELECT v_aside AS balances_aside, v_failures AS highest_failure_count, v_due AS balances_due,
         COALESCE(TIMESTAMPDIFF(MICROSECOND, v_oldest_at, v_now) DIV 1000, 0) AS oldest_due_milliseconds,
         v_last AS last_sequence_no, v_unnumbered AS unnumbered_changes, v_lock_changes AS lock_changes, v_last_grant_id AS last_grant_id;
END
