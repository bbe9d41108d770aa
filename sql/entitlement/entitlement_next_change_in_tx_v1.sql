-- entitlement_next_change_in_tx_v1: says what the clock will change next in a balance, of each kind.
--
-- Called by    entitlement_settle_in_tx_v1 and whatever takes a boundary away, all of which hold the balance row's lock.
-- Transaction  needs the caller's.
-- Locks        the balance's grant balances that are not over, and its pending holds.
-- Idempotency  reads only.
-- Parameters   p_subject_id, p_definition_id  the balance
--              p_settled_at    UTC; when the open segment began
--              p_first_use_no  rolling: number of the oldest use that has not come back; null: there is none
--              p_next_grant_at, p_next_hold_at, p_next_return_at  out: UTC; the end of time where nothing is to come
-- Results      none.
-- Errors       none.
-- Cost         the grants that are not over; one hold; one use.
CREATE PROCEDURE entitlement_next_change_in_tx_v1(
  IN  p_subject_id     BIGINT UNSIGNED,
  IN  p_definition_id  INT UNSIGNED,
  IN  p_settled_at     DATETIME(3),
  IN  p_first_use_no   BIGINT UNSIGNED,
  OUT p_next_grant_at  DATETIME(3),
  OUT p_next_hold_at   DATETIME(3),
  OUT p_next_return_at DATETIME(3)
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Says what the clock will change next in a balance'
BEGIN
  DECLARE v_lifetime_end DATETIME(3) DEFAULT '9999-12-31 23:59:59.999';

  SET p_next_hold_at = v_lifetime_end, p_next_return_at = v_lifetime_end;
  SELECT COALESCE(MIN(LEAST(COALESCE(g.ends_at, v_lifetime_end), IF(g.grant_state = 'pending', g.effective_at, v_lifetime_end))), v_lifetime_end)
    INTO p_next_grant_at
    FROM billing_entitlement_grant_balances AS g FORCE INDEX (ix_grant_balances_state)
   WHERE g.subject_id = p_subject_id AND g.definition_id = p_definition_id AND g.grant_state IN ('pending', 'active')
     FOR UPDATE;
  -- Not MIN(): that looks up one key or the next, and would lock the first hold of another subject.
  SELECT h.expires_at INTO p_next_hold_at
    FROM billing_entitlement_holds AS h FORCE INDEX (ix_holds_pending)
   WHERE h.subject_id = p_subject_id AND h.definition_id = p_definition_id AND h.status = 'pending'
   ORDER BY h.expires_at
   LIMIT 1
     FOR UPDATE;
  IF p_first_use_no IS NOT NULL THEN
    -- Uses come back in their order: where a month is clamped, none before the one that was posted before it.
    SELECT GREATEST(p_settled_at, c.returns_at) INTO p_next_return_at
      FROM billing_entitlement_consumptions AS c FORCE INDEX (uq_consumptions_sequence)
     WHERE c.subject_id = p_subject_id AND c.definition_id = p_definition_id AND c.sequence_no = p_first_use_no
       FOR SHARE;
  END IF;
END
