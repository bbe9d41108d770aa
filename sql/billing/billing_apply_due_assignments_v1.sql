-- billing_apply_due_assignments_v1: makes scheduled plans current whose instant has come; one that cannot be is set aside.
--
-- Called by    the scheduler of every gateway, at the next instant; people.
-- Transaction  owns one for each change, so that one never waits for the locks of another. Inside an open one it refuses (error 1568).
-- Locks        for each change as billing_assign_plan_in_tx_v1, but it waits for no subject: whom somebody else changes is left for the next time.
-- Idempotency  what is current already, or was cancelled meanwhile, stays as it is.
-- Parameters   p_limit  changes at most, 1 to 1,000
-- Results      one row: applied, failed; next_due_at (null: nothing is scheduled), and wait_milliseconds until then by the database's clock, 0 when
--              more is due already.
-- Errors       VALIDATION_FAILED.
-- Cost         nothing due: one look into an index. Else the due changes, each as billing_assign_plan_in_tx_v1; none that is not due.
--
-- A change that fails keeps its error and is left alone for 2 minutes, then 4, 8, … and at most an hour, so that it never stands in the way of the others.
CREATE PROCEDURE billing_apply_due_assignments_v1(
  IN p_limit INT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes scheduled plans current whose instant has come'
BEGIN
  DECLARE v_next_due_at DATETIME(3);
  DECLARE v_due JSON;
  DECLARE v_no, v_applied, v_failed, v_plan_id, v_quantity INT UNSIGNED DEFAULT 0;
  DECLARE v_assignment_id, v_subject_id, v_free_id, v_result_id BIGINT UNSIGNED;
  DECLARE v_key VARCHAR(255);
  DECLARE v_created_by VARCHAR(128);
  DECLARE v_changed BOOLEAN;

  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 1000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 1000';
  END IF;

  SELECT MIN(a.due_at) INTO v_next_due_at FROM billing_plan_assignments AS a FORCE INDEX (ix_assignments_due);
  IF v_next_due_at <= UTC_TIMESTAMP(3) THEN
    -- Their rows are locked later, after the subject's: whoever comes first does it, the other one finds it done.
    SELECT JSON_ARRAYAGG(t.id) INTO v_due
      FROM (SELECT a.id
              FROM billing_plan_assignments AS a FORCE INDEX (ix_assignments_due)
             WHERE a.due_at <= UTC_TIMESTAMP(3)
             ORDER BY a.due_at, a.id
             LIMIT p_limit) AS t;
    WHILE v_no < JSON_LENGTH(v_due) DO
      SET v_assignment_id = JSON_EXTRACT(v_due, CONCAT('$[', v_no, ']')), v_no = v_no + 1, v_free_id = NULL;
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
      BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
        START TRANSACTION;
        SELECT a.subject_id, a.plan_id, a.quantity, a.dedupe_key, a.created_by INTO v_subject_id, v_plan_id, v_quantity, v_key, v_created_by
          FROM billing_plan_assignments AS a
         WHERE a.id = v_assignment_id;
        SELECT p.id INTO v_plan_id
          FROM billing_plans AS p
         WHERE p.id = v_plan_id
           FOR SHARE;
        SELECT e.id INTO v_free_id
          FROM billable_entities AS e
         WHERE e.id = v_subject_id
           FOR UPDATE SKIP LOCKED;
        IF v_free_id IS NOT NULL THEN
          BEGIN
            DECLARE v_failure VARCHAR(255);
            -- These end the transaction: the whole call is sent again.
            DECLARE EXIT HANDLER FOR 1205, 1213 RESIGNAL;
            DECLARE EXIT HANDLER FOR SQLEXCEPTION
            BEGIN
              GET DIAGNOSTICS CONDITION 1 v_failure = MESSAGE_TEXT;
              ROLLBACK TO SAVEPOINT before_change;
              UPDATE billing_plan_assignments AS a
                 SET a.failure_count = a.failure_count + 1, a.last_failure = LEFT(v_failure, 255),
                     a.retry_at = UTC_TIMESTAMP(3) + INTERVAL LEAST(60 << LEAST(a.failure_count, 6), 3600) SECOND
               WHERE a.id = v_assignment_id AND a.status = 'scheduled';
              SET v_failed = v_failed + 1;
            END;
            SAVEPOINT before_change;
            CALL billing_assign_plan_in_tx_v1(v_subject_id, v_plan_id, v_quantity, NULL, NULL, NULL, NULL, v_key, v_created_by, v_result_id, v_changed);
            SET v_applied = v_applied + 1;
          END;
        END IF;
        COMMIT;
      END;
    END WHILE;
    SELECT MIN(a.due_at) INTO v_next_due_at FROM billing_plan_assignments AS a FORCE INDEX (ix_assignments_due);
  END IF;

  SELECT v_applied AS applied, v_failed AS failed, v_next_due_at AS next_due_at,
         GREATEST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(3), v_next_due_at) DIV 1000, 0) AS wait_milliseconds;
END
