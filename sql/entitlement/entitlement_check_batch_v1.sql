-- entitlement_check_batch_v1: says for many subjects and many codes at once whether a use would be allowed now.
--
-- Called by    POST /api/billing/check/batch; people.
-- Transaction  none, unless something is due: then entitlement_settle_v1 commits first, a subject at a time.
-- Locks        none, unless something is due.
-- Idempotency  reads only, but for what the clock made due.
-- Parameters   p_subject_ids  JSON array of 1 to 100 billable entities
--              p_codes        JSON array of 1 to 100 definitions
--              p_amount       1 to 2^53-1; null: 1
-- Results      a row per subject and code, in the order of the arrays: subject_id, code, allowed, available_amount. A subject or a code that is not there,
--              or a definition that is not active or is a state that is off, is not allowed, with 0 available; a state that is on is allowed.
--              Then, if something was due, one row: refreshed, how many balances that were.
-- Errors       VALIDATION_FAILED.
-- Cost         one query: a balance by primary key for each pair.
CREATE PROCEDURE entitlement_check_batch_v1(
  IN p_subject_ids JSON,
  IN p_codes       JSON,
  IN p_amount      BIGINT
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Says for many subjects and codes whether a use would be allowed'
BEGIN
  DECLARE v_amount BIGINT DEFAULT COALESCE(p_amount, 1);
  DECLARE v_subject_id BIGINT UNSIGNED;
  DECLARE v_due, v_refreshed INT UNSIGNED DEFAULT 0;
  DECLARE v_no_more BOOLEAN DEFAULT FALSE;
  DECLARE c_due CURSOR FOR
    SELECT b.subject_id, COUNT(DISTINCT b.definition_id)
      FROM JSON_TABLE(p_subject_ids, '$[*]' COLUMNS (subject_id BIGINT UNSIGNED PATH '$')) AS j
      JOIN billing_entitlement_balances AS b ON b.subject_id = j.subject_id AND b.history_no = 0
     WHERE b.next_change_at <= UTC_TIMESTAMP(3)
     GROUP BY b.subject_id;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_no_more = TRUE;

  IF COALESCE(JSON_TYPE(p_subject_ids) <> 'ARRAY' OR JSON_LENGTH(p_subject_ids) NOT BETWEEN 1 AND 100, TRUE) THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: billableEntityIds: must be 1 to 100 ids';
  END IF;
  IF COALESCE(JSON_TYPE(p_codes) <> 'ARRAY' OR JSON_LENGTH(p_codes) NOT BETWEEN 1 AND 100, TRUE) THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: codes: must be 1 to 100 codes';
  END IF;
  IF v_amount NOT BETWEEN 1 AND 9007199254740991 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: amount: must be a whole number from 1 to 9007199254740991';
  END IF;

  OPEN c_due;
  FETCH c_due INTO v_subject_id, v_due;
  WHILE NOT v_no_more DO
    CALL entitlement_settle_v1(v_subject_id);
    -- A look-up in there that found nothing is not the end of the cursor.
    SET v_no_more = FALSE, v_refreshed = v_refreshed + v_due;
    FETCH c_due INTO v_subject_id, v_due;
  END WHILE;
  CLOSE c_due;

  SELECT s.subject_id, k.code,
         COALESCE(d.is_active AND IF(d.entitlement_type = 'state', b.granted_amount > 0, d.enforcement_mode = 'soft_warn' OR v_amount <= b.available_amount), FALSE)
           AND e.id IS NOT NULL AS allowed,
         COALESCE(b.available_amount, 0) AS available_amount
    FROM JSON_TABLE(p_subject_ids, '$[*]' COLUMNS (subject_no FOR ORDINALITY, subject_id BIGINT UNSIGNED PATH '$')) AS s
    JOIN JSON_TABLE(p_codes, '$[*]' COLUMNS (code_no FOR ORDINALITY, code VARCHAR(64) PATH '$')) AS k
    LEFT JOIN billable_entities AS e ON e.id = s.subject_id
    LEFT JOIN billing_entitlement_definitions AS d ON d.code = CONVERT(k.code USING ascii)
    LEFT JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY) ON b.subject_id = s.subject_id AND b.definition_id = d.id AND b.history_no = 0
   ORDER BY s.subject_no, k.code_no;
  IF v_refreshed > 0 THEN
    SELECT v_refreshed AS refreshed;
  END IF;
END
