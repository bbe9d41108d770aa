-- entitlement_count_change_at_in_tx_v1: finds the newest change of a count that was posted at or before an instant.
--
-- Called by    entitlement_history_v1.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_subject_id, p_definition_id  the balance
--              p_at         UTC; the instant
--              p_change_id  out: the change; 0: there was none yet
-- Results      none.
-- Errors       none.
-- Cost         at most 64 rows, one by one, by index: each halves the numbers that are left.
CREATE PROCEDURE entitlement_count_change_at_in_tx_v1(
  IN  p_subject_id    BIGINT UNSIGNED,
  IN  p_definition_id INT UNSIGNED,
  IN  p_at            DATETIME(3),
  OUT p_change_id     BIGINT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Finds the newest change of a count at an instant'
BEGIN
  DECLARE v_high, v_middle, v_found_id BIGINT UNSIGNED;
  DECLARE v_found_at DATETIME(3);

  SELECT MAX(k.id) INTO v_high
    FROM billing_resource_changes AS k FORCE INDEX (ix_resource_changes_subject)
   WHERE k.subject_id = p_subject_id AND k.definition_id = p_definition_id;
  -- The change is none, or at or below v_high and not below p_change_id. The numbers are the whole table's, so most belong to others.
  SET p_change_id = 0, v_high = COALESCE(v_high, 0);
  WHILE p_change_id < v_high DO
    SET v_middle = p_change_id + (v_high - p_change_id + 1) DIV 2, v_found_id = 0, v_found_at = NULL;
    SELECT k.id, k.posted_at INTO v_found_id, v_found_at
      FROM billing_resource_changes AS k FORCE INDEX (ix_resource_changes_subject)
     WHERE k.subject_id = p_subject_id AND k.definition_id = p_definition_id AND k.id <= v_middle
     ORDER BY k.id DESC
     LIMIT 1;
    IF v_found_at > p_at THEN
      SET v_high = v_found_id - 1;
    ELSE
      SET p_change_id = v_middle;
    END IF;
  END WHILE;
  SET v_found_id = 0;
  SELECT k.id INTO v_found_id
    FROM billing_resource_changes AS k FORCE INDEX (ix_resource_changes_subject)
   WHERE k.subject_id = p_subject_id AND k.definition_id = p_definition_id AND k.id <= p_change_id
   ORDER BY k.id DESC
   LIMIT 1;
  SET p_change_id = v_found_id;
END
