-- billing_apply_invoice_payment_in_tx_v1: learns which payment intent paid an invoice. Newer invoices do not say so themselves, and charges name the intent alone.
--
-- Called by    billing_apply_event_in_tx_v1, for invoice_payment.paid.
-- Transaction  needs the caller's.
-- Locks        the rows of the payment's ids, shared.
-- Idempotency  what is known already stays as it is.
-- Parameters   p_event_id         the event
--              p_object           the invoice payment, as JSON
--              p_subject_id       out: whose payment it was; null: not known yet
--              p_purchase_id      out: the purchase; null: not heard of yet
--              p_ignored_because  out: null: applied
-- Results      none.
-- Errors       as billing_find_purchase_in_tx_v1.
-- Cost         two rows for each id.
CREATE PROCEDURE billing_apply_invoice_payment_in_tx_v1(
  IN  p_event_id        BIGINT UNSIGNED,
  IN  p_object          JSON,
  OUT p_subject_id      BIGINT UNSIGNED,
  OUT p_purchase_id     BIGINT UNSIGNED,
  OUT p_ignored_because VARCHAR(255)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Learns which payment paid an invoice'
BEGIN
  DECLARE v_provider VARCHAR(32);
  DECLARE v_invoice_id, v_payment_id VARCHAR(255);
  DECLARE v_references JSON;

  SET p_subject_id = NULL, p_purchase_id = NULL, p_ignored_because = NULL;
  SELECT e.provider INTO v_provider FROM billing_events AS e WHERE e.id = p_event_id;
  SELECT j.invoice_id, COALESCE(j.payment_intent, j.charge_id) INTO v_invoice_id, v_payment_id
    FROM JSON_TABLE(p_object, '$' COLUMNS (
           invoice_id VARCHAR(255) PATH '$.invoice' ERROR ON ERROR, payment_intent VARCHAR(255) PATH '$.payment.payment_intent' ERROR ON ERROR,
           charge_id VARCHAR(255) PATH '$.payment.charge' ERROR ON ERROR)) AS j;
  IF v_invoice_id IS NULL OR v_payment_id IS NULL THEN
    SET p_ignored_because = 'It names no invoice, or no payment of it';
  ELSE
    SET v_references = JSON_ARRAY(v_invoice_id, v_payment_id);
    INSERT IGNORE INTO billing_purchase_references (provider, reference_id, same_as_id) VALUES (v_provider, v_payment_id, v_invoice_id);
    CALL billing_find_purchase_in_tx_v1(v_provider, v_references, p_purchase_id, p_subject_id);
    IF p_purchase_id IS NOT NULL THEN
      INSERT IGNORE INTO billing_purchase_references (provider, reference_id, purchase_id) VALUES (v_provider, v_invoice_id, p_purchase_id);
    END IF;
  END IF;
END
