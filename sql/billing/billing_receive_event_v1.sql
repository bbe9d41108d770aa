-- billing_receive_event_v1: takes an event of the payment provider into the inbox, once, and does what it means, in one commit.
--
-- Called by    POST /api/billing/webhooks/stripe, which has verified the signature over these very bytes; nobody else.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        the event's row: the same event at once waits here, and finds what became of it; then as billing_apply_event_in_tx_v1.
-- Idempotency  provider and event id: what was applied or ignored is answered as replayed, what failed is tried again, as it is sent now.
-- Parameters   p_provider           stripe
--              p_provider_event_id  1 to 64 visible ASCII characters
--              p_event_type         1 to 128 visible ASCII characters
--              p_api_version        null or up to 64 visible ASCII characters
--              p_payload            the body exactly as sent, 1 byte to 1 MiB
-- Results      one row: event_id; outcome, applied, replayed, ignored or failed; failure_code, null unless it failed: the code of the rule that
--              refused it, or INTERNAL; subject_id, null where it is not known. What failed is rolled back but for the inbox.
-- Errors       VALIDATION_FAILED. What the event itself makes fail is an outcome. A deadlock and a lock that was not free are errors: nothing is
--              kept then, and the provider sends it again.
-- Cost         one row, and what follows from the event.
CREATE PROCEDURE billing_receive_event_v1(
  IN p_provider          VARCHAR(32),
  IN p_provider_event_id VARCHAR(255),
  IN p_event_type        VARCHAR(128),
  IN p_api_version       VARCHAR(64),
  IN p_payload           MEDIUMBLOB
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Takes an event of the provider and does what it means'
BEGIN
  DECLARE v_event_id BIGINT UNSIGNED;
  DECLARE v_outcome VARCHAR(16);
  DECLARE v_number INT;
  DECLARE v_text VARCHAR(512);

  IF p_provider IS NULL OR p_provider <> 'stripe' THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: provider: must be stripe';
  END IF;
  IF p_provider_event_id IS NULL OR NOT REGEXP_LIKE(p_provider_event_id, '^[!-~]{1,64}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: id: must be 1 to 64 visible ASCII characters';
  END IF;
  IF p_event_type IS NULL OR NOT REGEXP_LIKE(p_event_type, '^[!-~]{1,128}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: type: must be 1 to 128 visible ASCII characters';
  END IF;
  IF NOT REGEXP_LIKE(p_api_version, '^[!-~]{1,64}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: api_version: must be 1 to 64 visible ASCII characters';
  END IF;
  IF p_payload IS NULL OR LENGTH(p_payload) NOT BETWEEN 1 AND 1048576 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: payload: must be 1 to 1048576 bytes';
  END IF;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT e.id, e.outcome INTO v_event_id, v_outcome
      FROM billing_events AS e
     WHERE e.provider = CONVERT(p_provider USING ascii) AND e.provider_event_id = CONVERT(p_provider_event_id USING ascii)
       FOR UPDATE;
    IF v_event_id IS NULL THEN
      INSERT INTO billing_events (provider, provider_event_id, event_type, api_version, payload, outcome, received_at)
      VALUES (p_provider, p_provider_event_id, p_event_type, p_api_version, p_payload, 'received', UTC_TIMESTAMP(3))
      ON DUPLICATE KEY UPDATE provider = billing_events.provider;
      SELECT e.id, e.outcome INTO v_event_id, v_outcome
        FROM billing_events AS e
       WHERE e.provider = CONVERT(p_provider USING ascii) AND e.provider_event_id = CONVERT(p_provider_event_id USING ascii)
         FOR UPDATE;
    END IF;

    IF v_outcome IN ('applied', 'ignored') THEN
      SET v_outcome = 'replayed';
    ELSE
      -- What could not be applied may be sent again in another shape, of another version of the provider's API.
      UPDATE billing_events AS e
         SET e.event_type = p_event_type, e.api_version = p_api_version, e.payload = p_payload
       WHERE e.id = v_event_id AND e.outcome = 'failed';
      SET v_outcome = NULL;
      SAVEPOINT before_event;
      BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION
        BEGIN
          GET DIAGNOSTICS CONDITION 1 v_number = MYSQL_ERRNO, v_text = MESSAGE_TEXT;
          -- The transaction is lost, or this is nothing that the event did.
          IF v_number IN (1205, 1213) THEN
            RESIGNAL;
          END IF;
          ROLLBACK TO SAVEPOINT before_event;
          UPDATE billing_events AS e
             SET e.outcome = 'failed', e.failure = IF(v_number BETWEEN 52000 AND 52999, v_text, CONCAT('INTERNAL: error ', v_number, ', ', v_text)),
                 e.attempts = e.attempts + 1
           WHERE e.id = v_event_id;
        END;
        CALL billing_apply_event_in_tx_v1(v_event_id);
      END;
    END IF;
    COMMIT;
  END;
  SELECT e.id AS event_id, COALESCE(v_outcome, e.outcome) AS outcome, SUBSTRING_INDEX(e.failure, ':', 1) AS failure_code, e.subject_id
    FROM billing_events AS e
   WHERE e.id = v_event_id;
END
