-- billing_find_event_v1: returns one event of the inbox, with the body as it was sent.
--
-- Called by    the console's GET events/{id}; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_event_id  the event in the inbox
-- Results      one row, as billing_show_event_in_tx_v1.
-- Errors       EVENT_NOT_FOUND.
-- Cost         one row.
CREATE PROCEDURE billing_find_event_v1(
  IN p_event_id BIGINT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns one event of the inbox with its body'
BEGIN
  DECLARE v_event_id BIGINT UNSIGNED;

  SELECT e.id INTO v_event_id FROM billing_events AS e WHERE e.id = p_event_id;
  IF v_event_id IS NULL THEN
    SIGNAL SQLSTATE '45112' SET MYSQL_ERRNO = 52112, MESSAGE_TEXT = 'EVENT_NOT_FOUND: the inbox has no event with this id';
  END IF;
  CALL billing_show_event_in_tx_v1(p_event_id);
END
