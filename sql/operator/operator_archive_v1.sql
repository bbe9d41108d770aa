-- operator_archive_v1: moves uses of segments that are long closed from the ledger to its archive. Every answer stays as it was.
--
-- Called by    consumable archive; people.
-- Transaction  owns it: one for each limit of each subject. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        of one limit at a time, the balance row, then the uses that go: meanwhile who uses that limit waits. A thousand uses take about a tenth of a
--              second.
-- Idempotency  what was moved is not moved again. A call that was killed has moved whole parts; the next one goes on.
-- Parameters   p_before   UTC, not in the future: of segments that were closed by then
--              p_limit    uses at most, 1 to 10,000
--              p_first_subject_id  where to begin, the next_subject_id of the call before; null: with the first billable entity
--              p_last_subject_id   where to end, included; null: with the last one
-- Results      one row: moved (uses), next_subject_id (where the next call begins; null: nothing is left to move), last_subject_id (where the last one ends).
-- Errors       VALIDATION_FAILED. Who may not delete from the ledger is refused by the server (1142), and nothing was moved.
-- Cost         a row written and one deleted for each use; of 1,000 billable entities at most, some look-ups for each limit.
--
-- The ledger is append-only for the owner of the procedures, and so for all procedures but this one, which runs with the rights of whoever calls it:
-- SELECT, UPDATE on the balances, INSERT on the archive, DELETE on the uses. The owner and the gateway's account lack the last, so no request can move anything.
--
-- What may go is what nothing but a replay, a page of the ledger or a chart asks for: the use of a segment that a settlement closed; of a rolling quota one
-- that has come back, too. What goes is the oldest: the archive has the uses from 1 to the balance's archived_sequence_no, the ledger those after it.
CREATE PROCEDURE operator_archive_v1(
  IN p_before           DATETIME(3),
  IN p_limit            INT UNSIGNED,
  IN p_first_subject_id BIGINT UNSIGNED,
  IN p_last_subject_id  BIGINT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY INVOKER
  COMMENT 'Moves old uses to the archive'
BEGIN
  DECLARE v_subjects_at_most INT UNSIGNED DEFAULT 1000;
  DECLARE v_now DATETIME(3);
  DECLARE v_subject_id, v_until_subject_id, v_next_subject_id, v_last_subject_id, v_archived_no, v_bound_no, v_until_no, v_going BIGINT UNSIGNED;
  DECLARE v_definition_id, v_subjects INT UNSIGNED;
  DECLARE v_moved, v_room INT UNSIGNED DEFAULT 0;
  DECLARE v_is_rolling, v_no_more BOOLEAN DEFAULT FALSE;

  IF p_before IS NULL OR p_before > UTC_TIMESTAMP(3) THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: before: must be an instant that is not in the future';
  END IF;
  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 10000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 10000';
  END IF;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    -- Limits whose oldest use that is not archived may go. Looked at without locks, and once more under the balance's.
    DECLARE c_balances CURSOR FOR
      SELECT b.subject_id, b.definition_id, COALESCE(d.window_anchor = 'rolling', FALSE)
        FROM billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
        STRAIGHT_JOIN billing_entitlement_definitions AS d FORCE INDEX (PRIMARY) ON d.id = b.definition_id
        STRAIGHT_JOIN billing_entitlement_consumptions AS c FORCE INDEX (uq_consumptions_sequence)
          ON c.subject_id = b.subject_id AND c.definition_id = b.definition_id AND c.sequence_no = b.archived_sequence_no + 1
        STRAIGHT_JOIN billing_entitlement_settlements AS s FORCE INDEX (PRIMARY)
          ON s.subject_id = c.subject_id AND s.definition_id = c.definition_id AND s.segment_no = c.segment_no + 1
       WHERE b.subject_id >= COALESCE(p_first_subject_id, 0) AND b.subject_id <= v_until_subject_id AND b.history_no = 0
         AND s.settled_at <= p_before AND (COALESCE(d.window_anchor <> 'rolling', TRUE) OR c.sequence_no <= b.returned_sequence_no)
       ORDER BY b.subject_id, b.definition_id;
    DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_no_more = TRUE;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT COALESCE(p_last_subject_id, MAX(e.id)) INTO v_last_subject_id FROM billable_entities AS e;
    SELECT COUNT(*), MAX(n.id) INTO v_subjects, v_until_subject_id
      FROM (SELECT e.id
              FROM billable_entities AS e FORCE INDEX (PRIMARY)
             WHERE e.id >= COALESCE(p_first_subject_id, 0) AND e.id <= v_last_subject_id
             ORDER BY e.id
             LIMIT v_subjects_at_most) AS n;
    OPEN c_balances;
    COMMIT;

    FETCH c_balances INTO v_subject_id, v_definition_id, v_is_rolling;
    WHILE NOT v_no_more AND v_moved < p_limit DO
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
      START TRANSACTION;
      SELECT b.archived_sequence_no, IF(v_is_rolling, b.returned_sequence_no, b.last_sequence_no) INTO v_archived_no, v_bound_no
        FROM billing_entitlement_balances AS b
       WHERE b.subject_id = v_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0
         FOR UPDATE;
      SET v_now = UTC_TIMESTAMP(3), v_room = p_limit - v_moved;
      -- Numbers, segments and their ends grow together: what may go is a part of the oldest from its beginning.
      SELECT COALESCE(MAX(u.sequence_no), v_archived_no) INTO v_until_no
        FROM (SELECT c.sequence_no, c.segment_no
                FROM billing_entitlement_consumptions AS c FORCE INDEX (uq_consumptions_sequence)
               WHERE c.subject_id = v_subject_id AND c.definition_id = v_definition_id AND c.sequence_no > v_archived_no AND c.sequence_no <= v_bound_no
               ORDER BY c.sequence_no
               LIMIT v_room) AS u
        JOIN billing_entitlement_settlements AS s FORCE INDEX (PRIMARY)
          ON s.subject_id = v_subject_id AND s.definition_id = v_definition_id AND s.segment_no = u.segment_no + 1 AND s.settled_at <= p_before;
      SET v_going = v_until_no - v_archived_no;
      INSERT INTO billing_entitlement_consumption_archive
        (subject_type, subject_id, definition_id, usage_event_key, sequence_no, segment_no, amount, reason_code, occurred_at, posted_at, returns_at,
         consumed_after, left_after, held_after, next_change_at, content_sha256, metadata, archived_at)
      SELECT c.subject_type, c.subject_id, c.definition_id, c.usage_event_key, c.sequence_no, c.segment_no, c.amount, c.reason_code, c.occurred_at, c.posted_at,
             c.returns_at, c.consumed_after, c.left_after, c.held_after, c.next_change_at, c.content_sha256, c.metadata, v_now
        FROM billing_entitlement_consumptions AS c FORCE INDEX (uq_consumptions_sequence)
       WHERE c.subject_id = v_subject_id AND c.definition_id = v_definition_id AND c.sequence_no > v_archived_no
       ORDER BY c.sequence_no
       LIMIT v_going;
      -- By the keys that the archive has now: nothing else can be lost.
      DELETE c
        FROM (SELECT a.usage_event_key
                FROM billing_entitlement_consumption_archive AS a FORCE INDEX (uq_consumption_archive_sequence)
               WHERE a.subject_id = v_subject_id AND a.definition_id = v_definition_id AND a.sequence_no > v_archived_no
               ORDER BY a.sequence_no
               LIMIT v_going) AS m
        STRAIGHT_JOIN billing_entitlement_consumptions AS c FORCE INDEX (PRIMARY)
          ON c.subject_id = v_subject_id AND c.definition_id = v_definition_id AND c.usage_event_key = m.usage_event_key;
      UPDATE billing_entitlement_balances AS b
         SET b.archived_sequence_no = v_until_no
       WHERE b.subject_id = v_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0;
      COMMIT;
      SET v_moved = v_moved + v_going;

      -- Full: the next call looks at this subject once more. Else its limit has no more, and a look-up that found nothing is not the end of the cursor.
      IF v_moved < p_limit THEN
        SET v_no_more = FALSE;
        FETCH c_balances INTO v_subject_id, v_definition_id, v_is_rolling;
      END IF;
    END WHILE;
    CLOSE c_balances;
  END;

  SET v_next_subject_id = CASE WHEN v_moved = p_limit THEN v_subject_id WHEN v_subjects = v_subjects_at_most THEN v_until_subject_id + 1 END;
  SELECT v_moved AS moved, v_next_subject_id AS next_subject_id, v_last_subject_id AS last_subject_id;
END
