-- billing_apply_refund_in_tx_v1: keeps what a charge says of the money that went back; what follows, billing_take_back_in_tx_v1 does.
--
-- Called by    billing_apply_event_in_tx_v1, for charge.refunded.
-- Transaction  needs the caller's.
-- Locks        as billing_lock_subject_in_tx_v1, where the subject is known; the charge's refunds; the rows of the payment's ids, shared.
-- Idempotency  the charge says how much went back in all, which never falls: an older word changes nothing.
-- Parameters   p_event_id     the event
--              p_object       the charge, as JSON
--              p_subject_id   out: whose payment it was; null: not known yet
--              p_purchase_id  out: the purchase that was paid by the charge; null: not heard of yet. The refund waits for it
-- Results      none.
-- Errors       VALIDATION_FAILED, and as billing_lock_subject_in_tx_v1 and billing_find_purchase_in_tx_v1.
-- Cost         one row, and two for each id.
CREATE PROCEDURE billing_apply_refund_in_tx_v1(
  IN  p_event_id    BIGINT UNSIGNED,
  IN  p_object      JSON,
  OUT p_subject_id  BIGINT UNSIGNED,
  OUT p_purchase_id BIGINT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Keeps what was paid back of a charge'
BEGIN
  DECLARE v_provider VARCHAR(32);
  DECLARE v_charge_id, v_payment_intent, v_invoice_id, v_customer VARCHAR(255);
  DECLARE v_currency VARCHAR(3);
  DECLARE v_refunded BIGINT;
  DECLARE v_references JSON;
  DECLARE v_found_subject_id BIGINT UNSIGNED;

  SET p_subject_id = NULL, p_purchase_id = NULL;
  SELECT e.provider INTO v_provider FROM billing_events AS e WHERE e.id = p_event_id;
  SELECT j.charge_id, j.payment_intent, j.invoice_id, j.customer, j.currency, j.refunded
    INTO v_charge_id, v_payment_intent, v_invoice_id, v_customer, v_currency, v_refunded
    FROM JSON_TABLE(p_object, '$' COLUMNS (
           charge_id VARCHAR(255) PATH '$.id' ERROR ON ERROR, payment_intent VARCHAR(255) PATH '$.payment_intent' ERROR ON ERROR,
           invoice_id VARCHAR(255) PATH '$.invoice' ERROR ON ERROR, customer VARCHAR(255) PATH '$.customer' ERROR ON ERROR,
           currency VARCHAR(3) PATH '$.currency' ERROR ON ERROR, refunded BIGINT PATH '$.amount_refunded' ERROR ON ERROR)) AS j;
  IF v_charge_id IS NULL OR v_currency IS NULL OR v_refunded IS NULL OR v_refunded < 0 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: data.object: a charge has id, currency and amount_refunded';
  END IF;
  SELECT JSON_ARRAYAGG(t.reference_id) INTO v_references
    FROM (SELECT v_payment_intent AS reference_id UNION ALL SELECT v_invoice_id UNION ALL SELECT v_charge_id) AS t
   WHERE t.reference_id IS NOT NULL;

  -- Whoever books the purchase holds the subject. Where it can be told whose this is, wait there, before anything else is taken.
  SELECT MIN(p.subject_id) INTO p_subject_id
    FROM JSON_TABLE(v_references, '$[*]' COLUMNS (reference_id VARCHAR(255) PATH '$')) AS j
    JOIN billing_purchase_references AS r ON r.provider = v_provider AND r.reference_id = CONVERT(j.reference_id USING ascii)
    LEFT JOIN billing_purchase_references AS s ON s.provider = r.provider AND s.reference_id = r.same_as_id
    JOIN billing_purchases AS p ON p.id = COALESCE(r.purchase_id, s.purchase_id);
  IF p_subject_id IS NULL THEN
    SELECT e.id INTO p_subject_id FROM billable_entities AS e WHERE e.provider_customer_id = CONVERT(v_customer USING ascii);
  END IF;
  IF p_subject_id IS NOT NULL THEN
    CALL billing_lock_subject_in_tx_v1(p_subject_id);
  END IF;

  INSERT INTO billing_refunds (provider, provider_charge_id, reference_id, currency, refunded_minor_units, event_id, updated_at)
  VALUES (v_provider, v_charge_id, COALESCE(v_payment_intent, v_invoice_id, v_charge_id), v_currency, v_refunded, p_event_id, UTC_TIMESTAMP(3))
  ON DUPLICATE KEY UPDATE
    event_id = IF(v_refunded > refunded_minor_units, p_event_id, event_id),
    updated_at = IF(v_refunded > refunded_minor_units, VALUES(updated_at), updated_at),
    refunded_minor_units = GREATEST(refunded_minor_units, v_refunded);

  -- First written, then looked: whoever books the purchase does the same the other way round, so one of the two sees the other's.
  CALL billing_find_purchase_in_tx_v1(v_provider, v_references, p_purchase_id, v_found_subject_id);
  IF p_purchase_id IS NOT NULL THEN
    SET p_subject_id = v_found_subject_id;
    INSERT IGNORE INTO billing_purchase_references (provider, reference_id, purchase_id)
    SELECT v_provider, j.reference_id, p_purchase_id
      FROM JSON_TABLE(v_references, '$[*]' COLUMNS (reference_id VARCHAR(255) PATH '$')) AS j;
  ELSEIF v_invoice_id IS NOT NULL THEN
    -- The invoice may not name the intent.
    INSERT IGNORE INTO billing_purchase_references (provider, reference_id, same_as_id)
    SELECT v_provider, j.reference_id, v_invoice_id
      FROM JSON_TABLE(v_references, '$[*]' COLUMNS (reference_id VARCHAR(255) PATH '$')) AS j
     WHERE j.reference_id <> v_invoice_id;
  END IF;
END
