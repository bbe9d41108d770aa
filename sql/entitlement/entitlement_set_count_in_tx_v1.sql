-- entitlement_set_count_in_tx_v1: writes how many of a capacity's resource a subject has, from the resource's own count.
--
-- Called by    a domain adapter, in the transaction that changes the resource; entitlement_recount_v1.
-- Transaction  needs the caller's.
-- Locks        the balance row, its grant balances if it is due, then the snapshot.
-- Idempotency  absolute: the same count again writes nothing.
-- Parameters   p_subject_id     billable entity
--              p_resource_code  the resource that the definition counts
--              p_count          0 to 2^53-1
--              p_change_kind    adapter, repair_recount
--              p_definition_id  out: the definition
-- Results      none.
-- Errors       VALIDATION_FAILED, SUBJECT_NOT_FOUND, DEFINITION_NOT_FOUND.
-- Cost         one change, one snapshot, one balance, one outbox row; one more where a lock came or went.
CREATE PROCEDURE entitlement_set_count_in_tx_v1(
  IN  p_subject_id    BIGINT UNSIGNED,
  IN  p_resource_code VARCHAR(64),
  IN  p_count         BIGINT,
  IN  p_change_kind   VARCHAR(16),
  OUT p_definition_id INT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Writes the count of a resource inside the caller''s transaction'
BEGIN
  DECLARE v_now DATETIME(3);
  DECLARE v_subject_id, v_locked_id BIGINT UNSIGNED;
  DECLARE v_code VARCHAR(64);
  DECLARE v_count BIGINT;
  DECLARE v_boundaries INT UNSIGNED;

  SET p_definition_id = NULL;
  IF p_count IS NULL OR p_count NOT BETWEEN 0 AND 9007199254740991 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: count: must be a whole number from 0 to 9007199254740991';
  END IF;
  IF p_change_kind IS NULL OR p_change_kind NOT IN ('adapter', 'repair_recount') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: changeKind: must be adapter or repair_recount';
  END IF;
  SELECT e.id INTO v_subject_id FROM billable_entities AS e WHERE e.id = p_subject_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
  END IF;
  SELECT d.id, d.code INTO p_definition_id, v_code
    FROM billing_entitlement_definitions AS d
   WHERE d.resource_code = CONVERT(p_resource_code USING ascii);
  IF p_definition_id IS NULL THEN
    SIGNAL SQLSTATE '45102' SET MYSQL_ERRNO = 52102, MESSAGE_TEXT = 'DEFINITION_NOT_FOUND: no entitlement definition counts this resource';
  END IF;

  SELECT b.subject_id INTO v_locked_id
    FROM billing_entitlement_balances AS b
   WHERE b.subject_id = p_subject_id AND b.definition_id = p_definition_id AND b.history_no = 0
     FOR UPDATE;
  SET v_now = UTC_TIMESTAMP(3);
  CALL entitlement_settle_in_tx_v1(p_subject_id, p_definition_id, v_now, 'opened', v_boundaries);

  SELECT s.resource_count INTO v_count
    FROM billing_resource_snapshots AS s
   WHERE s.subject_id = p_subject_id AND s.definition_id = p_definition_id
     FOR UPDATE;
  IF NOT v_count <=> p_count THEN
    INSERT INTO billing_resource_snapshots (subject_id, definition_id, resource_count, counted_at, counted_by)
    VALUES (p_subject_id, p_definition_id, p_count, v_now, p_change_kind)
    ON DUPLICATE KEY UPDATE resource_count = p_count, counted_at = v_now, counted_by = p_change_kind;
    UPDATE billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
       SET b.segment_start_consumed_amount = p_count, b.segment_start_left_amount = b.granted_amount - p_count
     WHERE b.subject_id = p_subject_id AND b.definition_id = p_definition_id AND b.history_no = 0;
    INSERT INTO billing_resource_changes
      (subject_id, definition_id, change_kind, amount, occurred_at, posted_at, segment_no, consumed_after, left_after, held_after, next_change_at)
    SELECT p_subject_id, p_definition_id, p_change_kind, p_count - COALESCE(v_count, 0), v_now, v_now, b.segment_no, b.consumed_amount, b.left_amount,
           b.held_amount, b.next_change_at
      FROM billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
     WHERE b.subject_id = p_subject_id AND b.definition_id = p_definition_id AND b.history_no = 0;
    -- What was left before says whether the resource was locked.
    INSERT INTO billing_entitlement_lock_changes (subject_id, definition_id, lock_state, changed_at)
    SELECT p_subject_id, p_definition_id, IF(b.left_amount < 0, d.lock_label, 'none'), v_now
      FROM billing_entitlement_definitions AS d FORCE INDEX (PRIMARY)
      STRAIGHT_JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY) ON b.subject_id = p_subject_id AND b.definition_id = d.id AND b.history_no = 0
     WHERE d.id = p_definition_id AND d.enforcement_mode = 'hard_lock_resource' AND (b.left_amount < 0) <> (b.left_amount + p_count - COALESCE(v_count, 0) < 0);
    INSERT INTO billing_limit_changes (change_source, changes, changed_at)
    VALUES (IF(p_change_kind = 'adapter', 'consumption', 'manual_refresh'),
            JSON_ARRAY(JSON_OBJECT('subjectId', p_subject_id, 'codes', JSON_ARRAY(v_code))), v_now);
  END IF;
END
