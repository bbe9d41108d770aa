-- billing_apply_catalogue_v1: makes the catalogue what one document says, in one commit, or says what that would change.
--
-- Called by    consumable catalog plan and apply; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone. A dry run rolls back.
-- Locks        as billing_apply_catalogue_in_tx_v1, in a dry run too.
-- Idempotency  the same document again changes nothing.
-- Parameters   p_catalogue   as billing_apply_catalogue_in_tx_v1
--              p_is_dry_run  only say what would change
--              p_created_by  who; null: the database user. Kept with the document's hash in billing_operations
-- Results      what is wrong, as billing_show_problems_in_tx_v1: no rows, or nothing was written. Then what changed or would change, as
--              billing_compare_catalogue_in_tx_v1; no rows where something is wrong.
-- Errors       VALIDATION_FAILED.
-- Cost         as billing_apply_catalogue_in_tx_v1.
CREATE PROCEDURE billing_apply_catalogue_v1(
  IN p_catalogue  JSON,
  IN p_is_dry_run BOOLEAN,
  IN p_created_by VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Applies a catalogue in one commit'
BEGIN
  DECLARE v_before, v_after, v_problems JSON;
  DECLARE v_first_id BIGINT UNSIGNED;

  IF p_is_dry_run IS NULL THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: isDryRun: must say whether this is a dry run';
  END IF;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL billing_apply_catalogue_in_tx_v1(p_catalogue, v_before, v_after, v_problems);
    IF v_problems IS NULL AND NOT p_is_dry_run THEN
      -- For the record: who applied what. The key is nobody's.
      CALL billing_begin_operation_in_tx_v1(CONCAT('catalogue:', UUID()), 'apply_catalogue', p_catalogue, COALESCE(p_created_by, USER()), v_first_id);
      COMMIT;
    ELSE
      ROLLBACK;
    END IF;
  END;
  CALL billing_show_problems_in_tx_v1(v_problems);
  IF v_problems IS NOT NULL THEN
    SET v_before = NULL;
  END IF;
  CALL billing_compare_catalogue_in_tx_v1(p_catalogue, v_before, v_after);
END
