-- billing_list_events_v1: returns a page of the inbox, newest first: what the provider said, what became of it, and why.
--
-- Called by    the console's GET events; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_outcome     applied, ignored or failed; null: all
--              p_subject_id  only what is known to be about this billable entity; null: all
--              p_before_id   only events before this one; null: from the newest
--              p_limit       rows at most, 1 to 1,000
-- Results      a row per event, as billing_show_event_in_tx_v1, but without payload.
-- Errors       VALIDATION_FAILED.
-- Cost         the page's rows, by an index.
CREATE PROCEDURE billing_list_events_v1(
  IN p_outcome    VARCHAR(16),
  IN p_subject_id BIGINT UNSIGNED,
  IN p_before_id  BIGINT UNSIGNED,
  IN p_limit      INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns a page of the inbox'
BEGIN
  DECLARE v_before_id BIGINT UNSIGNED DEFAULT COALESCE(p_before_id, 18446744073709551615);

  IF p_outcome NOT IN ('applied', 'ignored', 'failed') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: outcome: must be applied, ignored or failed';
  END IF;
  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 1000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 1000';
  END IF;
  -- One query for each way to ask, so that each goes by its own index.
  IF p_subject_id IS NOT NULL THEN
    SELECT e.id, e.provider, e.provider_event_id, e.event_type, e.api_version, e.outcome, e.failure, e.ignored_because, e.attempts, e.subject_id,
           e.received_at, e.resolved_at
      FROM billing_events AS e FORCE INDEX (ix_events_subject)
     WHERE e.subject_id = p_subject_id AND e.id < v_before_id AND (p_outcome IS NULL OR e.outcome = p_outcome)
     ORDER BY e.id DESC
     LIMIT p_limit;
  ELSEIF p_outcome IS NOT NULL THEN
    SELECT e.id, e.provider, e.provider_event_id, e.event_type, e.api_version, e.outcome, e.failure, e.ignored_because, e.attempts, e.subject_id,
           e.received_at, e.resolved_at
      FROM billing_events AS e FORCE INDEX (ix_events_outcome)
     WHERE e.outcome = p_outcome AND e.id < v_before_id
     ORDER BY e.id DESC
     LIMIT p_limit;
  ELSE
    SELECT e.id, e.provider, e.provider_event_id, e.event_type, e.api_version, e.outcome, e.failure, e.ignored_because, e.attempts, e.subject_id,
           e.received_at, e.resolved_at
      FROM billing_events AS e FORCE INDEX (PRIMARY)
     WHERE e.id < v_before_id
     ORDER BY e.id DESC
     LIMIT p_limit;
  END IF;
END
