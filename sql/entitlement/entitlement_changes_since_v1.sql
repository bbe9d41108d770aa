-- entitlement_changes_since_v1: returns what changed after a point, per workspace, each change once and none left out.
--
-- Called by    every gateway's relay, several times a second; the realtime route, when a reader resumes.
-- Transaction  owns one, if changes were committed that have no sequence number yet. Inside an open one with such changes it refuses (error 1568).
-- Locks        the outbox counter, if nobody else has it: one gateway at a time gives numbers, the others just read.
-- Idempotency  a change gets its number once; the same arguments return the same changes, and what came since.
-- Parameters   p_after_sequence_no  the last one that the caller has; null: none of them, only say where the outbox stands
--              p_workspace_id       only this workspace's; null: all
--              p_limit              outbox rows looked at, 1 to 10,000
-- Results      one row: oldest_sequence_no (the oldest that is kept; null when there is none), last_sequence_no, and read_to_sequence_no, up
--              to where this call looked; then a row per change and workspace, by sequence_no: sequence_no, workspace_id, workspace_slug (both
--              null: a change of every workspace, as that of a definition), codes (JSON array), change_source, changed_at.
-- Errors       VALIDATION_FAILED.
-- Cost         nothing new: one index look-up each. Else the new rows, once to number and once to read.
--
-- Why numbers are given after the commit. An id is given at the insert, and transactions commit in another order: a reader that
-- resumes after the highest id that it saw would never see a lower one that was committed later, and holding readers back until every
-- lower id is known would let one transaction that somebody forgot to end silence everybody. A number that is given only to rows that are
-- committed, under one lock, leaves no gap and needs no waiting.
CREATE PROCEDURE entitlement_changes_since_v1(
  IN p_after_sequence_no BIGINT UNSIGNED,
  IN p_workspace_id      BIGINT UNSIGNED,
  IN p_limit             INT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns what changed after a point'
BEGIN
  DECLARE v_oldest, v_last, v_read_to BIGINT UNSIGNED;
  DECLARE v_unnumbered_id, v_counter BIGINT UNSIGNED;
  DECLARE v_given INT UNSIGNED;
  DECLARE v_unnumbered JSON;

  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 10000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 10000';
  END IF;

  -- Reads committed rows without waiting for any that are not: those get their number when they are.
  SELECT c.id INTO v_unnumbered_id FROM billing_limit_changes AS c WHERE c.sequence_no IS NULL LIMIT 1;
  IF v_unnumbered_id IS NOT NULL THEN
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    BEGIN
      DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
      START TRANSACTION;
      SELECT n.last_sequence_no INTO v_counter
        FROM billing_limit_change_counter AS n
       WHERE n.id = 1
         FOR UPDATE SKIP LOCKED;
      IF v_counter IS NOT NULL THEN
        SELECT JSON_ARRAYAGG(t.id), COUNT(*) INTO v_unnumbered, v_given
          FROM (SELECT c.id FROM billing_limit_changes AS c WHERE c.sequence_no IS NULL ORDER BY c.id LIMIT 1000) AS t;
        -- By primary key, the committed rows alone: a scan would wait for those that are not.
        UPDATE (SELECT j.id, v_counter + ROW_NUMBER() OVER (ORDER BY j.id) AS sequence_no
                  FROM JSON_TABLE(v_unnumbered, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS j) AS t
          STRAIGHT_JOIN billing_limit_changes AS c FORCE INDEX (PRIMARY) ON c.id = t.id
           SET c.sequence_no = t.sequence_no;
        UPDATE billing_limit_change_counter AS n SET n.last_sequence_no = v_counter + v_given WHERE n.id = 1;
      END IF;
      COMMIT;
    END;
  END IF;

  -- Both from the ends of the index. With a condition, be it that there is a number, all of it would be read.
  SELECT MIN(c.sequence_no), MAX(c.sequence_no) INTO v_oldest, v_last FROM billing_limit_changes AS c;
  IF v_last IS NULL THEN
    SELECT n.last_sequence_no INTO v_last FROM billing_limit_change_counter AS n WHERE n.id = 1;
  END IF;
  SET v_read_to = CASE WHEN p_after_sequence_no IS NULL THEN v_last
                       WHEN p_after_sequence_no >= v_last THEN p_after_sequence_no
                       ELSE LEAST(v_last, p_after_sequence_no + p_limit) END;

  SELECT v_oldest AS oldest_sequence_no, v_last AS last_sequence_no, v_read_to AS read_to_sequence_no;

  SELECT t.sequence_no, t.workspace_id, w.slug AS workspace_slug, JSON_ARRAYAGG(t.code) AS codes, t.change_source, t.changed_at
    FROM (SELECT DISTINCT c.sequence_no, e.workspace_id, j.code, c.change_source, c.changed_at
            FROM billing_limit_changes AS c
            JOIN JSON_TABLE(c.changes, '$[*]' COLUMNS (
                   subject_id BIGINT UNSIGNED PATH '$.subjectId',
                   NESTED PATH '$.codes[*]' COLUMNS (code VARCHAR(64) PATH '$'))) AS j
            LEFT JOIN billable_entities AS e ON e.id = j.subject_id
           WHERE c.sequence_no > p_after_sequence_no AND c.sequence_no <= v_read_to
             AND (j.subject_id IS NULL
                  OR e.workspace_id IS NOT NULL AND (p_workspace_id IS NULL OR e.workspace_id = p_workspace_id))) AS t
    LEFT JOIN workspaces AS w ON w.id = t.workspace_id
   GROUP BY t.sequence_no, t.workspace_id, w.slug, t.change_source, t.changed_at
   ORDER BY t.sequence_no, t.workspace_id;
END
