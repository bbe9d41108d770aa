-- entitlement_history_v1: returns the figures of one limit of a subject as they stood at each hour or midnight between two instants.
--
-- Called by    GET /api/billing/limitations/{code}/history; people.
-- Transaction  none, unless the balance is due: then entitlement_settle_v1 commits first. Inside an open transaction with something due it
--              refuses (error 1568); there, settle with entitlement_settle_in_tx_v1 first.
-- Locks        none, unless something is due.
-- Idempotency  reads only, but for what the clock made due.
-- Parameters   p_subject_id  billable entity
--              p_code        definition, also an inactive one
--              p_from_at     UTC, included; null: 30 days before p_to_at by day, 24 hours by hour
--              p_to_at       UTC, excluded; null: now, included
--              p_step        hour, day (UTC midnights); null: day
-- Results      a row per step instant that is not after now, in order: point_at, granted_amount, consumed_amount, available_amount. What was posted, or was a
--              boundary, at the very instant is in it. Zeros before anything was granted or used.
-- Errors       VALIDATION_FAILED (more than 1,000 instants, among others), SUBJECT_NOT_FOUND, DEFINITION_NOT_FOUND, in this order; if something is due,
--              SETTLEMENT_STUCK.
-- Cost         per instant: some 20 rows of the settlements and of the uses for each million of them. Once: the holds, and the changes of a count, between the
--              two; and of a rolling quota the uses that had come back by an instant and were not settled until later.
--
-- A use is in the ledger or, where it was archived, there: each statement that reads uses reads both, so that none is missed that is being moved.
--
-- How it works. Numbers of settlements and of uses have no gaps and their instants only grow, so that halving finds the newest of each at an
-- instant. That settlement says what was granted, and its segment's newest use what was consumed and left. Three things the ledger tells late, as a settlement
-- may be made long after its boundary: a window that had ended before the next settlement began anew with what the once-grants had left; a use of a rolling
-- quota had come back at its own time; a hold had expired.
CREATE PROCEDURE entitlement_history_v1(
  IN p_subject_id BIGINT UNSIGNED,
  IN p_code       VARCHAR(64),
  IN p_from_at    DATETIME(3),
  IN p_to_at      DATETIME(3),
  IN p_step       VARCHAR(8)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns how a limit stood over time'
BEGIN
  DECLARE v_now DATETIME(3) DEFAULT UTC_TIMESTAMP(3);
  DECLARE v_step VARCHAR(8) DEFAULT COALESCE(p_step, 'day');
  DECLARE v_from_at, v_to_at, v_first_at, v_last_at DATETIME(3);
  DECLARE v_origin_at DATETIME(3) DEFAULT '1000-01-01 00:00:00.000';
  DECLARE v_step_microseconds, v_first_no, v_points BIGINT;
  DECLARE v_subject_id, v_last_sequence_no, v_first_change_id, v_last_change_id, v_after_no, v_until_no BIGINT UNSIGNED DEFAULT 0;
  DECLARE v_definition_id, v_due, v_segment_no, v_point_no INT UNSIGNED DEFAULT 0;
  DECLARE v_type, v_interval, v_anchor VARCHAR(16);
  DECLARE v_places JSON;
  -- Of a rolling quota: [instant's number, what came back since the instant before it that is not in its settlement].
  DECLARE v_returns JSON DEFAULT JSON_ARRAY();
  DECLARE v_returned BIGINT;
  DECLARE v_no_more BOOLEAN DEFAULT FALSE;

  IF v_step NOT IN ('hour', 'day') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: step: must be hour or day';
  END IF;
  SET v_to_at = COALESCE(p_to_at, v_now + INTERVAL 1000 MICROSECOND);
  SET v_from_at = COALESCE(p_from_at, IF(v_step = 'hour', v_to_at - INTERVAL 24 HOUR, v_to_at - INTERVAL 30 DAY));
  IF v_from_at >= v_to_at THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: from: must be before to';
  END IF;
  -- Hours and midnights by their number since a midnight long ago, as the last of them has no next one in DATETIME.
  SET v_step_microseconds = IF(v_step = 'hour', 3600000000, 86400000000);
  SET v_first_no = (TIMESTAMPDIFF(MICROSECOND, v_origin_at, v_from_at) + v_step_microseconds - 1) DIV v_step_microseconds;
  SET v_points = (TIMESTAMPDIFF(MICROSECOND, v_origin_at, v_to_at) + v_step_microseconds - 1) DIV v_step_microseconds - v_first_no;
  IF v_points > 1000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: to: must be at most 1000 points after from';
  END IF;
  SET v_subject_id = NULL, v_definition_id = NULL;
  SELECT e.id INTO v_subject_id FROM billable_entities AS e WHERE e.id = p_subject_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
  END IF;
  SELECT d.id, d.entitlement_type, d.window_interval, d.window_anchor INTO v_definition_id, v_type, v_interval, v_anchor
    FROM billing_entitlement_definitions AS d
   WHERE d.code = CONVERT(p_code USING ascii);
  IF v_definition_id IS NULL THEN
    SIGNAL SQLSTATE '45102' SET MYSQL_ERRNO = 52102, MESSAGE_TEXT = 'DEFINITION_NOT_FOUND: no entitlement definition has this code';
  END IF;
  SELECT COUNT(*) INTO v_due
    FROM billing_entitlement_balances AS b
   WHERE b.subject_id = p_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0 AND b.next_change_at <= v_now;
  IF v_due > 0 THEN
    CALL entitlement_settle_v1(p_subject_id);
  END IF;

  SET v_points = GREATEST(LEAST(v_points, TIMESTAMPDIFF(MICROSECOND, v_origin_at, v_now) DIV v_step_microseconds + 1 - v_first_no), 0);
  IF v_points > 0 THEN
    SET v_first_at = IF(v_step = 'hour', v_origin_at + INTERVAL v_first_no HOUR, v_origin_at + INTERVAL v_first_no DAY);
    SET v_last_at = IF(v_step = 'hour', v_first_at + INTERVAL v_points - 1 HOUR, v_first_at + INTERVAL v_points - 1 DAY);
  END IF;
  SELECT b.segment_no, b.last_sequence_no INTO v_segment_no, v_last_sequence_no
    FROM billing_entitlement_balances AS b
   WHERE b.subject_id = p_subject_id AND b.definition_id = v_definition_id AND b.history_no = 0;

  -- For each instant the newest settlement, the newest use, and of a rolling quota the newest use that had come back: its interval had passed since. Where a
  -- month is clamped, all of the shorter month has come back by the days that it does not have. Each round halves what is left: 64 at most.
  WITH RECURSIVE
  points (point_no, point_at) AS (
    SELECT 0, v_first_at FROM DUAL WHERE v_points > 0
    UNION ALL
    SELECT p.point_no + 1, IF(v_step = 'hour', p.point_at + INTERVAL 1 HOUR, p.point_at + INTERVAL 1 DAY) FROM points AS p WHERE p.point_no + 1 < v_points),
  clamped (point_no, point_at, come_back_at) AS (
    SELECT p.point_no, p.point_at,
           CASE v_interval WHEN 'day' THEN p.point_at - INTERVAL 1 DAY WHEN 'week' THEN p.point_at - INTERVAL 7 DAY
                           WHEN 'month' THEN p.point_at - INTERVAL 1 MONTH WHEN 'year' THEN p.point_at - INTERVAL 1 YEAR END
      FROM points AS p),
  searches (point_no, point_at, what, until_at, low_no, high_no) AS (
    SELECT p.point_no, p.point_at, 'settlement', p.point_at, CAST(0 AS UNSIGNED), CAST(v_segment_no AS UNSIGNED) FROM points AS p
    UNION ALL
    SELECT p.point_no, p.point_at, 'use', p.point_at, 0, v_last_sequence_no FROM points AS p
    UNION ALL
    SELECT k.point_no, k.point_at, 'return',
           IF(DAYOFMONTH(k.come_back_at) < DAYOFMONTH(k.point_at) AND v_interval IN ('month', 'year'),
              DATE(k.come_back_at) + INTERVAL 1 DAY - INTERVAL 1000 MICROSECOND, k.come_back_at),
           0, v_last_sequence_no
      FROM clamped AS k
     WHERE v_anchor = 'rolling'
    UNION ALL
    SELECT n.point_no, n.point_at, n.what, n.until_at,
           IF(COALESCE(s.settled_at, c.posted_at, a.posted_at) <= n.until_at, n.low_no + (n.high_no - n.low_no + 1) DIV 2, n.low_no),
           IF(COALESCE(s.settled_at, c.posted_at, a.posted_at) <= n.until_at, n.high_no, n.low_no + (n.high_no - n.low_no + 1) DIV 2 - 1)
      FROM searches AS n
      LEFT JOIN billing_entitlement_settlements AS s FORCE INDEX (PRIMARY)
        ON n.what = 'settlement' AND s.subject_id = p_subject_id AND s.definition_id = v_definition_id
       AND s.segment_no = n.low_no + (n.high_no - n.low_no + 1) DIV 2
      LEFT JOIN billing_entitlement_consumptions AS c FORCE INDEX (uq_consumptions_sequence)
        ON n.what <> 'settlement' AND c.subject_id = p_subject_id AND c.definition_id = v_definition_id
       AND c.sequence_no = n.low_no + (n.high_no - n.low_no + 1) DIV 2
      LEFT JOIN billing_entitlement_consumption_archive AS a FORCE INDEX (uq_consumption_archive_sequence)
        ON a.subject_id = p_subject_id AND a.definition_id = v_definition_id
       AND a.sequence_no = IF(n.what <> 'settlement' AND c.sequence_no IS NULL, n.low_no + (n.high_no - n.low_no + 1) DIV 2, NULL)
     WHERE n.low_no < n.high_no)
  SELECT JSON_ARRAYAGG(JSON_ARRAY(f.point_no, f.point_at, f.segment_no, f.use_no, f.return_no)) INTO v_places
    FROM (SELECT n.point_no, n.point_at, MAX(IF(n.what = 'settlement', n.low_no, 0)) AS segment_no, MAX(IF(n.what = 'use', n.low_no, 0)) AS use_no,
                 MAX(IF(n.what = 'return', n.low_no, 0)) AS return_no
            FROM searches AS n
           WHERE n.low_no = n.high_no
           GROUP BY n.point_no, n.point_at) AS f;

  IF v_anchor = 'rolling' THEN
    BEGIN
      -- At most 1,000: one per instant. Those of one settlement go on from each other, so that no use is read twice.
      DECLARE c_returns CURSOR FOR
        SELECT t.point_no, t.after_no, t.return_no
          FROM (SELECT p.point_no, p.return_no,
                       GREATEST(s.returned_sequence_no, COALESCE(LAG(p.return_no) OVER (PARTITION BY p.segment_no ORDER BY p.point_no), 0)) AS after_no
                  FROM JSON_TABLE(v_places, '$[*]' COLUMNS (point_no INT PATH '$[0]', segment_no INT UNSIGNED PATH '$[2]', return_no BIGINT UNSIGNED PATH '$[4]')) AS p
                  JOIN billing_entitlement_settlements AS s FORCE INDEX (PRIMARY)
                    ON s.subject_id = p_subject_id AND s.definition_id = v_definition_id AND s.segment_no = p.segment_no) AS t
         WHERE t.return_no > t.after_no;
      DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_no_more = TRUE;
      OPEN c_returns;
      FETCH c_returns INTO v_point_no, v_after_no, v_until_no;
      WHILE NOT v_no_more DO
        SELECT SUM(u.amount) INTO v_returned
          FROM (SELECT c.amount
                  FROM billing_entitlement_consumptions AS c FORCE INDEX (uq_consumptions_sequence)
                 WHERE c.subject_id = p_subject_id AND c.definition_id = v_definition_id AND c.sequence_no > v_after_no AND c.sequence_no <= v_until_no
                UNION ALL
                SELECT a.amount
                  FROM billing_entitlement_consumption_archive AS a FORCE INDEX (uq_consumption_archive_sequence)
                 WHERE a.subject_id = p_subject_id AND a.definition_id = v_definition_id AND a.sequence_no > v_after_no AND a.sequence_no <= v_until_no) AS u;
        SET v_returns = JSON_ARRAY_APPEND(v_returns, '$', JSON_ARRAY(v_point_no, v_returned));
        FETCH c_returns INTO v_point_no, v_after_no, v_until_no;
      END WHILE;
      CLOSE c_returns;
    END;
  END IF;
  IF v_type = 'capacity' AND v_points > 0 THEN
    CALL entitlement_count_change_at_in_tx_v1(p_subject_id, v_definition_id, v_first_at, v_first_change_id);
    CALL entitlement_count_change_at_in_tx_v1(p_subject_id, v_definition_id, v_last_at, v_last_change_id);
  END IF;

  -- Each join names its index: a table that the statistics call small would otherwise be read whole.
  WITH
  -- A change of a count, and a hold's beginning and its end, count from the first instant that is not before them.
  counts AS (
    SELECT GREATEST((TIMESTAMPDIFF(MICROSECOND, v_first_at, k.posted_at) + v_step_microseconds - 1) DIV v_step_microseconds, 0) AS point_no, MAX(k.id) AS change_id
      FROM billing_resource_changes AS k FORCE INDEX (ix_resource_changes_subject)
     WHERE k.subject_id = p_subject_id AND k.definition_id = v_definition_id AND k.id >= v_first_change_id AND k.id <= v_last_change_id
     GROUP BY point_no),
  holds AS (
    SELECT h.amount, h.created_at, LEAST(h.expires_at, COALESCE(r.resolved_at, h.expires_at)) AS ended_at
      FROM billing_entitlement_holds AS h FORCE INDEX (ix_holds_pending)
      LEFT JOIN billing_entitlement_hold_resolutions AS r FORCE INDEX (uq_hold_resolutions_hold) ON r.hold_id = h.id
     -- None lasts longer than a day.
     WHERE h.subject_id = p_subject_id AND h.definition_id = v_definition_id AND h.status IN ('pending', 'committed', 'released', 'expired')
       AND h.expires_at > v_first_at AND h.expires_at <= v_last_at + INTERVAL 1 DAY),
  held AS (
    SELECT GREATEST((TIMESTAMPDIFF(MICROSECOND, v_first_at, m.moved_at) + v_step_microseconds - 1) DIV v_step_microseconds, 0) AS point_no, SUM(m.amount) AS amount
      FROM (SELECT h.created_at AS moved_at, h.amount FROM holds AS h UNION ALL SELECT h.ended_at, -h.amount FROM holds AS h) AS m
     GROUP BY point_no),
  places AS (
    SELECT p.point_no, p.point_at, p.segment_no, p.use_no, MAX(k.change_id) OVER w AS change_id, COALESCE(SUM(h.amount) OVER w, 0) AS held_amount,
           COALESCE(SUM(b.amount) OVER (PARTITION BY p.segment_no ORDER BY p.point_no), 0) AS returned_amount
      FROM JSON_TABLE(v_places, '$[*]' COLUMNS (
             point_no INT PATH '$[0]', point_at DATETIME(3) PATH '$[1]', segment_no INT UNSIGNED PATH '$[2]', use_no BIGINT UNSIGNED PATH '$[3]')) AS p
      LEFT JOIN counts AS k ON k.point_no = p.point_no
      LEFT JOIN held AS h ON h.point_no = p.point_no
      LEFT JOIN JSON_TABLE(v_returns, '$[*]' COLUMNS (point_no INT PATH '$[0]', amount BIGINT PATH '$[1]')) AS b ON b.point_no = p.point_no
    WINDOW w AS (ORDER BY p.point_no)),
  figures AS (
    SELECT p.point_no, p.point_at, p.held_amount,
           -- A window that had ended: nothing is used of what renews, and the once-grants have what they had left at its end.
           CASE WHEN n.segment_no IS NULL THEN COALESCE(s.granted_amount, 0)
                ELSE s.allotment_amount + s.left_amount - GREATEST(s.allotment_amount - s.allotment_given_amount, 0) + s.overage_amount - n.closed_grants_gave
           END AS granted_amount,
           CASE WHEN n.segment_no IS NOT NULL THEN 0
                ELSE COALESCE(k.consumed_after, c.consumed_after, a.consumed_after, s.consumed_amount, 0) - p.returned_amount
           END AS consumed_amount,
           CASE WHEN v_type = 'capacity' OR v_anchor = 'rolling' OR n.segment_no IS NOT NULL THEN NULL
                ELSE COALESCE(c.left_after, a.left_after, s.left_amount, 0)
           END AS left_amount
      FROM places AS p
      LEFT JOIN billing_entitlement_settlements AS s FORCE INDEX (PRIMARY)
        ON s.subject_id = p_subject_id AND s.definition_id = v_definition_id AND s.segment_no = p.segment_no
      LEFT JOIN billing_entitlement_settlements AS n FORCE INDEX (PRIMARY)
        ON n.subject_id = p_subject_id AND n.definition_id = v_definition_id AND n.segment_no = s.segment_no + 1 AND s.window_end_at <= p.point_at
      LEFT JOIN billing_entitlement_consumptions AS c FORCE INDEX (uq_consumptions_sequence)
        ON c.subject_id = p_subject_id AND c.definition_id = v_definition_id AND c.sequence_no = p.use_no AND c.segment_no = s.segment_no
      LEFT JOIN billing_entitlement_consumption_archive AS a FORCE INDEX (uq_consumption_archive_sequence)
        ON a.subject_id = p_subject_id AND a.definition_id = v_definition_id
       AND a.sequence_no = IF(c.sequence_no IS NULL, p.use_no, NULL) AND a.segment_no = s.segment_no
      LEFT JOIN billing_resource_changes AS k FORCE INDEX (PRIMARY) ON k.id = p.change_id)
  SELECT f.point_at, f.granted_amount, CAST(f.consumed_amount AS SIGNED) AS consumed_amount,
         CAST(GREATEST(COALESCE(f.left_amount, f.granted_amount - f.consumed_amount) - f.held_amount, 0) AS SIGNED) AS available_amount
    FROM figures AS f
   ORDER BY f.point_no;
END
