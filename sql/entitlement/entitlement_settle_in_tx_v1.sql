-- entitlement_settle_in_tx_v1: brings a balance over every boundary that has passed, in order, and over one more if the caller makes one now.
--
-- Called by    every procedure that reads a balance or decides on one; the scheduler.
-- Transaction  needs the caller's.
-- Locks        the balance row, then its grant balances.
-- Idempotency  a boundary that has been passed is not due any more: calling again does nothing.
-- Parameters   p_subject_id, p_definition_id  the balance
--              p_now         UTC; the caller's clock, read after it had its locks
--              p_cause       null: only what the clock made due. grant, revocation: the caller has just written one, and it counts
--                            from p_now on. opened: make the balance row if there is none. window_end: the caller has settled what was
--                            due and then moved the subject's billing anchor: the window ends here, the next one is the new anchor's
--              p_boundaries  out: how many boundaries the clock made due
-- Results      none.
-- Errors       SETTLEMENT_STUCK: more than 10,000 boundaries were due at once.
-- Cost         nothing due and no cause: one row read. Else per boundary: the grants that are not over, read twice; the
--              settlement, the grants that gave, at a window's end the new window's row, and where a lock came or went a row that says so, written.
--
-- How it works (docs/domain.md, How a balance is kept). Between two boundaries the set of active grants does not change, so what
-- each of them gave follows from one number, the segment's total. At a boundary: (1) share that total out, first to the allotment,
-- then to once-grants in burn order, the rest is overage; (2) a window that ended becomes history, and the allotment and the overage begin
-- at 0; (3) grants start and end; (4) what is newly there pays open overage; (5) write what now holds.
CREATE PROCEDURE entitlement_settle_in_tx_v1(
  IN  p_subject_id    BIGINT UNSIGNED,
  IN  p_definition_id INT UNSIGNED,
  IN  p_now           DATETIME(3),
  IN  p_cause         VARCHAR(16),
  OUT p_boundaries    INT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Brings a balance over the boundaries that have passed'
settling: BEGIN
  DECLARE v_lifetime_end DATETIME(3) DEFAULT '9999-12-31 23:59:59.999';
  DECLARE v_code VARCHAR(64);
  DECLARE v_type, v_aggregation, v_interval, v_anchor, v_enforcement VARCHAR(32);
  DECLARE v_lock_label VARCHAR(64);
  DECLARE v_anchor_at, v_at, v_settled_at, v_next_change_at, v_next_grant_at, v_next_hold_at, v_next_return_at, v_newest_returns_at, v_window_start_at, v_window_end_at DATETIME(3);
  DECLARE v_cause VARCHAR(16);
  DECLARE v_segment_no, v_history_no INT UNSIGNED;
  DECLARE v_last_sequence_no, v_returned_no, v_staying_no, v_coming BIGINT UNSIGNED;
  DECLARE v_used, v_from_allotment, v_from_grants, v_paid, v_paid_by_grants BIGINT;
  DECLARE v_granted, v_consumed, v_left, v_allotment, v_allotment_given, v_overage BIGINT;
  DECLARE v_once_granted, v_once_given, v_once_left, v_resource_count, v_held BIGINT;
  DECLARE v_counts_whole BOOLEAN;
  DECLARE v_cause_done, v_is_locked, v_was_locked BOOLEAN;
  DECLARE v_steps INT UNSIGNED DEFAULT 0;

  SET p_boundaries = 0;

  SELECT b.segment_no, b.settled_at, b.next_change_at, b.window_start_at, b.window_end_at, b.last_sequence_no, b.returned_sequence_no, b.held_amount,
         b.segment_consumed_amount, b.granted_amount, b.consumed_amount, b.left_amount,
         b.allotment_amount, b.allotment_given_amount, b.overage_amount
    INTO v_segment_no, v_settled_at, v_next_change_at, v_window_start_at, v_window_end_at, v_last_sequence_no, v_returned_no, v_held,
         v_used, v_granted, v_consumed, v_left, v_allotment, v_allotment_given, v_overage
    FROM billing_entitlement_balances AS b
   WHERE b.subject_id = p_subject_id AND b.definition_id = p_definition_id AND b.history_no = 0
     FOR UPDATE;

  IF p_cause IS NULL AND NOT COALESCE(v_next_change_at <= p_now, FALSE) THEN
    LEAVE settling;
  END IF;
  SELECT d.code, d.entitlement_type, d.aggregation_mode, d.window_interval, d.window_anchor, d.enforcement_mode, d.lock_label
    INTO v_code, v_type, v_aggregation, v_interval, v_anchor, v_enforcement, v_lock_label
    FROM billing_entitlement_definitions AS d
   WHERE d.id = p_definition_id;
  SELECT COALESCE(e.billing_anchor_at, e.created_at) INTO v_anchor_at
    FROM billable_entities AS e
   WHERE e.id = p_subject_id;
  SET v_counts_whole = v_type IN ('capacity', 'state') OR COALESCE(v_anchor = 'rolling', FALSE);

  IF v_segment_no IS NULL THEN
    CALL entitlement_window_at_v1(v_interval, v_anchor, v_anchor_at, p_now, v_window_start_at, v_window_end_at);
    -- Two that open the same balance at once: the second waits here, and finds the first one's row.
    INSERT INTO billing_entitlement_balances
      (subject_id, definition_id, history_no, window_start_at, window_end_at, segment_no, settled_at, granted_amount,
       allotment_amount, allotment_given_amount, overage_amount, segment_start_consumed_amount, segment_start_left_amount,
       segment_consumed_amount, held_amount, last_sequence_no, next_change_at)
    VALUES (p_subject_id, p_definition_id, 0, v_window_start_at, v_window_end_at, 0, p_now, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL)
    ON DUPLICATE KEY UPDATE held_amount = held_amount;
    SELECT b.segment_no, b.settled_at, b.next_change_at, b.window_start_at, b.window_end_at, b.last_sequence_no, b.returned_sequence_no, b.held_amount,
           b.segment_consumed_amount, b.granted_amount, b.consumed_amount, b.left_amount,
           b.allotment_amount, b.allotment_given_amount, b.overage_amount
      INTO v_segment_no, v_settled_at, v_next_change_at, v_window_start_at, v_window_end_at, v_last_sequence_no, v_returned_no, v_held,
           v_used, v_granted, v_consumed, v_left, v_allotment, v_allotment_given, v_overage
      FROM billing_entitlement_balances AS b
     WHERE b.subject_id = p_subject_id AND b.definition_id = p_definition_id AND b.history_no = 0
       FOR UPDATE;
  END IF;
  -- A row that the bootstrap made has no segment yet: it opens now, whatever the caller came for.
  IF v_segment_no = 0 THEN
    CALL entitlement_window_at_v1(v_interval, v_anchor, v_anchor_at, p_now, v_window_start_at, v_window_end_at);
  END IF;
  SET v_cause_done = v_segment_no > 0 AND (p_cause IS NULL OR p_cause = 'opened');
  SET v_is_locked = IF(v_type = 'state', v_granted = 0, v_enforcement = 'hard_lock_resource' AND (v_left < 0 OR v_allotment_given > v_allotment));

  boundaries: LOOP
    CALL entitlement_next_change_in_tx_v1(p_subject_id, p_definition_id, v_settled_at,
                                          IF(v_anchor = 'rolling' AND v_last_sequence_no > v_returned_no, v_returned_no + 1, NULL),
                                          v_next_grant_at, v_next_hold_at, v_next_return_at);
    SET v_next_change_at = LEAST(v_window_end_at, v_next_grant_at, v_next_hold_at, v_next_return_at);

    IF NOT v_cause_done THEN
      -- The caller has settled what was due before he wrote his cause, so it comes first. A clock that was set back never makes
      -- a segment that ends before it began.
      SET v_at = GREATEST(p_now, v_settled_at), v_cause = COALESCE(p_cause, 'opened'), v_cause_done = TRUE;
      -- A window that began at this very instant keeps its shortest length.
      SET v_window_end_at = IF(v_cause = 'window_end', GREATEST(v_at, v_window_start_at + INTERVAL 1000 MICROSECOND), v_window_end_at);
    ELSEIF v_next_change_at <= p_now AND v_next_change_at < v_lifetime_end THEN
      SET p_boundaries = p_boundaries + 1, v_at = v_next_change_at;
      CASE v_next_change_at
        WHEN v_window_end_at THEN SET v_cause = 'window_end';
        WHEN v_next_grant_at THEN SET v_cause = 'grant_boundary';
        WHEN v_next_hold_at  THEN SET v_cause = 'hold_expiry';
        -- Uses come back all at once up to the next boundary of another kind: nothing happens between them.
        ELSE SET v_cause = 'use_return', v_at = LEAST(p_now, v_next_grant_at, v_next_hold_at);
      END CASE;
    ELSE
      LEAVE boundaries;
    END IF;

    SET v_steps = v_steps + 1;
    IF v_steps > 10000 THEN
      SIGNAL SQLSTATE '45901' SET MYSQL_ERRNO = 52901, MESSAGE_TEXT = 'SETTLEMENT_STUCK: more than 10000 boundaries of one balance were due at once';
    END IF;
    SET v_segment_no = v_segment_no + 1;

    -- (1) Who paid for the segment that ends here. What a rolling window or a count takes comes back by itself: nobody pays.
    SET v_from_allotment = IF(v_counts_whole, 0, LEAST(v_used, GREATEST(v_allotment - v_allotment_given, 0))), v_from_grants = 0;
    IF v_used > v_from_allotment AND NOT v_counts_whole THEN
      CALL entitlement_draw_grants_in_tx_v1(p_subject_id, p_definition_id, v_segment_no, v_used - v_from_allotment, v_from_grants);
    END IF;
    SET v_allotment_given = v_allotment_given + v_from_allotment;
    IF NOT v_counts_whole THEN
      SET v_overage = v_overage + v_used - v_from_allotment - v_from_grants;
    END IF;

    -- (2) A window that ended stays as it was. Windows in which nothing was due are passed over in one step.
    IF v_cause = 'window_end' THEN
      SELECT MAX(b.history_no) + 1 INTO v_history_no
        FROM billing_entitlement_balances AS b
       WHERE b.subject_id = p_subject_id AND b.definition_id = p_definition_id
         FOR UPDATE;
      INSERT INTO billing_entitlement_balances
        (subject_id, definition_id, history_no, window_start_at, window_end_at, segment_no, settled_at, granted_amount,
         allotment_amount, allotment_given_amount, overage_amount, segment_start_consumed_amount, segment_start_left_amount,
         segment_consumed_amount, held_amount, last_sequence_no, next_change_at)
      VALUES
        (p_subject_id, p_definition_id, v_history_no, v_window_start_at, v_window_end_at, v_segment_no - 1, v_settled_at, v_granted,
         v_allotment, v_allotment_given, v_overage, v_consumed, v_left, 0, 0, v_last_sequence_no, NULL);
      CALL entitlement_window_at_v1(v_interval, v_anchor, v_anchor_at, LEAST(p_now, v_next_grant_at, v_next_hold_at), v_window_start_at, v_window_end_at);
      SET v_at = GREATEST(v_at, v_window_start_at), v_allotment_given = 0, v_overage = 0;
      UPDATE billing_entitlement_grant_balances AS g FORCE INDEX (ix_grant_balances_state)
         SET g.given_before_window_amount = g.given_amount
       WHERE g.subject_id = p_subject_id AND g.definition_id = p_definition_id AND g.grant_state = 'active';
    END IF;

    -- (3) Grants that end at this instant, and grants that start.
    UPDATE billing_entitlement_grant_balances AS g FORCE INDEX (ix_grant_balances_state)
       SET g.grant_state = 'ended', g.given_before_window_amount = 0
     WHERE g.subject_id = p_subject_id AND g.definition_id = p_definition_id AND g.grant_state IN ('pending', 'active') AND g.ends_at <= v_at;
    UPDATE billing_entitlement_grant_balances AS g FORCE INDEX (ix_grant_balances_state)
       SET g.grant_state = 'active'
     WHERE g.subject_id = p_subject_id AND g.definition_id = p_definition_id AND g.grant_state = 'pending' AND g.effective_at <= v_at;
    SELECT CASE v_aggregation
             WHEN 'sum' THEN COALESCE(SUM(IF(g.is_allotment, g.amount, 0)), 0)
             WHEN 'max' THEN COALESCE(MAX(IF(g.is_allotment, g.amount, 0)), 0)
             ELSE COUNT(*) > 0
           END
      INTO v_allotment
      FROM billing_entitlement_grant_balances AS g FORCE INDEX (ix_grant_balances_state)
     WHERE g.subject_id = p_subject_id AND g.definition_id = p_definition_id AND g.grant_state = 'active'
       FOR UPDATE;
    -- Holds that expire, whoever made the boundary.
    IF v_held > 0 THEN
      UPDATE billing_entitlement_holds AS h FORCE INDEX (ix_holds_pending)
         SET h.status = 'expired'
       -- The sum keeps the index out of the comparison: a locking search for a range reads one row more, the next subject's hold, and waits for it.
       WHERE h.subject_id = p_subject_id AND h.definition_id = p_definition_id AND h.status = 'pending' AND h.expires_at + INTERVAL 0 SECOND <= v_at;
      SELECT COALESCE(SUM(h.amount), 0) INTO v_held
        FROM billing_entitlement_holds AS h FORCE INDEX (ix_holds_pending)
       WHERE h.subject_id = p_subject_id AND h.definition_id = p_definition_id AND h.status = 'pending'
         FOR UPDATE;
    END IF;

    -- (4) Open overage is paid by what is there now.
    SET v_paid = LEAST(v_overage, GREATEST(v_allotment - v_allotment_given, 0)), v_paid_by_grants = 0;
    SET v_allotment_given = v_allotment_given + v_paid;
    IF v_overage > v_paid THEN
      CALL entitlement_draw_grants_in_tx_v1(p_subject_id, p_definition_id, v_segment_no, v_overage - v_paid, v_paid_by_grants);
      SET v_paid = v_paid + v_paid_by_grants;
    END IF;
    SET v_overage = v_overage - v_paid;

    -- (5) What holds from here on.
    SELECT COALESCE(SUM(g.amount - g.given_before_window_amount), 0),
           COALESCE(SUM(g.given_amount - g.given_before_window_amount), 0),
           COALESCE(SUM(g.amount - g.given_amount), 0)
      INTO v_once_granted, v_once_given, v_once_left
      FROM billing_entitlement_grant_balances AS g FORCE INDEX (ix_grant_balances_state)
     WHERE g.subject_id = p_subject_id AND g.definition_id = p_definition_id AND g.grant_state = 'active' AND NOT g.is_allotment
       FOR UPDATE;
    SET v_granted = v_allotment + v_once_granted;
    IF v_type = 'capacity' THEN
      SET v_resource_count = NULL;
      SELECT s.resource_count INTO v_resource_count
        FROM billing_resource_snapshots AS s
       WHERE s.subject_id = p_subject_id AND s.definition_id = p_definition_id
         FOR UPDATE;
      SET v_consumed = COALESCE(v_resource_count, 0), v_left = v_granted - v_consumed;
    ELSEIF v_anchor = 'rolling' THEN
      -- Looks no further than the first use that stays, so that it costs what comes back, not what was ever used. A locking search for what may
      -- not be there goes on to the next subject's use, and waits for it: so the newest use tells first whether there is one that stays, and the
      -- others end at a number. Where all have come back there is none to ask, and the newest may be archived.
      SET v_staying_no = NULL, v_newest_returns_at = NULL;
      SELECT c.returns_at INTO v_newest_returns_at
        FROM billing_entitlement_consumptions AS c FORCE INDEX (uq_consumptions_sequence)
       WHERE c.subject_id = p_subject_id AND c.definition_id = p_definition_id AND c.sequence_no = NULLIF(v_last_sequence_no, v_returned_no)
         FOR SHARE;
      SET v_coming = v_last_sequence_no - v_returned_no;
      IF v_newest_returns_at > v_at THEN
        SELECT c.sequence_no INTO v_staying_no
          FROM billing_entitlement_consumptions AS c FORCE INDEX (uq_consumptions_sequence)
         WHERE c.subject_id = p_subject_id AND c.definition_id = p_definition_id AND c.sequence_no > v_returned_no AND c.returns_at > v_at
         ORDER BY c.sequence_no
         LIMIT 1
           FOR SHARE;
      ELSE
        -- All come back, but where a month is clamped one may stay that was posted before others that do not.
        SELECT MIN(IF(u.returns_at > v_at, u.sequence_no, NULL)) INTO v_staying_no
          FROM (SELECT c.sequence_no, c.returns_at
                  FROM billing_entitlement_consumptions AS c FORCE INDEX (uq_consumptions_sequence)
                 WHERE c.subject_id = p_subject_id AND c.definition_id = p_definition_id AND c.sequence_no > v_returned_no
                 ORDER BY c.sequence_no
                 LIMIT v_coming
                   FOR SHARE) AS u;
      END IF;
      SET v_coming = COALESCE(v_staying_no, v_last_sequence_no + 1) - v_returned_no - 1;
      SELECT v_consumed - COALESCE(SUM(u.amount), 0) INTO v_consumed
        FROM (SELECT c.amount
                FROM billing_entitlement_consumptions AS c FORCE INDEX (uq_consumptions_sequence)
               WHERE c.subject_id = p_subject_id AND c.definition_id = p_definition_id AND c.sequence_no > v_returned_no
               ORDER BY c.sequence_no
               LIMIT v_coming
                 FOR SHARE) AS u;
      SET v_returned_no = COALESCE(v_staying_no - 1, v_last_sequence_no), v_left = v_granted - v_consumed;
    ELSE
      SET v_consumed = v_allotment_given + v_once_given + v_overage;
      SET v_left = GREATEST(v_allotment - v_allotment_given, 0) + v_once_left - v_overage;
    END IF;

    INSERT INTO billing_entitlement_settlements
      (subject_id, definition_id, segment_no, settled_at, cause, closed_amount, closed_allotment_gave, closed_grants_gave, overage_paid,
       window_start_at, window_end_at, granted_amount, consumed_amount, left_amount, allotment_amount, allotment_given_amount, overage_amount,
       returned_sequence_no, last_sequence_no, recorded_at)
    VALUES
      (p_subject_id, p_definition_id, v_segment_no, v_at, v_cause, v_used, v_from_allotment, v_from_grants, v_paid,
       v_window_start_at, v_window_end_at, v_granted, v_consumed, v_left, v_allotment, v_allotment_given, v_overage,
       v_returned_no, v_last_sequence_no, p_now);
    SET v_settled_at = v_at, v_used = 0;

    SET v_was_locked = v_is_locked,
        v_is_locked = IF(v_type = 'state', v_granted = 0, v_enforcement = 'hard_lock_resource' AND (v_left < 0 OR v_allotment_given > v_allotment));
    IF v_is_locked <> v_was_locked THEN
      INSERT INTO billing_entitlement_lock_changes (subject_id, definition_id, lock_state, changed_at)
      VALUES (p_subject_id, p_definition_id, IF(v_is_locked, v_lock_label, 'none'), v_at);
    END IF;
  END LOOP;

  IF v_steps > 0 THEN
    UPDATE billing_entitlement_balances AS b
       SET b.window_start_at = v_window_start_at, b.window_end_at = v_window_end_at,
           b.segment_no = v_segment_no, b.settled_at = v_settled_at, b.granted_amount = v_granted,
           b.allotment_amount = v_allotment, b.allotment_given_amount = v_allotment_given, b.overage_amount = v_overage,
           b.segment_start_consumed_amount = v_consumed, b.segment_start_left_amount = v_left, b.segment_consumed_amount = 0,
           b.held_amount = v_held, b.returned_sequence_no = v_returned_no,
           b.next_change_at = NULLIF(v_next_change_at, v_lifetime_end), b.failure_count = 0, b.last_failure = NULL, b.retry_at = NULL
     WHERE b.subject_id = p_subject_id AND b.definition_id = p_definition_id AND b.history_no = 0;
  ELSE
    -- It was due and nothing was: what it waited for is gone. Left as it is, it would be due for ever.
    UPDATE billing_entitlement_balances AS b
       SET b.next_change_at = NULLIF(v_next_change_at, v_lifetime_end)
     WHERE b.subject_id = p_subject_id AND b.definition_id = p_definition_id AND b.history_no = 0;
  END IF;
  IF p_boundaries > 0 THEN
    INSERT INTO billing_limit_changes (change_source, changes, changed_at)
    VALUES ('boundary_recompute', JSON_ARRAY(JSON_OBJECT('subjectId', p_subject_id, 'codes', JSON_ARRAY(v_code))), p_now);
  END IF;
END
