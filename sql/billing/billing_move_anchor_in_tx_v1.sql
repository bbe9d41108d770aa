-- billing_move_anchor_in_tx_v1: puts a subject's billing anchor on the start of a period, unless it lies on the grid already.
--
-- Called by    billing_assign_plan_in_tx_v1, billing_pay_period_in_tx_v1, when they are told a period.
-- Transaction  needs the caller's.
-- Locks        none of its own: the caller has the subject's and those of all its balances of definitions that go by the billing period.
-- Idempotency  a period that begins on the anchor's grid moves nothing.
-- Parameters   p_subject_id       billable entity
--              p_period_start_at  UTC; start of the period
--              p_now              UTC; the caller's clock
-- Results      none.
-- Errors       SETTLEMENT_STUCK.
-- Cost         one row; if the anchor moves, per balance that goes by it two settlements, and one outbox row.
--
-- The grid is monthly from the anchor, clamped at a month's end: for an anchor on the 31st of January, a period that begins on the 28th of
-- February lies on it. Moving it is a boundary: what was due is settled by the old grid, the open window ends now and stays as history, and the next is
-- the one of the new grid that contains now.
CREATE PROCEDURE billing_move_anchor_in_tx_v1(
  IN p_subject_id      BIGINT UNSIGNED,
  IN p_period_start_at DATETIME(3),
  IN p_now             DATETIME(3)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Puts a subject''s billing anchor on the start of a period'
moving: BEGIN
  DECLARE v_anchor_at, v_window_start_at, v_window_end_at DATETIME(3);
  DECLARE v_balances, v_codes JSON;
  DECLARE v_boundaries INT UNSIGNED;
  DECLARE v_no INT UNSIGNED DEFAULT 0;

  SELECT e.billing_anchor_at INTO v_anchor_at
    FROM billable_entities AS e
   WHERE e.id = p_subject_id
     FOR UPDATE;
  IF v_anchor_at IS NOT NULL THEN
    CALL entitlement_window_at_v1('month', 'billing_period', v_anchor_at, p_period_start_at, v_window_start_at, v_window_end_at);
    IF v_window_start_at = p_period_start_at THEN
      LEAVE moving;
    END IF;
  END IF;

  SELECT JSON_ARRAYAGG(n.definition_id), JSON_ARRAYAGG(n.code) INTO v_balances, v_codes
    FROM (SELECT b.definition_id, d.code
            FROM billing_entitlement_balances AS b
            JOIN billing_entitlement_definitions AS d ON d.id = b.definition_id
           WHERE b.subject_id = p_subject_id AND b.history_no = 0 AND d.window_anchor = 'billing_period'
           ORDER BY b.definition_id
           LIMIT 100000) AS n;
  WHILE v_no < JSON_LENGTH(v_balances) DO
    CALL entitlement_settle_in_tx_v1(p_subject_id, JSON_EXTRACT(v_balances, CONCAT('$[', v_no, ']')), p_now, NULL, v_boundaries);
    SET v_no = v_no + 1;
  END WHILE;
  UPDATE billable_entities AS e
     SET e.billing_anchor_at = p_period_start_at, e.updated_at = p_now
   WHERE e.id = p_subject_id;
  SET v_no = 0;
  WHILE v_no < JSON_LENGTH(v_balances) DO
    CALL entitlement_settle_in_tx_v1(p_subject_id, JSON_EXTRACT(v_balances, CONCAT('$[', v_no, ']')), p_now, 'window_end', v_boundaries);
    SET v_no = v_no + 1;
  END WHILE;
  IF v_codes IS NOT NULL THEN
    INSERT INTO billing_limit_changes (change_source, changes, changed_at)
    VALUES ('plan_grant', JSON_ARRAY(JSON_OBJECT('subjectId', p_subject_id, 'codes', v_codes)), p_now);
  END IF;
END
