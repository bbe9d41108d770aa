-- entitlement_prune_changes_v1: deletes outbox rows that no reader resumes from any more.
--
-- Called by    every gateway's relay, once a minute.
-- Transaction  one statement of its own.
-- Locks        the rows that it deletes.
-- Idempotency  what is gone is gone: calling again deletes what has become old since.
-- Parameters   p_keep_seconds  age from which a numbered row is deleted, 60 or more
--              p_limit         rows at most, 1 to 10,000
-- Results      one row: deleted.
-- Errors       VALIDATION_FAILED.
-- Cost         the rows that it deletes. The newest row always stays, so that the outbox can say where it stands.
CREATE PROCEDURE entitlement_prune_changes_v1(
  IN p_keep_seconds INT UNSIGNED,
  IN p_limit        INT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Deletes outbox rows that are too old to resume from'
BEGIN
  DECLARE v_last BIGINT UNSIGNED;

  IF p_keep_seconds IS NULL OR p_keep_seconds < 60 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: keepSeconds: must be 60 or more';
  END IF;
  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 10000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 10000';
  END IF;

  SELECT MAX(c.sequence_no) INTO v_last FROM billing_limit_changes AS c;
  -- Oldest first, and only while they are old: the order of the numbers is nearly that of the times, so looking stops early.
  DELETE FROM billing_limit_changes
   WHERE sequence_no < v_last AND changed_at < UTC_TIMESTAMP(3) - INTERVAL p_keep_seconds SECOND
   ORDER BY sequence_no
   LIMIT p_limit;
  SELECT ROW_COUNT() AS deleted;
END
