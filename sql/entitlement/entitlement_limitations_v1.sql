-- entitlement_limitations_v1: says what a subject may use now, of everything that can be granted.
--
-- Called by    GET /api/billing/limitations; people.
-- Transaction  none, unless something is due: then entitlement_settle_v1 commits first. Inside an open transaction with something due it
--              refuses (error 1568); there, settle with entitlement_settle_in_tx_v1 and read entitlement_show_limitations_in_tx_v1.
-- Locks        none, unless something is due.
-- Idempotency  reads only, but for what the clock made due.
-- Parameters   p_subject_id  billable entity
--              p_code        one definition; null: every active one
--              p_held_only   only definitions that were ever granted to the subject or used by it
-- Results      as entitlement_show_limitations_in_tx_v1; then, if something was due, one row: refreshed, how many balances that were.
-- Errors       SUBJECT_NOT_FOUND, DEFINITION_NOT_FOUND; if something is due, SETTLEMENT_STUCK.
-- Cost         the subject, its current balances and the definitions, by primary key.
CREATE PROCEDURE entitlement_limitations_v1(
  IN p_subject_id BIGINT UNSIGNED,
  IN p_code       VARCHAR(64),
  IN p_held_only  BOOLEAN
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Says what a subject may use now'
BEGIN
  DECLARE v_now DATETIME(3) DEFAULT UTC_TIMESTAMP(3);
  DECLARE v_subject_id BIGINT UNSIGNED;
  DECLARE v_definition_id, v_due INT UNSIGNED;

  SELECT e.id INTO v_subject_id FROM billable_entities AS e WHERE e.id = p_subject_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
  END IF;
  SELECT d.id INTO v_definition_id FROM billing_entitlement_definitions AS d WHERE d.code = CONVERT(p_code USING ascii);
  IF p_code IS NOT NULL AND v_definition_id IS NULL THEN
    SIGNAL SQLSTATE '45102' SET MYSQL_ERRNO = 52102, MESSAGE_TEXT = 'DEFINITION_NOT_FOUND: no entitlement definition has this code';
  END IF;
  SELECT COUNT(*) INTO v_due
    FROM billing_entitlement_balances AS b
   WHERE b.subject_id = p_subject_id AND b.history_no = 0 AND b.next_change_at <= v_now;
  IF v_due > 0 THEN
    CALL entitlement_settle_v1(p_subject_id);
    SET v_now = UTC_TIMESTAMP(3);
  END IF;
  CALL entitlement_show_limitations_in_tx_v1(JSON_ARRAY(JSON_OBJECT('subjectId', p_subject_id, 'heldOnly', p_held_only)), p_code, v_now);
  IF v_due > 0 THEN
    SELECT v_due AS refreshed;
  END IF;
END
