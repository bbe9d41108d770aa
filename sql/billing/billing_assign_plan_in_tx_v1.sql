-- billing_assign_plan_in_tx_v1: puts a subject on a plan, now or at an instant; what is on it already is renewed.
--
-- Called by    billing_assign_plan_v1; what the provider says of subscriptions and invoices; billing_apply_due_assignments_v1; people, inside their own
--              transaction.
-- Transaction  needs the caller's.
-- Locks        the plan, shared; the subject: all changes of its plan stand in line there; the balances concerned, by definition.
-- Idempotency  p_dedupe_key: the same key again gives the first assignment and changes nothing, but for a scheduled one whose instant has
--              come: that becomes current. Being on the same plan in the same quantity by the same subscription already is a renewal.
-- Parameters   p_subject_id    billable entity
--              p_plan_id       the plan
--              p_quantity      1 to 1,000,000: what the plan grants, so many times (a state stays 1)
--              p_effective_at  UTC; null or not ahead: now; else it is scheduled
--              p_period_start_at, p_period_end_at  UTC, end excluded; the period that the provider says, or null and null
--              p_provider_subscription_id  null or 1 to 255 visible ASCII characters
--              p_dedupe_key    1 to 255 visible ASCII characters: operator:{key}, event:{id}
--              p_created_by    who, up to 128 characters
--              p_assignment_id  out: the assignment, or the current one that was renewed
--              p_changed       out: whether an assignment was made, scheduled or became current
-- Results      none.
-- Errors       VALIDATION_FAILED, PLAN_NOT_FOUND, SUBJECT_NOT_FOUND, IDEMPOTENCY_CONFLICT, PLAN_ARCHIVED, in this order; making its grants
--              DEFINITION_INACTIVE and what else entitlement_grant_in_tx_v1 says; at any settlement SETTLEMENT_STUCK.
-- Cost         one row, and one outbox row if it is scheduled; a revocation for each grant that ends, a grant for each template; a new anchor as billing_move_anchor_in_tx_v1.
--
-- A renewal brings the period up to date and makes the grants of a new period; a period that begins before the one that is known is late news,
-- and changes nothing. A change ends the current assignment and revokes what it granted while it was current, cancels what was scheduled before, and
-- grants what the plan's templates say at this moment. A plan that was archived takes no new assignments; who is on it, or was scheduled for it, stays.
CREATE PROCEDURE billing_assign_plan_in_tx_v1(
  IN  p_subject_id               BIGINT UNSIGNED,
  IN  p_plan_id                  INT UNSIGNED,
  IN  p_quantity                 INT UNSIGNED,
  IN  p_effective_at             DATETIME(3),
  IN  p_period_start_at          DATETIME(3),
  IN  p_period_end_at            DATETIME(3),
  IN  p_provider_subscription_id VARCHAR(255),
  IN  p_dedupe_key               VARCHAR(255),
  IN  p_created_by               VARCHAR(128),
  OUT p_assignment_id            BIGINT UNSIGNED,
  OUT p_changed                  BOOLEAN
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Puts a subject on a plan inside the caller''s transaction'
assigning: BEGIN
  DECLARE v_now, v_first_at, v_current_period_start_at, v_effective_at, v_expires_at DATETIME(3);
  DECLARE v_period_start_at DATETIME(3) DEFAULT p_period_start_at;
  DECLARE v_period_end_at DATETIME(3) DEFAULT p_period_end_at;
  DECLARE v_archived_at DATETIME(3);
  DECLARE v_subscription_id VARCHAR(255) DEFAULT p_provider_subscription_id;
  DECLARE v_current_subscription_id, v_key VARCHAR(255);
  DECLARE v_plan_id, v_first_plan_id, v_current_plan_id, v_first_quantity, v_current_quantity INT UNSIGNED;
  DECLARE v_subject_id, v_first_id, v_first_subject_id, v_current_id, v_grant_id BIGINT UNSIGNED;
  DECLARE v_first_status, v_kind VARCHAR(32);
  DECLARE v_code VARCHAR(64);
  DECLARE v_amount BIGINT;
  DECLARE v_ending, v_grants JSON;
  DECLARE v_no INT UNSIGNED DEFAULT 0;
  DECLARE v_is_due, v_is_renewal, v_replayed BOOLEAN;

  SET p_assignment_id = NULL, p_changed = FALSE;

  IF p_quantity IS NULL OR p_quantity NOT BETWEEN 1 AND 1000000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: quantity: must be a whole number from 1 to 1000000';
  END IF;
  IF (p_period_start_at IS NULL) <> (p_period_end_at IS NULL) THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: periodEndAt: must be given with periodStartAt, or neither';
  END IF;
  IF p_period_end_at <= p_period_start_at THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: periodEndAt: must be after periodStartAt';
  END IF;
  IF NOT REGEXP_LIKE(p_provider_subscription_id, '^[!-~]{1,255}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: providerSubscriptionId: must be 1 to 255 visible ASCII characters';
  END IF;
  IF p_dedupe_key IS NULL OR NOT REGEXP_LIKE(p_dedupe_key, '^[!-~]{1,255}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: dedupeKey: must be 1 to 255 visible ASCII characters';
  END IF;
  IF p_created_by IS NULL OR p_created_by = '' THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: createdBy: must say who assigns the plan';
  END IF;

  SELECT p.id, p.archived_at INTO v_plan_id, v_archived_at
    FROM billing_plans AS p
   WHERE p.id = p_plan_id
     FOR SHARE;
  IF v_plan_id IS NULL THEN
    SIGNAL SQLSTATE '45107' SET MYSQL_ERRNO = 52107, MESSAGE_TEXT = 'PLAN_NOT_FOUND: no plan has this id';
  END IF;
  SELECT e.id INTO v_subject_id
    FROM billable_entities AS e
   WHERE e.id = p_subject_id
     FOR UPDATE;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
  END IF;

  SELECT a.id, a.subject_id, a.plan_id, a.quantity, a.status, a.effective_at INTO v_first_id, v_first_subject_id, v_first_plan_id, v_first_quantity, v_first_status, v_first_at
    FROM billing_plan_assignments AS a
   WHERE a.dedupe_key = CONVERT(p_dedupe_key USING ascii)
     FOR UPDATE;
  IF v_first_subject_id <> p_subject_id OR v_first_plan_id <> p_plan_id OR v_first_quantity <> p_quantity THEN
    SIGNAL SQLSTATE '45201' SET MYSQL_ERRNO = 52201, MESSAGE_TEXT = 'IDEMPOTENCY_CONFLICT: this key was used for another assignment';
  END IF;
  IF v_first_status = 'scheduled' THEN
    SELECT a.period_start_at, a.period_end_at, a.provider_subscription_id INTO v_period_start_at, v_period_end_at, v_subscription_id
      FROM billing_plan_assignments AS a
     WHERE a.id = v_first_id;
  END IF;
  SELECT a.id, a.plan_id, a.quantity, a.provider_subscription_id, a.period_start_at
    INTO v_current_id, v_current_plan_id, v_current_quantity, v_current_subscription_id, v_current_period_start_at
    FROM billing_plan_assignments AS a
   WHERE a.current_subject_id = p_subject_id
     FOR UPDATE;
  CALL billing_list_ending_grants_in_tx_v1(v_current_id, v_ending);
  CALL billing_lock_plan_balances_in_tx_v1(p_subject_id, p_plan_id, v_ending, v_period_start_at IS NOT NULL);
  SET v_now = UTC_TIMESTAMP(3);

  SET v_is_due = COALESCE(v_first_status = 'scheduled' AND v_first_at <= v_now, FALSE);
  IF v_first_id IS NOT NULL AND NOT v_is_due THEN
    SET p_assignment_id = v_first_id;
    LEAVE assigning;
  END IF;
  SET v_is_renewal = COALESCE(v_current_plan_id = p_plan_id AND v_current_quantity = p_quantity AND v_current_subscription_id <=> CONVERT(v_subscription_id USING ascii), FALSE)
    AND (v_is_due OR p_effective_at IS NULL OR p_effective_at <= v_now);
  IF v_archived_at IS NOT NULL AND NOT v_is_renewal AND NOT v_is_due THEN
    SIGNAL SQLSTATE '45210' SET MYSQL_ERRNO = 52210, MESSAGE_TEXT = 'PLAN_ARCHIVED: this plan takes no new assignments';
  END IF;

  IF v_is_renewal THEN
    SET p_assignment_id = v_current_id;
    -- It was planned before the subject came there in another way.
    UPDATE billing_plan_assignments AS a
       SET a.status = 'cancelled', a.ended_at = v_now
     WHERE a.id = v_first_id;
    IF v_period_start_at < v_current_period_start_at THEN
      SET v_period_start_at = NULL, v_period_end_at = NULL;
    END IF;
    UPDATE billing_plan_assignments AS a
       SET a.period_start_at = COALESCE(v_period_start_at, a.period_start_at), a.period_end_at = COALESCE(v_period_end_at, a.period_end_at)
     WHERE a.id = v_current_id;
  ELSE
    -- A subject has one scheduled change at most, and none that was planned before this one.
    UPDATE billing_plan_assignments AS a FORCE INDEX (ix_assignments_subject)
       SET a.status = 'cancelled', a.ended_at = v_now
     WHERE a.subject_id = p_subject_id AND a.status = 'scheduled' AND NOT a.id <=> v_first_id;
    IF NOT v_is_due AND p_effective_at > v_now THEN
      SET v_first_status = 'scheduled', v_effective_at = p_effective_at;
    ELSE
      SET v_first_status = 'current', v_effective_at = v_now;
      UPDATE billing_plan_assignments AS a
         SET a.status = 'ended', a.ended_at = v_now
       WHERE a.id = v_current_id;
    END IF;
    IF v_is_due THEN
      UPDATE billing_plan_assignments AS a
         SET a.status = 'current', a.effective_at = v_now, a.failure_count = 0, a.last_failure = NULL, a.retry_at = NULL
       WHERE a.id = v_first_id;
      SET p_assignment_id = v_first_id;
    ELSE
      BEGIN
        -- Another subject's change took the key at the same moment: its lock is another one, so the unique key is what finds it.
        DECLARE EXIT HANDLER FOR 1062
          SIGNAL SQLSTATE '45201' SET MYSQL_ERRNO = 52201, MESSAGE_TEXT = 'IDEMPOTENCY_CONFLICT: this key was used for another assignment';
        INSERT INTO billing_plan_assignments
          (subject_id, plan_id, quantity, status, effective_at, period_start_at, period_end_at, provider_subscription_id, dedupe_key, created_by, created_at)
        VALUES
          (p_subject_id, p_plan_id, p_quantity, v_first_status, v_effective_at, v_period_start_at, v_period_end_at, v_subscription_id, p_dedupe_key, p_created_by, v_now);
      END;
      SET p_assignment_id = LAST_INSERT_ID();
    END IF;
    SET p_changed = TRUE;
    IF v_first_status = 'scheduled' THEN
      -- It changes no limit of anybody yet, so no reader is told; but every gateway's scheduler looks when the outbox moves.
      INSERT INTO billing_limit_changes (change_source, changes, changed_at) VALUES ('plan_grant', JSON_ARRAY(), v_now);
      LEAVE assigning;
    END IF;
  END IF;

  -- The anchor first: the window that it ends is history, with the grants that it had.
  IF v_period_start_at IS NOT NULL THEN
    CALL billing_move_anchor_in_tx_v1(p_subject_id, v_period_start_at, v_now);
  END IF;
  IF NOT v_is_renewal THEN
    CALL billing_list_ending_grants_in_tx_v1(v_current_id, v_ending);
    WHILE v_no < JSON_LENGTH(v_ending) DO
      SET v_grant_id = JSON_EXTRACT(v_ending, CONCAT('$[', v_no, '][1]')), v_no = v_no + 1;
      CALL entitlement_revoke_in_tx_v1(v_grant_id, NULL, CONCAT('assignment-ended:', v_current_id, ':', v_grant_id), NULL, p_created_by, v_replayed);
    END WHILE;
  END IF;
  CALL billing_list_plan_grants_in_tx_v1(p_assignment_id, NOT v_is_renewal, FALSE, v_period_start_at, v_period_end_at, v_now, v_grants);
  SET v_no = 0;
  WHILE v_no < JSON_LENGTH(v_grants) DO
    SET v_no = v_no + 1;
    SELECT j.code, j.amount, j.grant_kind, j.effective_at, j.expires_at, j.dedupe_key INTO v_code, v_amount, v_kind, v_effective_at, v_expires_at, v_key
      FROM JSON_TABLE(v_grants, '$[*]' COLUMNS (
             grant_no FOR ORDINALITY, code VARCHAR(64) PATH '$[0]', amount BIGINT PATH '$[1]', grant_kind VARCHAR(32) PATH '$[2]',
             effective_at DATETIME(3) PATH '$[3]', expires_at DATETIME(3) PATH '$[4]', dedupe_key VARCHAR(255) PATH '$[5]')) AS j
     WHERE j.grant_no = v_no;
    CALL entitlement_grant_in_tx_v1(p_subject_id, v_code, v_amount, v_kind, v_effective_at, v_expires_at, NULL, 'plan_assignment', p_assignment_id, NULL,
                                    v_key, NULL, p_created_by, v_grant_id, v_replayed);
  END WHILE;
END
