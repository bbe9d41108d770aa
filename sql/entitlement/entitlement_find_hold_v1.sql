-- entitlement_find_hold_v1: returns one hold as it is now.
--
-- Called by    GET /api/billing/holds/{id}; people.
-- Transaction  none, unless its subject's balances are due: then entitlement_settle_v1 commits first.
-- Locks        none, unless something is due.
-- Idempotency  reads only, but for what the clock made due.
-- Parameters   p_hold_id  the hold
-- Results      one row, as entitlement_show_hold_in_tx_v1.
-- Errors       HOLD_NOT_FOUND.
-- Cost         one row of each of five tables.
CREATE PROCEDURE entitlement_find_hold_v1(
  IN p_hold_id BIGINT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns one hold as it is now'
BEGIN
  DECLARE v_now DATETIME(3) DEFAULT UTC_TIMESTAMP(3);
  DECLARE v_subject_id BIGINT UNSIGNED;
  DECLARE v_definition_id, v_due INT UNSIGNED;

  SELECT h.subject_id, h.definition_id INTO v_subject_id, v_definition_id FROM billing_entitlement_holds AS h WHERE h.id = p_hold_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45109' SET MYSQL_ERRNO = 52109, MESSAGE_TEXT = 'HOLD_NOT_FOUND: no hold has this id';
  END IF;
  SELECT COUNT(*) INTO v_due
    FROM billing_entitlement_balances AS b
   WHERE b.subject_id = v_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0 AND b.next_change_at <= v_now;
  IF v_due > 0 THEN
    CALL entitlement_settle_v1(v_subject_id);
  END IF;
  CALL entitlement_show_hold_in_tx_v1(p_hold_id, v_subject_id, v_definition_id, 'now', FALSE, NULL, 0, v_now);
END
