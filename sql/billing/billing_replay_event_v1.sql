-- billing_replay_event_v1: tries an event in the inbox again, after what stood in its way was mended.
--
-- Called by    the console's POST events/{id}/replay; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        the key's row; the event's row; then as billing_apply_event_in_tx_v1.
-- Idempotency  p_idempotency_key: the same key tries once. What was applied stays as it is.
-- Parameters   p_event_id         the event in the inbox
--              p_idempotency_key  1 to 128 visible ASCII characters
--              p_created_by       who asks; null: the database user
-- Results      one row: the event, as billing_show_event_in_tx_v1. It may have failed again.
-- Errors       as billing_begin_operation_in_tx_v1; EVENT_NOT_FOUND.
-- Cost         two rows, and what follows from the event.
CREATE PROCEDURE billing_replay_event_v1(
  IN p_event_id        BIGINT UNSIGNED,
  IN p_idempotency_key VARCHAR(128),
  IN p_created_by      VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Tries an event in the inbox again'
BEGIN
  DECLARE v_event_id, v_result_id BIGINT UNSIGNED;
  DECLARE v_number INT;
  DECLARE v_text VARCHAR(512);

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL billing_begin_operation_in_tx_v1(p_idempotency_key, 'replay_event', JSON_ARRAY(p_event_id), COALESCE(p_created_by, USER()), v_result_id);
    IF v_result_id IS NULL THEN
      SELECT e.id INTO v_event_id FROM billing_events AS e WHERE e.id = p_event_id FOR UPDATE;
      IF v_event_id IS NULL THEN
        SIGNAL SQLSTATE '45112' SET MYSQL_ERRNO = 52112, MESSAGE_TEXT = 'EVENT_NOT_FOUND: the inbox has no event with this id';
      END IF;
      UPDATE billing_operations AS o SET o.result_id = p_event_id WHERE o.idempotency_key = CONVERT(p_idempotency_key USING ascii);

      SAVEPOINT before_event;
      BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION
        BEGIN
          GET DIAGNOSTICS CONDITION 1 v_number = MYSQL_ERRNO, v_text = MESSAGE_TEXT;
          IF v_number IN (1205, 1213) THEN
            RESIGNAL;
          END IF;
          ROLLBACK TO SAVEPOINT before_event;
          UPDATE billing_events AS e
             SET e.outcome = 'failed', e.failure = IF(v_number BETWEEN 52000 AND 52999, v_text, CONCAT('INTERNAL: error ', v_number, ', ', v_text)),
                 e.ignored_because = NULL, e.resolved_at = NULL, e.attempts = e.attempts + 1
           WHERE e.id = p_event_id;
        END;
        CALL billing_apply_event_in_tx_v1(p_event_id);
      END;
    END IF;
    COMMIT;
  END;
  CALL billing_show_event_in_tx_v1(p_event_id);
END
