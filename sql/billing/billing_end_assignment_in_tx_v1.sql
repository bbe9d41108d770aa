-- billing_end_assignment_in_tx_v1: ends the plan of a subject, or cancels a change that was scheduled.
--
-- Called by    billing_cancel_assignment_v1; what the provider says of subscriptions that lapse or are deleted; people, inside their own transaction.
-- Transaction  needs the caller's.
-- Locks        the subject: all changes of its plan stand in line there; the balances of the grants that end, by definition.
-- Idempotency  an assignment that has ended or was cancelled stays as it is.
-- Parameters   p_assignment_id  the assignment
--              p_created_by     who, up to 128 characters
--              p_changed        out: whether it ended or was cancelled by this call
-- Results      none.
-- Errors       VALIDATION_FAILED, ASSIGNMENT_NOT_FOUND, in this order; at any settlement SETTLEMENT_STUCK.
-- Cost         one row; a revocation for each grant that ends.
--
-- What it granted while it was current ends now. Grants of a period or of a fixed duration stay until they expire: they were paid for. What is scheduled to
-- follow a plan that ends stays scheduled.
CREATE PROCEDURE billing_end_assignment_in_tx_v1(
  IN  p_assignment_id BIGINT UNSIGNED,
  IN  p_created_by    VARCHAR(128),
  OUT p_changed       BOOLEAN
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Ends a plan or cancels a scheduled one inside the caller''s transaction'
BEGIN
  DECLARE v_now DATETIME(3);
  DECLARE v_subject_id, v_grant_id BIGINT UNSIGNED;
  DECLARE v_status VARCHAR(16);
  DECLARE v_ending JSON;
  DECLARE v_no INT UNSIGNED DEFAULT 0;
  DECLARE v_replayed BOOLEAN;

  SET p_changed = FALSE;
  IF p_created_by IS NULL OR p_created_by = '' THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: createdBy: must say who ends the plan';
  END IF;
  SELECT a.subject_id INTO v_subject_id
    FROM billing_plan_assignments AS a
   WHERE a.id = p_assignment_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45110' SET MYSQL_ERRNO = 52110, MESSAGE_TEXT = 'ASSIGNMENT_NOT_FOUND: no plan assignment has this id';
  END IF;

  SELECT e.id INTO v_subject_id
    FROM billable_entities AS e
   WHERE e.id = v_subject_id
     FOR UPDATE;
  SELECT a.status INTO v_status
    FROM billing_plan_assignments AS a
   WHERE a.id = p_assignment_id
     FOR UPDATE;
  IF v_status = 'current' THEN
    CALL billing_list_ending_grants_in_tx_v1(p_assignment_id, v_ending);
    CALL billing_lock_plan_balances_in_tx_v1(v_subject_id, NULL, v_ending, FALSE);
  END IF;
  SET v_now = UTC_TIMESTAMP(3);

  IF v_status IN ('scheduled', 'current') THEN
    UPDATE billing_plan_assignments AS a
       SET a.status = IF(v_status = 'current', 'ended', 'cancelled'), a.ended_at = v_now
     WHERE a.id = p_assignment_id;
    SET p_changed = TRUE;
  END IF;
  IF v_status = 'current' THEN
    CALL billing_list_ending_grants_in_tx_v1(p_assignment_id, v_ending);
    WHILE v_no < JSON_LENGTH(v_ending) DO
      SET v_grant_id = JSON_EXTRACT(v_ending, CONCAT('$[', v_no, '][1]')), v_no = v_no + 1;
      CALL entitlement_revoke_in_tx_v1(v_grant_id, NULL, CONCAT('assignment-ended:', p_assignment_id, ':', v_grant_id), NULL, p_created_by, v_replayed);
    END WHILE;
  END IF;
END
