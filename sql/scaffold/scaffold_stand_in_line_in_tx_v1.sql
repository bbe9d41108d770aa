-- scaffold_stand_in_line_in_tx_v1: makes those who change a subject's projects wait for each other, so that each counts what there is.
--
-- Called by    every procedure that changes projects, before anything else.
-- Transaction  needs the caller's.
-- Locks        the balance row of what counts projects, which is made if there is none. Not the billable entity: whoever writes a grant or a
--              hold has this balance row and then, by foreign key, wants the entity, so to take the entity first would be a deadlock.
-- Idempotency  calling again does nothing.
-- Parameters   p_subject_id  billable entity
--              p_code        out: the code of what counts projects
-- Results      none.
-- Errors       SUBJECT_NOT_FOUND, DEFINITION_NOT_FOUND.
-- Cost         one row; what is due is settled.
CREATE PROCEDURE scaffold_stand_in_line_in_tx_v1(
  IN  p_subject_id BIGINT UNSIGNED,
  OUT p_code       VARCHAR(64)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes those who change a subject''s projects wait for each other'
BEGIN
  DECLARE v_subject_id, v_locked_id BIGINT UNSIGNED;
  DECLARE v_definition_id, v_boundaries INT UNSIGNED;

  SET p_code = NULL;
  SELECT e.id INTO v_subject_id FROM billable_entities AS e WHERE e.id = p_subject_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
  END IF;
  SELECT d.id, d.code INTO v_definition_id, p_code FROM billing_entitlement_definitions AS d WHERE d.resource_code = 'projects';
  IF v_definition_id IS NULL THEN
    SIGNAL SQLSTATE '45102' SET MYSQL_ERRNO = 52102, MESSAGE_TEXT = 'DEFINITION_NOT_FOUND: no entitlement definition counts projects';
  END IF;
  SELECT b.subject_id INTO v_locked_id
    FROM billing_entitlement_balances AS b
   WHERE b.subject_id = p_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0
     FOR UPDATE;
  CALL entitlement_settle_in_tx_v1(p_subject_id, v_definition_id, UTC_TIMESTAMP(3), 'opened', v_boundaries);
END
