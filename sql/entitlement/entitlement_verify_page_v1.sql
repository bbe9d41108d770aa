-- entitlement_verify_page_v1: compares every projected number of the next subjects with the ledger, for who wants to see how far it is.
--
-- Called by    the console's POST verify; people.
-- Transaction  owns it: one consistent snapshot, read only. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        none: no writer waits for it.
-- Idempotency  reads only.
-- Parameters   p_after_id  the last billable entity of the page before; null for the first
--              p_limit     billable entities at most, 1 to 1,000
-- Results      1. one row: checked_subjects (how many the page has), last_id (the last of them; null: there is none), highest_id (the newest
--              billable entity; null: there is none).
--              2. a row per difference, as entitlement_verify_range_in_tx_v1.
-- Errors       VALIDATION_FAILED.
-- Cost         every use, grant, settlement and hold of the page's subjects, once.
CREATE PROCEDURE entitlement_verify_page_v1(
  IN p_after_id BIGINT UNSIGNED,
  IN p_limit    INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Compares the numbers of the next subjects with the ledger'
BEGIN
  DECLARE v_first_id, v_last_id, v_highest_id BIGINT UNSIGNED;
  DECLARE v_subjects INT UNSIGNED;

  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 1000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 1000';
  END IF;
  SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY;
    SELECT COUNT(*), MIN(t.id), MAX(t.id) INTO v_subjects, v_first_id, v_last_id
      FROM (SELECT e.id FROM billable_entities AS e WHERE p_after_id IS NULL OR e.id > p_after_id ORDER BY e.id LIMIT p_limit) AS t;
    SELECT MAX(e.id) INTO v_highest_id FROM billable_entities AS e;
    SELECT v_subjects AS checked_subjects, v_last_id AS last_id, v_highest_id AS highest_id;
    -- Without a subject the range is none.
    CALL entitlement_verify_range_in_tx_v1(COALESCE(v_first_id, 1), COALESCE(v_last_id, 0));
    COMMIT;
  END;
END
