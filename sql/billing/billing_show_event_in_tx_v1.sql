-- billing_show_event_in_tx_v1: returns one event of the inbox.
--
-- Called by    every procedure that answers with an event.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_event_id  the event
-- Results      one row; none where there is no such event. payload is the body exactly as sent.
-- Errors       none.
-- Cost         one row.
CREATE PROCEDURE billing_show_event_in_tx_v1(
  IN p_event_id BIGINT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns one event of the inbox'
BEGIN
  SELECT e.id, e.provider, e.provider_event_id, e.event_type, e.api_version, e.outcome, e.failure, e.ignored_because, e.attempts, e.subject_id,
         e.received_at, e.resolved_at, e.payload
    FROM billing_events AS e
   WHERE e.id = p_event_id;
END
