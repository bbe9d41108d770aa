-- billing_pay_period_in_tx_v1: makes the grants that a plan makes for a period that was paid.
--
-- Called by    whatever makes a purchase of a paid invoice, with the assignment that it pays; people, inside their own transaction.
-- Transaction  needs the caller's.
-- Locks        the plan, shared; the subject; the balances concerned, by definition.
-- Idempotency  the same period again grants nothing: each grant's key is of the assignment, the template and the period.
-- Parameters   p_assignment_id  the assignment. One that has ended grants what was paid for, but nothing that holds while it is current
--              p_period_start_at, p_period_end_at  UTC, end excluded; the period that was paid
--              p_purchase_id    null, or the purchase: each grant made here because of the payment is put down with it, so that a refund finds it
--              p_created_by     who, up to 128 characters
-- Results      none.
-- Errors       VALIDATION_FAILED, ASSIGNMENT_NOT_FOUND, in this order; making the grants DEFINITION_INACTIVE and what else
--              entitlement_grant_in_tx_v1 says; at any settlement SETTLEMENT_STUCK.
-- Cost         a grant for each template that has not granted for the period; a new anchor as billing_move_anchor_in_tx_v1.
--
-- A current assignment learns the period by it, as by a renewal: the invoice may come before what the provider says of the subscription. A period that is
-- over already by now grants nothing, as nothing of it could still be used.
CREATE PROCEDURE billing_pay_period_in_tx_v1(
  IN p_assignment_id   BIGINT UNSIGNED,
  IN p_period_start_at DATETIME(3),
  IN p_period_end_at   DATETIME(3),
  IN p_purchase_id     BIGINT UNSIGNED,
  IN p_created_by      VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes the grants of a period that was paid'
BEGIN
  DECLARE v_now, v_known_period_start_at, v_effective_at, v_expires_at DATETIME(3);
  DECLARE v_subject_id, v_grant_id BIGINT UNSIGNED;
  DECLARE v_plan_id INT UNSIGNED;
  DECLARE v_status, v_kind VARCHAR(32);
  DECLARE v_code VARCHAR(64);
  DECLARE v_key VARCHAR(255);
  DECLARE v_amount BIGINT;
  DECLARE v_grants JSON;
  DECLARE v_no INT UNSIGNED DEFAULT 0;
  DECLARE v_is_paid, v_replayed BOOLEAN;

  IF p_period_start_at IS NULL THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: periodStartAt: is required';
  END IF;
  IF p_period_end_at IS NULL OR p_period_end_at <= p_period_start_at THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: periodEndAt: must be after periodStartAt';
  END IF;
  IF p_created_by IS NULL OR p_created_by = '' THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: createdBy: must say who pays the period';
  END IF;
  SELECT a.subject_id, a.plan_id INTO v_subject_id, v_plan_id
    FROM billing_plan_assignments AS a
   WHERE a.id = p_assignment_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45110' SET MYSQL_ERRNO = 52110, MESSAGE_TEXT = 'ASSIGNMENT_NOT_FOUND: no plan assignment has this id';
  END IF;

  SELECT p.id INTO v_plan_id
    FROM billing_plans AS p
   WHERE p.id = v_plan_id
     FOR SHARE;
  SELECT e.id INTO v_subject_id
    FROM billable_entities AS e
   WHERE e.id = v_subject_id
     FOR UPDATE;
  SELECT a.status, a.period_start_at INTO v_status, v_known_period_start_at
    FROM billing_plan_assignments AS a
   WHERE a.id = p_assignment_id
     FOR UPDATE;
  CALL billing_lock_plan_balances_in_tx_v1(v_subject_id, v_plan_id, NULL, TRUE);
  SET v_now = UTC_TIMESTAMP(3);

  IF v_status = 'current' AND NOT COALESCE(p_period_start_at < v_known_period_start_at, FALSE) THEN
    UPDATE billing_plan_assignments AS a
       SET a.period_start_at = p_period_start_at, a.period_end_at = p_period_end_at
     WHERE a.id = p_assignment_id;
    CALL billing_move_anchor_in_tx_v1(v_subject_id, p_period_start_at, v_now);
  END IF;
  CALL billing_list_plan_grants_in_tx_v1(p_assignment_id, FALSE, TRUE, p_period_start_at, p_period_end_at, v_now, v_grants);
  WHILE v_no < JSON_LENGTH(v_grants) DO
    SET v_no = v_no + 1;
    SELECT j.code, j.amount, j.grant_kind, j.effective_at, j.expires_at, j.dedupe_key, j.is_paid
      INTO v_code, v_amount, v_kind, v_effective_at, v_expires_at, v_key, v_is_paid
      FROM JSON_TABLE(v_grants, '$[*]' COLUMNS (
             grant_no FOR ORDINALITY, code VARCHAR(64) PATH '$[0]', amount BIGINT PATH '$[1]', grant_kind VARCHAR(32) PATH '$[2]',
             effective_at DATETIME(3) PATH '$[3]', expires_at DATETIME(3) PATH '$[4]', dedupe_key VARCHAR(255) PATH '$[5]', is_paid BOOLEAN PATH '$[6]')) AS j
     WHERE j.grant_no = v_no;
    CALL entitlement_grant_in_tx_v1(v_subject_id, v_code, v_amount, v_kind, v_effective_at, v_expires_at, NULL, 'plan_assignment', p_assignment_id, NULL,
                                    v_key, NULL, p_created_by, v_grant_id, v_replayed);
    IF v_is_paid AND p_purchase_id IS NOT NULL THEN
      INSERT INTO billing_purchase_grants (purchase_id, grant_id, first_grant_id, bought_amount)
      VALUES (p_purchase_id, v_grant_id, v_grant_id, v_amount);
    END IF;
  END WHILE;
END
