-- entitlement_resolve_hold_in_tx_v1: ends a hold: part of it becomes a use, or all of it goes back.
--
-- Called by    entitlement_commit_hold_v1 and entitlement_release_hold_v1; people, inside their own transaction.
-- Transaction  needs the caller's.
-- Locks        the balance row, its grant balances if it is due, then the hold.
-- Idempotency  a hold is resolved once: the same resolution again writes nothing.
-- Parameters   p_hold_id     the hold
--              p_resolution  committed, released
--              p_amount      committed: 1 to what is held; null: all of it. released: null
--              p_replayed    out: whether this very resolution was there already
-- Results      none.
-- Errors       VALIDATION_FAILED, HOLD_NOT_FOUND, HOLD_ALREADY_RESOLVED, HOLD_EXPIRED, HOLD_AMOUNT_EXCEEDED, in this order.
-- Cost         one resolution, one use, one balance, one outbox row; one more where a lock came.
--
-- A use that is committed is posted in the window and the segment that are current then, under a key of its own: `hold` and the hold's
-- number, with a blank between, which no caller's key can have.
CREATE PROCEDURE entitlement_resolve_hold_in_tx_v1(
  IN  p_hold_id    BIGINT UNSIGNED,
  IN  p_resolution VARCHAR(16),
  IN  p_amount     BIGINT,
  OUT p_replayed   BOOLEAN
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Ends a hold inside the caller''s transaction'
BEGIN
  DECLARE v_lifetime_end DATETIME(3) DEFAULT '9999-12-31 23:59:59.999';
  DECLARE v_now, v_expires_at, v_settled_at, v_window_end_at, v_next_grant_at, v_next_hold_at, v_next_return_at DATETIME(3);
  DECLARE v_subject_id, v_locked_id, v_first_use_no BIGINT UNSIGNED;
  DECLARE v_definition_id, v_boundaries INT UNSIGNED;
  DECLARE v_held, v_resolved_amount, v_amount BIGINT;
  DECLARE v_code, v_reason_code VARCHAR(64);
  DECLARE v_anchor, v_status, v_first_resolution VARCHAR(16);
  DECLARE v_metadata JSON;

  SET p_replayed = FALSE;

  IF p_resolution IS NULL OR p_resolution NOT IN ('committed', 'released') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: resolution: must be committed or released';
  END IF;
  IF p_amount < 1 OR (p_resolution = 'released' AND p_amount IS NOT NULL) THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: amount: must be a whole number from 1 to what is held';
  END IF;
  SELECT h.subject_id, h.definition_id, h.amount, h.reason_code, h.metadata, h.expires_at, d.code, d.window_anchor
    INTO v_subject_id, v_definition_id, v_held, v_reason_code, v_metadata, v_expires_at, v_code, v_anchor
    FROM billing_entitlement_holds AS h
    JOIN billing_entitlement_definitions AS d ON d.id = h.definition_id
   WHERE h.id = p_hold_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45109' SET MYSQL_ERRNO = 52109, MESSAGE_TEXT = 'HOLD_NOT_FOUND: no hold has this id';
  END IF;
  SET v_amount = IF(p_resolution = 'released', 0, COALESCE(p_amount, v_held));

  SELECT b.subject_id INTO v_locked_id
    FROM billing_entitlement_balances AS b
   WHERE b.subject_id = v_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0
     FOR UPDATE;
  SET v_now = UTC_TIMESTAMP(3);

  SELECT r.resolution, r.amount INTO v_first_resolution, v_resolved_amount
    FROM billing_entitlement_hold_resolutions AS r
   WHERE r.hold_id = p_hold_id
     FOR SHARE;
  IF v_first_resolution <> p_resolution OR v_resolved_amount <> v_amount THEN
    SIGNAL SQLSTATE '45206' SET MYSQL_ERRNO = 52206, MESSAGE_TEXT = 'HOLD_ALREADY_RESOLVED: the hold was committed or released in another way';
  END IF;

  IF v_first_resolution IS NOT NULL THEN
    SET p_replayed = TRUE;
  ELSE
    CALL entitlement_settle_in_tx_v1(v_subject_id, v_definition_id, v_now, NULL, v_boundaries);
    SELECT h.status INTO v_status FROM billing_entitlement_holds AS h WHERE h.id = p_hold_id FOR UPDATE;
    IF v_status = 'expired' OR v_expires_at <= v_now THEN
      SIGNAL SQLSTATE '45205' SET MYSQL_ERRNO = 52205, MESSAGE_TEXT = 'HOLD_EXPIRED: the hold has expired, make another one';
    END IF;
    IF v_amount > v_held THEN
      SIGNAL SQLSTATE '45207' SET MYSQL_ERRNO = 52207, MESSAGE_TEXT = 'HOLD_AMOUNT_EXCEEDED: more was asked for than is held';
    END IF;

    UPDATE billing_entitlement_holds AS h SET h.status = p_resolution WHERE h.id = p_hold_id;
    UPDATE billing_entitlement_balances AS b
       SET b.held_amount = b.held_amount - v_held
     WHERE b.subject_id = v_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0;
    IF v_amount > 0 THEN
      CALL entitlement_post_in_tx_v1(
        JSON_ARRAY(JSON_ARRAY(1, 1, v_subject_id, v_definition_id, v_amount, CONCAT('hold ', p_hold_id), v_reason_code, NULL, v_metadata, SHA2(p_hold_id, 256))),
        'hold_commit', TRUE, v_now);
      -- What was held is used even where its grant has ended meanwhile: the one kind of use by which a resource may be locked.
      INSERT INTO billing_entitlement_lock_changes (subject_id, definition_id, lock_state, changed_at)
      SELECT b.subject_id, b.definition_id, d.lock_label, v_now
        FROM billing_entitlement_definitions AS d FORCE INDEX (PRIMARY)
        STRAIGHT_JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY) ON b.subject_id = v_subject_id AND b.definition_id = d.id AND b.history_no = 0
       WHERE d.id = v_definition_id AND d.enforcement_mode = 'hard_lock_resource'
         AND b.left_amount < 0 AND b.left_amount + v_amount >= 0 AND b.allotment_given_amount <= b.allotment_amount;
    END IF;
    -- The hold's expiry was a boundary, and is none any more.
    SELECT b.settled_at, b.window_end_at, IF(v_anchor = 'rolling' AND b.last_sequence_no > b.returned_sequence_no, b.returned_sequence_no + 1, NULL)
      INTO v_settled_at, v_window_end_at, v_first_use_no
      FROM billing_entitlement_balances AS b
     WHERE b.subject_id = v_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0
       FOR UPDATE;
    CALL entitlement_next_change_in_tx_v1(v_subject_id, v_definition_id, v_settled_at, v_first_use_no, v_next_grant_at, v_next_hold_at, v_next_return_at);
    UPDATE billing_entitlement_balances AS b
       SET b.next_change_at = NULLIF(LEAST(v_window_end_at, v_next_grant_at, v_next_hold_at, v_next_return_at), v_lifetime_end)
     WHERE b.subject_id = v_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0;
    INSERT INTO billing_entitlement_hold_resolutions
      (hold_id, subject_id, definition_id, resolution, amount, resolved_at, segment_no, consumed_after, left_after, held_after, next_change_at)
    SELECT p_hold_id, v_subject_id, v_definition_id, p_resolution, v_amount, v_now, b.segment_no, b.consumed_amount, b.left_amount, b.held_amount, b.next_change_at
      FROM billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
     WHERE b.subject_id = v_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0;
    INSERT INTO billing_limit_changes (change_source, changes, changed_at)
    VALUES ('consumption', JSON_ARRAY(JSON_OBJECT('subjectId', v_subject_id, 'codes', JSON_ARRAY(v_code))), v_now);
  END IF;
END
