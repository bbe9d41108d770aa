-- operator_restart_changes_v1: makes every reader of changes fetch anew, as is right after a restore that did not bring back all.
--
-- Called by    people, after a restore. Gateways may be serving, or not.
-- Transaction  owns it: one for the numbers, and one for each 10,000 rows that go. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        the outbox counter, for a moment; then the rows that it deletes.
-- Idempotency  each call makes everybody fetch anew once more. One that was killed is made good by the next.
-- Parameters   none.
-- Results      one row: last_sequence_no (the number after which changes go on), deleted (outbox rows).
-- Errors       none.
-- Cost         the rows that the outbox keeps: those of a day.
--
-- Why. Readers resume after a number. A database that was restored to an earlier instant gives numbers again that were given before it was lost: who comes with one
-- of those, when the outbox has passed it for the second time, would be told what follows it and never hear of what was booked instead of what he knew. So
-- numbers go on far beyond all that can have been lost, and nothing is kept that an old number could be followed by.
CREATE PROCEDURE operator_restart_changes_v1()
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes every reader of changes fetch anew'
BEGIN
  -- At a thousand changes a second, those of eleven days.
  DECLARE v_numbers_passed_over BIGINT UNSIGNED DEFAULT 1000000000;
  DECLARE v_rows_at_once INT UNSIGNED DEFAULT 10000;
  DECLARE v_last BIGINT UNSIGNED;
  DECLARE v_gone, v_deleted BIGINT UNSIGNED DEFAULT 0;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT n.last_sequence_no INTO v_last FROM billing_limit_change_counter AS n WHERE n.id = 1 FOR UPDATE;
    UPDATE billing_limit_change_counter AS n SET n.last_sequence_no = v_last + v_numbers_passed_over WHERE n.id = 1;
    COMMIT;
    -- What comes meanwhile has a number beyond these.
    REPEAT
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
      START TRANSACTION;
      DELETE FROM billing_limit_changes WHERE sequence_no <= v_last ORDER BY sequence_no LIMIT v_rows_at_once;
      SET v_gone = ROW_COUNT();
      COMMIT;
      SET v_deleted = v_deleted + v_gone;
    UNTIL v_gone < v_rows_at_once END REPEAT;
  END;
  SELECT v_last + v_numbers_passed_over AS last_sequence_no, v_deleted AS deleted;
END
