-- entitlement_consume_in_tx_v1: decides requests to use something, and books those that fit.
--
-- Called by    entitlement_consume_v1; people, inside their own transaction, so that their rows and the use are one commit.
-- Transaction  needs the caller's. READ COMMITTED is best; under REPEATABLE READ it is as right, but waits more.
-- Locks        the balance rows of all items, by subject, then definition; then the grant balances of those that are due.
-- Idempotency  usageEventKey, per subject and code: the same key with the same items gives the first answer again and writes nothing.
-- Parameters   p_requests  JSON array, 1 to 1,000 of
--                {"subjectId": 7, "usageEventKey": "order-81", "items": [{"limitationCode": "ai.credits", "amount": 20}]}
--                An item names a limitationCode or a capability; amount 1 to 2^53-1 (default: the capability's, else 1);
--                reasonCode, up to 64 characters; occurredAt, UTC as YYYY-MM-DD HH:MM:SS.mmm; metadata, an object of up to 2,048 bytes.
--                1 to 100 items a request, each of another definition. A request is all or nothing; requests are independent.
--                requestId is read by nobody here: it names the request in the gateway's log, and so to whoever finds this call in the server's.
--              p_not_accepted  out: how many requests were refused or failed; a caller with rows of its own rolls back unless 0
-- Results      a row per item, by request_no and item_no (both from 1): outcome (accepted, refused, failed), replayed, problem (null, or
--              "CODE: text" as an error would say it), refused_code (the code that refused the request), warning; the item; the
--              consumption; the limitation as this use left it (as it is, where the request was not accepted); and what a refusal tells:
--              retry_after_seconds (null where time does not help), used_amount (consumed and held), over_by_amount.
-- Errors       VALIDATION_FAILED, for p_requests as a whole; SETTLEMENT_STUCK. What is wrong with one request is its outcome, not an error.
-- Cost         per call: six statements and one outbox row. Per item: one ledger row; per balance: one update. Nothing grows with
--              the use that went before, or with the number of grants. A request that is decided alone costs some statements more. Where uses of
--              one of the limits were archived, one statement more, which looks for the keys there.
--
-- Each join that locks names its index: a table of few rows is otherwise scanned, and a scan waits for rows of others. A statement
-- costs 0.1 to 0.2 ms however few its rows are, so what is wanted of the same rows is asked for at once.
--
-- A request touches one subject. A subject all of whose requests fit together, and none of whose keys was seen before, is accepted
-- set-based; the requests of any other subject are decided one by one in order of arrival. Both ways give the same result.
--
-- The key of an archived use is known as any is. The archive is looked into after the ledger, by a read that locks and so sees what is committed: a use that was
-- being moved is found where it was or where it is. Who has nothing there pays nothing: the archive is in no statement that he needs.
CREATE PROCEDURE entitlement_consume_in_tx_v1(
  IN  p_requests     JSON,
  OUT p_not_accepted INT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Decides and books uses inside the caller''s transaction'
BEGIN
  DECLARE v_now, v_next_change_at DATETIME(3);
  DECLARE v_items, v_by_request, v_chosen, v_changes, v_archived JSON;
  -- Requests that were not simply accepted, by their number: [outcome, problem, definition that refused, its granted, consumed, left and
  -- held amount when it did, uses that are archived]. Later requests of the call may move these. Looked up by number: a join with them costs the square.
  DECLARE v_exceptions JSON DEFAULT JSON_OBJECT();
  -- Their text, as it grows.
  DECLARE v_exceptions_text LONGTEXT CHARACTER SET utf8mb4 DEFAULT '';
  -- Subjects whose requests are decided one by one.
  DECLARE v_slow JSON;
  DECLARE v_settled, v_requests, v_request_no, v_boundaries INT UNSIGNED;
  DECLARE v_is_slow, v_is_unopened, v_has_capacities, v_may_be_archived, v_no_more_due BOOLEAN;
  DECLARE v_subject_id BIGINT UNSIGNED;
  DECLARE v_definition_id, v_refused_definition_id INT UNSIGNED;
  DECLARE v_items_seen, v_items_same, v_archived_seen, v_archived_same, v_twin_item_no INT UNSIGNED;
  DECLARE v_has_twins BOOLEAN;
  DECLARE v_granted, v_consumed, v_left, v_held BIGINT;
  DECLARE v_problem VARCHAR(128);
  DECLARE v_outcome VARCHAR(8);

  SET p_not_accepted = 0;
  SET v_requests = IF(JSON_TYPE(p_requests) = 'ARRAY', JSON_LENGTH(p_requests), 0);
  IF v_requests NOT BETWEEN 1 AND 1000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: requests: must be an array of 1 to 1000 requests';
  END IF;

  -- Each item with what its names mean, and the first thing that is wrong with it:
  -- [request_no, item_no, subject, definition, amount, key, reason, occurred, metadata, sha256 of the request's items, problem].
  SELECT JSON_ARRAYAGG(JSON_ARRAY(
           r.request_no, r.item_no, r.subject_id, d.id, CAST(r.amount AS SIGNED), r.usage_event_key,
           COALESCE(r.reason_code, r.capability_reason), r.occurred_at, r.metadata, IF(r.item_count <= 100, SHA2(r.items, 256), NULL),
           CASE
             WHEN r.usage_event_key IS NULL AND NOT r.has_key THEN 'IDEMPOTENCY_KEY_REQUIRED: give a usageEventKey or the header Idempotency-Key'
             WHEN r.usage_event_key IS NULL OR NOT REGEXP_LIKE(r.usage_event_key, '^[!-~]{1,128}\\z')
               THEN 'VALIDATION_FAILED: usageEventKey: must be 1 to 128 visible ASCII characters'
             WHEN e.id IS NULL THEN 'SUBJECT_NOT_FOUND: no billable entity has this id'
             WHEN r.item_count NOT BETWEEN 1 AND 100 THEN 'VALIDATION_FAILED: items: must be 1 to 100 items'
             WHEN (r.capability IS NULL) = (r.code IS NULL) THEN CONCAT('VALIDATION_FAILED: items[', r.item_no - 1, ']: must name a capability or a limitationCode, not both')
             WHEN r.capability IS NOT NULL AND r.definition_id IS NULL THEN 'CAPABILITY_NOT_FOUND: no capability has this name'
             WHEN d.id IS NULL THEN 'DEFINITION_NOT_FOUND: no entitlement definition has this code'
             WHEN NOT d.is_active THEN 'DEFINITION_INACTIVE: this entitlement definition is not active'
             WHEN d.entitlement_type = 'state' THEN 'NOT_CONSUMABLE: a state is on or off, and is not used up'
             WHEN JSON_TYPE(r.amount) NOT IN ('INTEGER', 'UNSIGNED INTEGER') OR NOT r.amount BETWEEN 1 AND 9007199254740991
               THEN CONCAT('VALIDATION_FAILED: items[', r.item_no - 1, '].amount: must be a whole number from 1 to 9007199254740991')
             WHEN r.has_reason AND (r.reason_code IS NULL OR NOT REGEXP_LIKE(r.reason_code, '^[!-~]{1,64}\\z'))
               THEN CONCAT('VALIDATION_FAILED: items[', r.item_no - 1, '].reasonCode: must be 1 to 64 visible ASCII characters')
             WHEN r.has_occurred AND r.occurred_at IS NULL
               THEN CONCAT('VALIDATION_FAILED: items[', r.item_no - 1, '].occurredAt: must be an instant')
             WHEN JSON_TYPE(r.metadata) NOT IN ('OBJECT', 'NULL') OR JSON_STORAGE_SIZE(r.metadata) > 2048
               THEN CONCAT('VALIDATION_FAILED: items[', r.item_no - 1, '].metadata: must be an object of up to 2048 bytes')
           END))
    INTO v_items
    FROM (SELECT j.request_no, COALESCE(j.item_no, 1) AS item_no, j.subject_id, j.usage_event_key, j.has_key, j.items,
                 COALESCE(JSON_LENGTH(j.items), 0) AS item_count, j.capability, j.code,
                 COALESCE(c.definition_id, n.id) AS definition_id, COALESCE(j.amount, CAST(COALESCE(c.amount, 1) AS JSON)) AS amount,
                 j.reason_code, j.has_reason, c.reason_code AS capability_reason, j.occurred_at, j.has_occurred, j.metadata
            FROM JSON_TABLE(p_requests, '$[*]' COLUMNS (
                   request_no FOR ORDINALITY,
                   subject_id BIGINT UNSIGNED PATH '$.subjectId',
                   usage_event_key VARCHAR(256) PATH '$.usageEventKey',
                   has_key INT EXISTS PATH '$.usageEventKey',
                   items JSON PATH '$.items',
                   NESTED PATH '$.items[*]' COLUMNS (
                     item_no FOR ORDINALITY,
                     capability VARCHAR(64) PATH '$.capability',
                     code VARCHAR(64) PATH '$.limitationCode',
                     amount JSON PATH '$.amount',
                     reason_code VARCHAR(128) PATH '$.reasonCode',
                     has_reason INT EXISTS PATH '$.reasonCode',
                     occurred_at DATETIME(3) PATH '$.occurredAt',
                     has_occurred INT EXISTS PATH '$.occurredAt',
                     metadata JSON PATH '$.metadata' DEFAULT 'null' ON EMPTY))) AS j
            LEFT JOIN billing_capabilities AS c ON c.capability = CONVERT(j.capability USING ascii)
            LEFT JOIN billing_entitlement_definitions AS n ON n.code = CONVERT(j.code USING ascii)) AS r
    LEFT JOIN billable_entities AS e ON e.id = r.subject_id
    LEFT JOIN billing_entitlement_definitions AS d ON d.id = r.definition_id;

  -- Locks, in one order whatever the order of the items: a sorted derived table drives the join. Under them: which subjects are not
  -- simple, what would be told to readers, and whether anything must be settled or opened first. If so, all is looked at once more.
  SET v_settled = 0;
  classify: LOOP
    SELECT JSON_ARRAYAGG(IF(s.is_slow, s.subject_id, NULL)), COALESCE(MAX(s.is_slow), FALSE), MAX(s.is_unopened), MIN(s.next_change_at), MAX(s.has_capacities),
           MAX(s.may_be_archived), JSON_ARRAYAGG(JSON_OBJECT('subjectId', s.subject_id, 'codes', s.codes))
      INTO v_slow, v_is_slow, v_is_unopened, v_next_change_at, v_has_capacities, v_may_be_archived, v_changes
      FROM (SELECT g.subject_id, MIN(g.next_change_at) AS next_change_at, MAX(g.is_unopened) AS is_unopened, MAX(g.is_capacity) AS has_capacities,
                   MAX(g.archived_or_problem > 0) AS may_be_archived, JSON_ARRAYAGG(g.code) AS codes,
                   MAX(g.archived_or_problem = 2 OR g.seen > 0 OR g.keys_used < g.uses OR g.is_backdated
                       OR (NOT g.is_soft AND g.amount > g.available) OR g.consumed + g.amount > 9007199254740991) AS is_slow
              FROM (SELECT i.subject_id, i.definition_id, MAX(d.code) AS code, COALESCE(MAX(d.entitlement_type = 'capacity'), FALSE) AS is_capacity,
                           COUNT(*) AS uses, COUNT(DISTINCT i.usage_event_key) AS keys_used, SUM(i.amount) AS amount,
                           -- 2: the balance of what has a problem is not asked, so it may have archived uses, too.
                           MAX(IF(i.problem IS NULL, COALESCE(b.archived_sequence_no > 0, 0), 2)) AS archived_or_problem,
                           COUNT(c.sequence_no) + COUNT(rc.id) AS seen, MAX(i.occurred_at IS NOT NULL) AS is_backdated,
                           COALESCE(MAX(d.enforcement_mode = 'soft_warn'), FALSE) AS is_soft,
                           COALESCE(MAX(b.available_amount), 0) AS available, COALESCE(MAX(b.consumed_amount), 0) AS consumed,
                           MIN(b.next_change_at) AS next_change_at,
                           MAX(i.problem IS NULL) AND MAX(b.subject_id) IS NULL AND COALESCE(MAX(d.enforcement_mode = 'soft_warn'), FALSE) AS is_unopened
                      FROM (SELECT j.subject_id, j.definition_id, j.amount, j.usage_event_key, j.occurred_at, j.problem
                              FROM JSON_TABLE(v_items, '$[*]' COLUMNS (
                                     subject_id BIGINT UNSIGNED PATH '$[2]', definition_id INT UNSIGNED PATH '$[3]', amount BIGINT PATH '$[4]',
                                     usage_event_key VARCHAR(256) PATH '$[5]', occurred_at DATETIME(3) PATH '$[7]', problem VARCHAR(128) PATH '$[10]')) AS j
                             ORDER BY j.subject_id, j.definition_id
                             LIMIT 100000) AS i
                      LEFT JOIN billing_entitlement_definitions AS d ON d.id = i.definition_id
                      LEFT JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
                        ON i.problem IS NULL AND b.subject_id = i.subject_id AND b.definition_id = i.definition_id AND b.history_no = 0
                      LEFT JOIN billing_entitlement_consumptions AS c FORCE INDEX (PRIMARY)
                        ON c.subject_id = i.subject_id AND c.definition_id = i.definition_id AND c.usage_event_key = CONVERT(i.usage_event_key USING ascii)
                      LEFT JOIN billing_resource_changes AS rc FORCE INDEX (uq_resource_changes_key)
                        ON d.entitlement_type = 'capacity' AND rc.subject_id = i.subject_id AND rc.definition_id = i.definition_id
                       AND rc.usage_event_key = CONVERT(i.usage_event_key USING ascii)
                     GROUP BY i.subject_id, i.definition_id
                       FOR UPDATE OF b FOR SHARE OF c, rc) AS g
             GROUP BY g.subject_id) AS s;
    IF v_settled = 0 THEN
      SET v_now = UTC_TIMESTAMP(3);
    END IF;
    IF v_settled > 0 OR NOT (v_is_unopened OR COALESCE(v_next_change_at <= v_now, FALSE)) THEN
      LEAVE classify;
    END IF;

    BEGIN
      DECLARE c_due CURSOR FOR
        SELECT DISTINCT i.subject_id, i.definition_id
          FROM JSON_TABLE(v_items, '$[*]' COLUMNS (
                 subject_id BIGINT UNSIGNED PATH '$[2]', definition_id INT UNSIGNED PATH '$[3]', problem VARCHAR(128) PATH '$[10]')) AS i
          JOIN billing_entitlement_definitions AS d ON d.id = i.definition_id
          LEFT JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
            ON b.subject_id = i.subject_id AND b.definition_id = i.definition_id AND b.history_no = 0
         WHERE i.problem IS NULL AND IF(b.subject_id IS NULL, d.enforcement_mode = 'soft_warn', b.next_change_at <= v_now)
         ORDER BY i.subject_id, i.definition_id;
      DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_no_more_due = TRUE;
      SET v_no_more_due = FALSE;
      OPEN c_due;
      FETCH c_due INTO v_subject_id, v_definition_id;
      WHILE NOT v_no_more_due DO
        CALL entitlement_settle_in_tx_v1(v_subject_id, v_definition_id, v_now, 'opened', v_boundaries);
        -- A look-up in there that found nothing is not the end of the cursor.
        SET v_settled = v_settled + 1, v_no_more_due = FALSE;
        FETCH c_due INTO v_subject_id, v_definition_id;
      END WHILE;
      CLOSE c_due;
    END;
  END LOOP;

  IF v_may_be_archived THEN
    SELECT JSON_ARRAYAGG(i.subject_id) INTO v_chosen
      FROM JSON_TABLE(v_items, '$[*]' COLUMNS (
             subject_id BIGINT UNSIGNED PATH '$[2]', definition_id INT UNSIGNED PATH '$[3]', usage_event_key VARCHAR(256) PATH '$[5]')) AS i
      STRAIGHT_JOIN billing_entitlement_consumption_archive AS a FORCE INDEX (PRIMARY)
        ON a.subject_id = i.subject_id AND a.definition_id = i.definition_id AND a.usage_event_key = CONVERT(i.usage_event_key USING ascii)
       FOR SHARE OF a;
    IF v_chosen IS NOT NULL THEN
      SET v_slow = JSON_MERGE_PRESERVE(v_slow, v_chosen), v_is_slow = TRUE;
    END IF;
  END IF;

  IF NOT v_is_slow THEN
    CALL entitlement_post_in_tx_v1(v_items, 'consume', v_has_capacities, v_now);
  ELSE
    -- The simple subjects at once …
    SELECT JSON_ARRAYAGG(i.item) INTO v_chosen
      FROM JSON_TABLE(v_items, '$[*]' COLUMNS (item JSON PATH '$', subject_id BIGINT UNSIGNED PATH '$[2]')) AS i
     WHERE i.subject_id IS NOT NULL AND NOT i.subject_id MEMBER OF (v_slow);
    IF v_chosen IS NOT NULL THEN
      CALL entitlement_post_in_tx_v1(v_chosen, 'consume', v_has_capacities, v_now);
    END IF;

    -- … and the others one by one, in order of arrival. Their items are parted once: looking for each request's among all of them would
    -- cost the square of their number.
    SELECT JSON_OBJECTAGG(r.request_no, r.items) INTO v_by_request
      FROM (SELECT i.request_no, JSON_ARRAYAGG(i.item) AS items
              FROM JSON_TABLE(v_items, '$[*]' COLUMNS (item JSON PATH '$', request_no INT PATH '$[0]', subject_id BIGINT UNSIGNED PATH '$[2]')) AS i
             WHERE i.subject_id IS NULL OR i.subject_id MEMBER OF (v_slow)
             GROUP BY i.request_no) AS r;
    SET v_request_no = 0;
    WHILE v_request_no < v_requests DO
      SET v_request_no = v_request_no + 1, v_problem = NULL, v_outcome = NULL, v_refused_definition_id = NULL,
          v_granted = NULL, v_consumed = NULL, v_left = NULL, v_held = NULL, v_archived = NULL,
          v_chosen = JSON_EXTRACT(v_by_request, CONCAT('$."', v_request_no, '"'));

      IF v_chosen IS NOT NULL THEN
        SELECT COUNT(c.sequence_no) + COUNT(rc.id), COALESCE(SUM(COALESCE(c.content_sha256, rc.content_sha256) = UNHEX(i.content_sha256)), 0), MIN(i.problem),
               COUNT(*) > COUNT(DISTINCT i.definition_id)
          INTO v_items_seen, v_items_same, v_problem, v_has_twins
          FROM JSON_TABLE(v_chosen, '$[*]' COLUMNS (
                 subject_id BIGINT UNSIGNED PATH '$[2]', definition_id INT UNSIGNED PATH '$[3]', usage_event_key VARCHAR(256) PATH '$[5]',
                 content_sha256 CHAR(64) PATH '$[9]', problem VARCHAR(128) PATH '$[10]')) AS i
          LEFT JOIN billing_entitlement_consumptions AS c FORCE INDEX (PRIMARY)
            ON c.subject_id = i.subject_id AND c.definition_id = i.definition_id AND c.usage_event_key = CONVERT(i.usage_event_key USING ascii)
          LEFT JOIN billing_resource_changes AS rc FORCE INDEX (uq_resource_changes_key)
            ON rc.subject_id = i.subject_id AND rc.definition_id = i.definition_id AND rc.usage_event_key = CONVERT(i.usage_event_key USING ascii)
           FOR SHARE OF c, rc;
        IF v_may_be_archived THEN
          SELECT COUNT(a.sequence_no), COALESCE(SUM(a.content_sha256 = UNHEX(i.content_sha256)), 0),
                 JSON_ARRAYAGG(JSON_ARRAY(i.item_no, a.sequence_no, a.segment_no, a.reason_code, a.occurred_at, a.posted_at,
                                          a.consumed_after, a.left_after, a.held_after, a.next_change_at))
            INTO v_archived_seen, v_archived_same, v_archived
            FROM JSON_TABLE(v_chosen, '$[*]' COLUMNS (
                   item_no INT PATH '$[1]', subject_id BIGINT UNSIGNED PATH '$[2]', definition_id INT UNSIGNED PATH '$[3]', usage_event_key VARCHAR(256) PATH '$[5]',
                   content_sha256 CHAR(64) PATH '$[9]')) AS i
            LEFT JOIN billing_entitlement_consumption_archive AS a FORCE INDEX (PRIMARY)
              ON a.subject_id = i.subject_id AND a.definition_id = i.definition_id AND a.usage_event_key = CONVERT(i.usage_event_key USING ascii)
             FOR SHARE OF a;
          SET v_items_seen = v_items_seen + v_archived_seen, v_items_same = v_items_same + v_archived_same;
        END IF;

        -- A replay first: what has been answered stays answered, also when the definition is not active any more.
        IF v_items_seen > 0 AND v_items_same = JSON_LENGTH(v_chosen) THEN
          SET v_outcome = 'replayed', v_problem = NULL;
        ELSEIF v_problem IS NOT NULL THEN
          -- The problem of the first item that has one, not the first in the alphabet.
          SELECT i.problem INTO v_problem
            FROM JSON_TABLE(v_chosen, '$[*]' COLUMNS (item_no INT PATH '$[1]', problem VARCHAR(128) PATH '$[10]')) AS i
           WHERE i.problem IS NOT NULL ORDER BY i.item_no LIMIT 1;
          SET v_outcome = 'failed';
        ELSEIF v_has_twins THEN
          SELECT MIN(t.item_no) INTO v_twin_item_no
            FROM (SELECT MIN(i.item_no) AS item_no
                    FROM JSON_TABLE(v_chosen, '$[*]' COLUMNS (item_no INT PATH '$[1]', definition_id INT UNSIGNED PATH '$[3]')) AS i
                   GROUP BY i.definition_id HAVING COUNT(*) > 1) AS t;
          SET v_outcome = 'failed', v_problem = CONCAT('VALIDATION_FAILED: items[', v_twin_item_no - 1, ']: another item of this request uses the same limit');
        ELSEIF v_items_seen > 0 THEN
          SET v_outcome = 'failed', v_problem = 'IDEMPOTENCY_CONFLICT: this key was used for another use of this limit';
        ELSE
          SELECT i.definition_id,
                 IF(NOT COALESCE(i.occurred_at >= COALESCE(b.window_start_at, i.occurred_at) AND i.occurred_at < COALESCE(b.window_end_at, '9999-12-31')
                                 AND i.occurred_at <= v_now + INTERVAL 5 MINUTE, TRUE),
                    'OCCURRED_AT_OUTSIDE_WINDOW: occurredAt must lie in the current window, and at most 5 minutes ahead',
                    CONCAT(IF(d.entitlement_type = 'capacity', 'BILLING_CAPACITY_LOCKED: ', 'BILLING_LIMIT_EXCEEDED: '), d.code, ' does not leave room for this use')),
                 b.granted_amount, b.consumed_amount, b.left_amount, b.held_amount
            INTO v_refused_definition_id, v_problem, v_granted, v_consumed, v_left, v_held
            FROM JSON_TABLE(v_chosen, '$[*]' COLUMNS (
                   item_no INT PATH '$[1]', subject_id BIGINT UNSIGNED PATH '$[2]', definition_id INT UNSIGNED PATH '$[3]', amount BIGINT PATH '$[4]',
                   occurred_at DATETIME(3) PATH '$[7]')) AS i
            JOIN billing_entitlement_definitions AS d ON d.id = i.definition_id
            LEFT JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY) ON b.subject_id = i.subject_id AND b.definition_id = i.definition_id AND b.history_no = 0
           WHERE NOT COALESCE(i.occurred_at >= COALESCE(b.window_start_at, i.occurred_at) AND i.occurred_at < COALESCE(b.window_end_at, '9999-12-31')
                              AND i.occurred_at <= v_now + INTERVAL 5 MINUTE, TRUE)
              OR (d.enforcement_mode <> 'soft_warn' AND i.amount > COALESCE(b.available_amount, 0))
              OR COALESCE(b.consumed_amount, 0) + i.amount > 9007199254740991
           ORDER BY i.item_no LIMIT 1
             FOR SHARE OF b;
          IF v_problem IS NULL THEN
            CALL entitlement_post_in_tx_v1(v_chosen, 'consume', v_has_capacities, v_now);
          ELSE
            SET v_outcome = IF(v_problem LIKE 'BILLING_%', 'refused', 'failed');
          END IF;
        END IF;

        IF v_outcome IS NOT NULL THEN
          SET v_exceptions_text = CONCAT(v_exceptions_text, IF(v_exceptions_text = '', '{', ','), '"', v_request_no, '":', JSON_ARRAY(
            v_outcome, v_problem, v_refused_definition_id, v_granted, v_consumed, v_left, v_held, IF(v_outcome = 'replayed', v_archived, NULL)));
          SET p_not_accepted = p_not_accepted + (v_outcome <> 'replayed');
        END IF;
      END IF;
    END WHILE;

    IF v_exceptions_text <> '' THEN
      SET v_exceptions = CONCAT(v_exceptions_text, '}');
    END IF;
    -- What those used that were accepted.
    SELECT JSON_ARRAYAGG(JSON_OBJECT('subjectId', t.subject_id, 'codes', t.codes)) INTO v_changes
      FROM (SELECT u.subject_id, JSON_ARRAYAGG(u.code) AS codes
              FROM (SELECT DISTINCT i.subject_id, d.code
                      FROM JSON_TABLE(v_items, '$[*]' COLUMNS (
                             request_no INT PATH '$[0]', subject_id BIGINT UNSIGNED PATH '$[2]', definition_id INT UNSIGNED PATH '$[3]')) AS i
                      STRAIGHT_JOIN billing_entitlement_definitions AS d ON d.id = i.definition_id
                      LEFT JOIN JSON_TABLE(JSON_EXTRACT(v_exceptions, CONCAT('$."', i.request_no, '"')), '$' COLUMNS (outcome VARCHAR(8) PATH '$[0]')) AS x ON TRUE
                     WHERE x.outcome IS NULL) AS u
             GROUP BY u.subject_id) AS t;
  END IF;

  -- One outbox row names everything that this call used.
  IF v_changes IS NOT NULL THEN
    INSERT INTO billing_limit_changes (change_source, changes, changed_at) VALUES ('consumption', v_changes, v_now);
  END IF;

  SELECT f.request_no, f.item_no, f.outcome, f.replayed, f.problem, f.refused_code, IF(f.outcome = 'accepted' AND f.left_amount < 0, 'SOFT_LIMIT_EXCEEDED', NULL) AS warning,
         f.subject_id, f.usage_event_key, f.amount, f.reason_code, f.sequence_no, f.occurred_at, f.posted_at, v_now AS generated_at,
         f.code, f.name, f.entitlement_type, f.enforcement_mode, f.unit, f.scale, f.window_interval, f.window_anchor,
         f.granted_amount, f.consumed_amount, f.held_amount, f.granted_amount - f.consumed_amount AS effective_amount,
         GREATEST(f.left_amount - f.held_amount, 0) AS available_amount,
         IF(f.entitlement_type IN ('capacity', 'metered_quota'), f.granted_amount, NULL) AS hard_limit_amount,
         f.over_limit,
         IF(f.over_limit AND f.enforcement_mode = 'hard_lock_resource' OR f.entitlement_type = 'state' AND f.granted_amount = 0, f.lock_label, 'none') AS lock_state,
         f.next_change_at, f.window_start_at, f.window_end_at, f.last_recomputed_at,
         -- Where time helps: at the window's end, or when the next use of a rolling window comes back.
         (GREATEST(TIMESTAMPDIFF(MICROSECOND, v_now, IF(f.window_anchor = 'rolling', f.next_change_at, NULLIF(f.window_end_at, '9999-12-31 23:59:59.999'))), 0) + 999999)
           DIV 1000000 AS retry_after_seconds,
         f.consumed_amount + f.held_amount AS used_amount, GREATEST(f.amount - f.left_amount + f.held_amount, 0) AS over_by_amount
    FROM (SELECT i.request_no, i.item_no,
                 CASE WHEN x.outcome IN ('refused', 'failed') THEN x.outcome ELSE 'accepted' END AS outcome,
                 COALESCE(x.outcome = 'replayed', FALSE) AS replayed, x.problem, dx.code AS refused_code,
                 i.subject_id, i.usage_event_key, i.amount, COALESCE(c.reason_code, rc.reason_code, x.reason_code, i.reason_code) AS reason_code,
                 COALESCE(c.sequence_no, x.sequence_no) AS sequence_no, COALESCE(c.occurred_at, rc.occurred_at, x.occurred_at) AS occurred_at,
                 COALESCE(c.posted_at, rc.posted_at, x.posted_at) AS posted_at,
                 d.code, d.name, d.entitlement_type, d.enforcement_mode, d.unit, d.scale, d.window_interval, d.window_anchor, d.lock_label,
                 COALESCE(s.granted_amount, IF(x.definition_id = d.id, x.granted_amount, NULL), b.granted_amount, 0) AS granted_amount,
                 COALESCE(c.consumed_after, rc.consumed_after, x.consumed_after, IF(x.definition_id = d.id, x.consumed_amount, NULL), b.consumed_amount, 0) AS consumed_amount,
                 COALESCE(c.left_after, rc.left_after, x.left_after, IF(x.definition_id = d.id, x.left_amount, NULL), b.left_amount, 0) AS left_amount,
                 COALESCE(c.held_after, rc.held_after, x.held_after, IF(x.definition_id = d.id, x.held_amount, NULL), b.held_amount, 0) AS held_amount,
                 COALESCE(COALESCE(c.left_after, rc.left_after, x.left_after) < 0
                            OR COALESCE(s.allotment_given_amount, b.allotment_given_amount) > COALESCE(s.allotment_amount, b.allotment_amount),
                          b.over_limit, FALSE) AS over_limit,
                 IF(COALESCE(c.segment_no, rc.segment_no, x.segment_no) IS NULL, b.next_change_at,
                    COALESCE(c.next_change_at, rc.next_change_at, x.next_change_at)) AS next_change_at,
                 COALESCE(s.window_start_at, b.window_start_at) AS window_start_at,
                 COALESCE(s.window_end_at, b.window_end_at) AS window_end_at,
                 COALESCE(s.settled_at, b.settled_at) AS last_recomputed_at
            FROM JSON_TABLE(v_items, '$[*]' COLUMNS (
                   request_no INT PATH '$[0]', item_no INT PATH '$[1]', subject_id BIGINT UNSIGNED PATH '$[2]', definition_id INT UNSIGNED PATH '$[3]',
                   amount BIGINT PATH '$[4]', usage_event_key VARCHAR(256) PATH '$[5]', reason_code VARCHAR(64) PATH '$[6]')) AS i
            LEFT JOIN JSON_TABLE(JSON_EXTRACT(v_exceptions, CONCAT('$."', i.request_no, '"')), '$' COLUMNS (
                   outcome VARCHAR(8) PATH '$[0]', problem VARCHAR(128) PATH '$[1]', definition_id INT UNSIGNED PATH '$[2]',
                   granted_amount BIGINT PATH '$[3]', consumed_amount BIGINT PATH '$[4]', left_amount BIGINT PATH '$[5]', held_amount BIGINT PATH '$[6]',
                   NESTED PATH '$[7][*]' COLUMNS (
                     item_no INT PATH '$[0]', sequence_no BIGINT UNSIGNED PATH '$[1]', segment_no INT UNSIGNED PATH '$[2]', reason_code VARCHAR(64) PATH '$[3]',
                     occurred_at DATETIME(3) PATH '$[4]', posted_at DATETIME(3) PATH '$[5]', consumed_after BIGINT PATH '$[6]', left_after BIGINT PATH '$[7]',
                     held_after BIGINT PATH '$[8]', next_change_at DATETIME(3) PATH '$[9]'))) AS x
              ON COALESCE(x.item_no = i.item_no, TRUE)
            LEFT JOIN billing_entitlement_definitions AS dx ON dx.id = x.definition_id
            LEFT JOIN billing_entitlement_definitions AS d ON d.id = i.definition_id
            LEFT JOIN billing_entitlement_consumptions AS c FORCE INDEX (PRIMARY)
              ON COALESCE(x.outcome, 'replayed') = 'replayed' AND c.subject_id = i.subject_id AND c.definition_id = i.definition_id
             AND c.usage_event_key = CONVERT(i.usage_event_key USING ascii)
            LEFT JOIN billing_resource_changes AS rc
              ON d.entitlement_type = 'capacity' AND COALESCE(x.outcome, 'replayed') = 'replayed' AND rc.subject_id = i.subject_id
             AND rc.definition_id = i.definition_id AND rc.usage_event_key = CONVERT(i.usage_event_key USING ascii)
            -- A use of this call is of the open segment, which the balance tells as well.
            LEFT JOIN billing_entitlement_settlements AS s
              ON x.outcome = 'replayed' AND s.subject_id = i.subject_id AND s.definition_id = i.definition_id
             AND s.segment_no = COALESCE(c.segment_no, rc.segment_no, x.segment_no)
            LEFT JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
              ON b.subject_id = i.subject_id AND b.definition_id = i.definition_id AND b.history_no = 0) AS f
   ORDER BY f.request_no, f.item_no;
END
