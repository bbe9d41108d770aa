-- billing_apply_checkout_in_tx_v1: books what a checkout session sold, if it is paid; one that began a subscription only tells whose customer it is.
--
-- Called by    billing_apply_event_in_tx_v1, for checkout.session.completed and checkout.session.async_payment_succeeded.
-- Transaction  needs the caller's.
-- Locks        the plans of its lines, shared; as billing_find_customer_in_tx_v1; then as billing_confirm_purchase_in_tx_v1.
-- Idempotency  as billing_confirm_purchase_in_tx_v1.
-- Parameters   p_event_id         the event
--              p_object           the session, as JSON
--              p_said_at          UTC; when the provider made the event
--              p_created_by       who caused it
--              p_subject_id       out: who bought; null: not known
--              p_purchase_id      out: the purchase; null: none
--              p_lines            out: JSON array of what was bought, for billing_pay_plan_in_tx_v1; null: nothing
--              p_ignored_because  out: null: applied
-- Results      none.
-- Errors       EVENT_NOT_APPLIED, SUBJECT_NOT_FOUND, and as billing_find_customer_in_tx_v1 and billing_confirm_purchase_in_tx_v1.
-- Cost         as billing_confirm_purchase_in_tx_v1.
CREATE PROCEDURE billing_apply_checkout_in_tx_v1(
  IN  p_event_id        BIGINT UNSIGNED,
  IN  p_object          JSON,
  IN  p_said_at         DATETIME(3),
  IN  p_created_by      VARCHAR(128),
  OUT p_subject_id      BIGINT UNSIGNED,
  OUT p_purchase_id     BIGINT UNSIGNED,
  OUT p_lines           JSON,
  OUT p_ignored_because VARCHAR(255)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Books what a checkout session sold'
BEGIN
  DECLARE v_provider VARCHAR(32);
  DECLARE v_session_id, v_invoice_id, v_payment_intent, v_customer, v_client_reference_id, v_entity_type, v_entity_ref, v_price_id VARCHAR(255);
  DECLARE v_mode, v_payment_status VARCHAR(32);
  DECLARE v_currency VARCHAR(3);
  DECLARE v_paid, v_quantity BIGINT;
  DECLARE v_has_more BOOLEAN;
  DECLARE v_found, v_lines, v_references JSON;
  DECLARE v_known INT UNSIGNED;

  SET p_subject_id = NULL, p_purchase_id = NULL, p_lines = NULL, p_ignored_because = NULL;
  SELECT e.provider INTO v_provider FROM billing_events AS e WHERE e.id = p_event_id;
  SELECT j.session_id, j.invoice_id, j.payment_intent, j.customer, j.client_reference_id, j.entity_type, j.entity_ref, j.mode, j.payment_status,
         j.currency, COALESCE(j.paid, 0), j.price_id, COALESCE(j.quantity, 1), COALESCE(j.has_more, FALSE)
    INTO v_session_id, v_invoice_id, v_payment_intent, v_customer, v_client_reference_id, v_entity_type, v_entity_ref, v_mode, v_payment_status,
         v_currency, v_paid, v_price_id, v_quantity, v_has_more
    FROM JSON_TABLE(p_object, '$' COLUMNS (
           session_id VARCHAR(255) PATH '$.id' ERROR ON ERROR, invoice_id VARCHAR(255) PATH '$.invoice' ERROR ON ERROR,
           payment_intent VARCHAR(255) PATH '$.payment_intent' ERROR ON ERROR, customer VARCHAR(255) PATH '$.customer' ERROR ON ERROR,
           client_reference_id VARCHAR(255) PATH '$.client_reference_id' ERROR ON ERROR,
           entity_type VARCHAR(255) PATH '$.metadata.entityType' ERROR ON ERROR, entity_ref VARCHAR(255) PATH '$.metadata.entityRef' ERROR ON ERROR,
           mode VARCHAR(32) PATH '$.mode' ERROR ON ERROR, payment_status VARCHAR(32) PATH '$.payment_status' ERROR ON ERROR,
           currency VARCHAR(3) PATH '$.currency' ERROR ON ERROR, paid BIGINT PATH '$.amount_total' ERROR ON ERROR,
           price_id VARCHAR(255) PATH '$.metadata.priceId' ERROR ON ERROR, quantity BIGINT PATH '$.metadata.quantity' ERROR ON ERROR,
           has_more INT PATH '$.line_items.has_more' ERROR ON ERROR)) AS j;

  IF COALESCE(v_mode NOT IN ('payment', 'subscription'), TRUE) THEN
    SET p_ignored_because = 'A session of this mode sells nothing';
  ELSEIF v_mode = 'payment' AND COALESCE(v_payment_status NOT IN ('paid', 'no_payment_required'), TRUE) THEN
    SET p_ignored_because = 'It is not paid yet; another event says when it is';
  ELSE
    IF v_has_more THEN
      SIGNAL SQLSTATE '45902' SET MYSQL_ERRNO = 52902, MESSAGE_TEXT = 'EVENT_NOT_APPLIED: the session has more lines than the event carries';
    END IF;
    SELECT JSON_ARRAYAGG(JSON_OBJECT('lineNo', t.line_no, 'priceId', t.price_id, 'productId', t.product_id, 'quantity', t.quantity))
      INTO v_found
      FROM (SELECT j.line_no, COALESCE(j.price_id, j.price) AS price_id, j.product_id, COALESCE(j.quantity, 1) AS quantity
              FROM JSON_TABLE(p_object, '$.line_items.data[*]' COLUMNS (
                     line_no FOR ORDINALITY, price_id VARCHAR(255) PATH '$.price.id', price VARCHAR(255) PATH '$.price', product_id VARCHAR(255) PATH '$.price.product',
                     quantity BIGINT PATH '$.quantity' ERROR ON ERROR)) AS j
            UNION ALL
            -- By itself the event carries no lines: then the application says in the metadata what it sells.
            SELECT 1, v_price_id, NULL, v_quantity FROM DUAL WHERE JSON_EXTRACT(p_object, '$.line_items.data[0]') IS NULL) AS t
     WHERE t.price_id IS NOT NULL AND t.quantity > 0;
    CALL billing_name_lines_in_tx_v1(v_found, v_lines, v_known);
    IF v_mode = 'payment' THEN
      CALL billing_lock_plans_in_tx_v1(COALESCE(v_lines, JSON_ARRAY()));
    END IF;

    CALL billing_find_customer_in_tx_v1(v_customer, v_client_reference_id, v_entity_type, v_entity_ref, p_subject_id);
    IF p_subject_id IS NULL AND (v_known > 0 OR v_entity_ref IS NOT NULL) THEN
      SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this customer or reference';
    END IF;
    IF p_subject_id IS NULL THEN
      SET p_ignored_because = 'No price of it is in the catalogue, and no billable entity has its customer or reference';
    ELSEIF v_mode = 'payment' AND v_lines IS NULL THEN
      SET p_ignored_because = 'It names no price: give metadata.priceId';
    ELSEIF v_mode = 'payment' THEN
      SELECT JSON_ARRAYAGG(t.reference_id) INTO v_references
        FROM (SELECT v_invoice_id AS reference_id UNION ALL SELECT v_payment_intent UNION ALL SELECT v_session_id) AS t
       WHERE t.reference_id IS NOT NULL;
      CALL billing_confirm_purchase_in_tx_v1(p_subject_id, v_provider, v_references, p_event_id, v_currency, v_paid, v_lines, NULL, NULL, p_said_at,
                                             p_created_by, p_purchase_id);
      SET p_lines = v_lines;
    END IF;
  END IF;
END
