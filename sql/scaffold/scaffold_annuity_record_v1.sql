-- scaffold_annuity_record_v1: keeps a calculation, if the quota allows it. The example of work that is metered: history and use are one commit.
--
-- Called by    POST /api/annuityCalculator; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        as entitlement_consume_in_tx_v1.
-- Idempotency  p_usage_event_key, per subject: the same key with the same inputs gives the first calculation again and writes nothing.
-- Parameters   p_subject_id       billable entity
--              p_usage_event_key  1 to 128 visible ASCII characters
--              p_inputs           what was calculated, an object of up to 2,048 bytes
--              p_result           what came out
-- Results      first the rows of entitlement_consume_in_tx_v1; where they refuse, nothing else and nothing was written. Then the
--              calculation: id, inputs, result, created_at, replayed.
-- Errors       IDEMPOTENCY_KEY_REQUIRED, VALIDATION_FAILED; what else is wrong, entitlement_consume_in_tx_v1 says in its rows.
-- Cost         a use and a row.
CREATE PROCEDURE scaffold_annuity_record_v1(
  IN p_subject_id      BIGINT UNSIGNED,
  IN p_usage_event_key VARCHAR(256),
  IN p_inputs          JSON,
  IN p_result          DECIMAL(30,10)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Keeps a calculation, if the quota allows it'
recording: BEGIN
  DECLARE v_calculation_id BIGINT UNSIGNED;
  DECLARE v_not_accepted INT UNSIGNED;
  DECLARE v_replayed BOOLEAN;

  IF p_usage_event_key IS NULL THEN
    SIGNAL SQLSTATE '45002' SET MYSQL_ERRNO = 52002, MESSAGE_TEXT = 'IDEMPOTENCY_KEY_REQUIRED: give the header Idempotency-Key';
  END IF;
  IF NOT REGEXP_LIKE(p_usage_event_key, '^[!-~]{1,128}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: idempotencyKey: must be 1 to 128 visible ASCII characters';
  END IF;
  IF COALESCE(JSON_TYPE(p_inputs) <> 'OBJECT', TRUE) THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: inputs: must be an object';
  END IF;
  IF p_result IS NULL THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: result: must be a number';
  END IF;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL entitlement_consume_in_tx_v1(JSON_ARRAY(JSON_OBJECT('subjectId', p_subject_id, 'usageEventKey', p_usage_event_key,
      'items', JSON_ARRAY(JSON_OBJECT('capability', 'annuity.calculate', 'metadata', p_inputs)))), v_not_accepted);
    IF v_not_accepted > 0 THEN
      ROLLBACK;
      LEAVE recording;
    END IF;
    -- Only now: who comes with the same key at once has waited at the balance for the first one's commit.
    SELECT a.id INTO v_calculation_id
      FROM scaffold_annuity_calculations AS a
     WHERE a.subject_id = p_subject_id AND a.usage_event_key = CONVERT(p_usage_event_key USING ascii);
    SET v_replayed = v_calculation_id IS NOT NULL;
    IF NOT v_replayed THEN
      INSERT INTO scaffold_annuity_calculations (subject_id, usage_event_key, inputs, result, created_at)
      VALUES (p_subject_id, p_usage_event_key, p_inputs, p_result, UTC_TIMESTAMP(3));
      SET v_calculation_id = LAST_INSERT_ID();
    END IF;
    COMMIT;
  END;

  SELECT a.id, a.inputs, CAST(a.result AS CHAR) AS result, a.created_at, v_replayed AS replayed
    FROM scaffold_annuity_calculations AS a
   WHERE a.id = v_calculation_id;
END
