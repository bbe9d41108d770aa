-- entitlement_gate_v1: says whether a state that a capability stands for lets a subject through now.
--
-- Called by    the gateway, before every write of an application's own routes; people.
-- Transaction  none, unless something is due: then entitlement_settle_v1 commits first.
-- Locks        none, unless something is due.
-- Idempotency  reads only, but for what the clock made due.
-- Parameters   p_subject_id  billable entity
--              p_capability  mapped to a state by billing_capabilities
-- Results      one row: code, is_open, lock_state (none, or the definition's label while the state is off). Open while the state is on; for who
--              was never granted it, so that it may be sold to some; and for everybody where the definition is not active.
-- Errors       SUBJECT_NOT_FOUND, CAPABILITY_NOT_FOUND, VALIDATION_FAILED; if something is due, SETTLEMENT_STUCK.
-- Cost         one row of each of five tables.
CREATE PROCEDURE entitlement_gate_v1(
  IN p_subject_id BIGINT UNSIGNED,
  IN p_capability VARCHAR(64)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Says whether a state lets a subject through'
BEGIN
  DECLARE v_subject_id, v_grant_id BIGINT UNSIGNED;
  DECLARE v_definition_id INT UNSIGNED;
  DECLARE v_code, v_lock_label VARCHAR(64);
  DECLARE v_type VARCHAR(32);
  DECLARE v_is_active BOOLEAN;
  DECLARE v_next_change_at DATETIME(3);
  DECLARE v_granted BIGINT;

  SELECT e.id INTO v_subject_id FROM billable_entities AS e WHERE e.id = p_subject_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
  END IF;
  SELECT d.id, d.code, d.entitlement_type, d.lock_label, d.is_active
    INTO v_definition_id, v_code, v_type, v_lock_label, v_is_active
    FROM billing_capabilities AS c
    JOIN billing_entitlement_definitions AS d ON d.id = c.definition_id
   WHERE c.capability = CONVERT(p_capability USING ascii);
  IF v_definition_id IS NULL THEN
    SIGNAL SQLSTATE '45103' SET MYSQL_ERRNO = 52103, MESSAGE_TEXT = 'CAPABILITY_NOT_FOUND: no capability has this name';
  END IF;
  IF v_type <> 'state' THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: capability: must stand for a state, which is on or off';
  END IF;

  SELECT b.next_change_at, b.granted_amount INTO v_next_change_at, v_granted
    FROM billing_entitlement_balances AS b
   WHERE b.subject_id = p_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0;
  IF v_next_change_at <= UTC_TIMESTAMP(3) THEN
    CALL entitlement_settle_v1(p_subject_id);
    SELECT b.granted_amount INTO v_granted
      FROM billing_entitlement_balances AS b
     WHERE b.subject_id = p_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0;
  END IF;
  SELECT g.id INTO v_grant_id
    FROM billing_entitlement_grants AS g
   WHERE g.subject_id = p_subject_id AND g.definition_id = v_definition_id
   LIMIT 1;

  SELECT v_code AS code, COALESCE(v_granted, 0) > 0 OR v_grant_id IS NULL OR NOT v_is_active AS is_open,
         IF(COALESCE(v_granted, 0) > 0, 'none', v_lock_label) AS lock_state;
END
