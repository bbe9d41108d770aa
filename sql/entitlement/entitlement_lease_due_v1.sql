-- entitlement_lease_due_v1: takes balances whose boundary has passed and settles them; what cannot be settled is set aside.
--
-- Called by    the scheduler of every gateway, at the next boundary; people.
-- Transaction  owns it: lease and result are one commit, so what a killed run had taken is still due. Inside an open one it refuses (error 1568).
-- Locks        up to p_limit balance rows that nobody else has, then their grant balances. It waits for none of the first.
-- Idempotency  a boundary that has been passed is not due any more.
-- Parameters   p_limit  balances at most, 1 to 1,000
-- Results      one row: leased, settled, failed; next_due_at (null: nothing will be due by the clock), and wait_milliseconds until then by the
--              database's clock, 0 when more is due already.
-- Errors       VALIDATION_FAILED.
-- Cost         nothing due: one look into an index. Else the due rows, each as entitlement_settle_in_tx_v1; none that is not due.
--
-- A row that fails keeps its error and is left alone for 2 minutes, then 4, 8, … and at most an hour, so that it never stands in the way of the others.
CREATE PROCEDURE entitlement_lease_due_v1(
  IN p_limit INT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Settles balances whose boundary has passed'
BEGIN
  DECLARE v_now, v_next_due_at DATETIME(3);
  DECLARE v_leased JSON;
  DECLARE v_count, v_done, v_failed, v_boundaries INT UNSIGNED DEFAULT 0;
  DECLARE v_subject_id BIGINT UNSIGNED;
  DECLARE v_definition_id INT UNSIGNED;

  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 1000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 1000';
  END IF;

  SELECT MIN(b.due_at) INTO v_next_due_at FROM billing_entitlement_balances AS b FORCE INDEX (ix_balances_due);
  IF v_next_due_at <= UTC_TIMESTAMP(3) THEN
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    BEGIN
      DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
      START TRANSACTION;
      SELECT JSON_ARRAYAGG(JSON_ARRAY(t.subject_id, t.definition_id)), COUNT(*) INTO v_leased, v_count
        FROM (SELECT b.subject_id, b.definition_id
                FROM billing_entitlement_balances AS b FORCE INDEX (ix_balances_due)
               WHERE b.due_at <= UTC_TIMESTAMP(3)
               ORDER BY b.due_at
               LIMIT p_limit
                 FOR UPDATE SKIP LOCKED) AS t;
      SET v_now = UTC_TIMESTAMP(3);
      WHILE v_done < v_count DO
        SET v_subject_id = JSON_EXTRACT(v_leased, CONCAT('$[', v_done, '][0]')),
            v_definition_id = JSON_EXTRACT(v_leased, CONCAT('$[', v_done, '][1]'));
        BEGIN
          DECLARE v_failure VARCHAR(255);
          -- These end the transaction, and with it the lease: the whole call is sent again.
          DECLARE EXIT HANDLER FOR 1205, 1213 RESIGNAL;
          DECLARE EXIT HANDLER FOR SQLEXCEPTION
          BEGIN
            GET DIAGNOSTICS CONDITION 1 v_failure = MESSAGE_TEXT;
            ROLLBACK TO SAVEPOINT before_settlement;
            UPDATE billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
               SET b.failure_count = b.failure_count + 1, b.last_failure = LEFT(v_failure, 255),
                   b.retry_at = v_now + INTERVAL LEAST(60 << LEAST(b.failure_count, 6), 3600) SECOND
             WHERE b.subject_id = v_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0;
            SET v_failed = v_failed + 1;
          END;
          SAVEPOINT before_settlement;
          CALL entitlement_settle_in_tx_v1(v_subject_id, v_definition_id, v_now, NULL, v_boundaries);
        END;
        SET v_done = v_done + 1;
      END WHILE;
      COMMIT;
    END;
    SELECT MIN(b.due_at) INTO v_next_due_at FROM billing_entitlement_balances AS b FORCE INDEX (ix_balances_due);
  END IF;

  SELECT v_count AS leased, v_count - v_failed AS settled, v_failed AS failed, v_next_due_at AS next_due_at,
         GREATEST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(3), v_next_due_at) DIV 1000, 0) AS wait_milliseconds;
END
