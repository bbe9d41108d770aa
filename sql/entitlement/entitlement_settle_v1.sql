-- entitlement_settle_v1: brings all balances of a subject over the boundaries that have passed, in one commit.
--
-- Called by    entitlement_limitations_v1, when something is due; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone: there, call entitlement_settle_in_tx_v1.
-- Locks        the balances that are due, by definition; then their grant balances.
-- Idempotency  a boundary that has been passed is not due any more: calling again does nothing.
-- Parameters   p_subject_id  billable entity
-- Results      none.
-- Errors       SETTLEMENT_STUCK.
-- Cost         a subject's current balances read; each that is due as entitlement_settle_in_tx_v1.
CREATE PROCEDURE entitlement_settle_v1(
  IN p_subject_id BIGINT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Brings a subject''s balances over the boundaries that have passed'
BEGIN
  DECLARE v_definition_id INT UNSIGNED;
  DECLARE v_boundaries INT UNSIGNED;
  DECLARE v_no_more BOOLEAN DEFAULT FALSE;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE c_due CURSOR FOR
      SELECT b.definition_id
        FROM billing_entitlement_balances AS b
       WHERE b.subject_id = p_subject_id AND b.history_no = 0 AND b.next_change_at <= UTC_TIMESTAMP(3)
       ORDER BY b.definition_id;
    DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_no_more = TRUE;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    OPEN c_due;
    FETCH c_due INTO v_definition_id;
    WHILE NOT v_no_more DO
      -- The lock first: a clock that is read before a wait is old by the time that it counts.
      SELECT b.definition_id INTO v_definition_id
        FROM billing_entitlement_balances AS b
       WHERE b.subject_id = p_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0
         FOR UPDATE;
      CALL entitlement_settle_in_tx_v1(p_subject_id, v_definition_id, UTC_TIMESTAMP(3), NULL, v_boundaries);
      -- A look-up in there that found nothing is not the end of the cursor.
      SET v_no_more = FALSE;
      FETCH c_due INTO v_definition_id;
    END WHILE;
    CLOSE c_due;
    COMMIT;
  END;
END
