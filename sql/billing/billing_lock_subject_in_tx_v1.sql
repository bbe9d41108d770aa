-- billing_lock_subject_in_tx_v1: takes a subject's place in line, with all its balances.
--
-- Called by    whatever turns payments, refunds and subscriptions into grants, before it decides anything; people, inside their own transaction.
-- Transaction  needs the caller's.
-- Locks        the entity row: what the provider says of one subject stands in line here; then its current balances, in definition order.
-- Idempotency  locks only.
-- Parameters   p_subject_id  billable entity
-- Results      none.
-- Errors       SUBJECT_NOT_FOUND.
-- Cost         the subject's balances, read.
CREATE PROCEDURE billing_lock_subject_in_tx_v1(
  IN p_subject_id BIGINT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Takes a subject''s place in line'
BEGIN
  DECLARE v_subject_id BIGINT UNSIGNED;
  DECLARE v_balances INT UNSIGNED;

  SELECT e.id INTO v_subject_id FROM billable_entities AS e WHERE e.id = p_subject_id FOR UPDATE;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
  END IF;
  -- A use may touch any of them, in this order: who took them one by one, as he comes to them, could meet it half way.
  SELECT COUNT(*) INTO v_balances
    FROM billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
   WHERE b.subject_id = p_subject_id AND b.history_no = 0
     FOR UPDATE;
END
