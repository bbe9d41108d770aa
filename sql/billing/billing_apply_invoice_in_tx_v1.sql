-- billing_apply_invoice_in_tx_v1: books a paid invoice, and grants what its products promise.
--
-- Called by    billing_apply_event_in_tx_v1, for invoice.paid.
-- Transaction  needs the caller's.
-- Locks        the plans of its lines, shared; as billing_find_customer_in_tx_v1; then as billing_confirm_purchase_in_tx_v1.
-- Idempotency  as billing_confirm_purchase_in_tx_v1.
-- Parameters   p_event_id         the event
--              p_object           the invoice, as JSON, of an old or a new version of the provider's API
--              p_said_at          UTC; when the provider made the event
--              p_created_by       who caused it
--              p_subject_id       out: who paid; null: not known
--              p_purchase_id      out: the purchase; null: none
--              p_lines            out: JSON array of what was bought, for billing_pay_plan_in_tx_v1; null: nothing
--              p_ignored_because  out: null: applied
-- Results      none.
-- Errors       EVENT_NOT_APPLIED, SUBJECT_NOT_FOUND, and as billing_find_customer_in_tx_v1 and billing_confirm_purchase_in_tx_v1.
-- Cost         as billing_confirm_purchase_in_tx_v1.
CREATE PROCEDURE billing_apply_invoice_in_tx_v1(
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
  COMMENT 'Books a paid invoice'
BEGIN
  DECLARE v_epoch DATETIME(3) DEFAULT '1970-01-01 00:00:00.000';
  DECLARE v_provider VARCHAR(32);
  DECLARE v_invoice_id, v_payment_intent, v_charge_id, v_customer, v_subscription_id, v_entity_type, v_entity_ref VARCHAR(255);
  DECLARE v_currency VARCHAR(3);
  DECLARE v_paid, v_paid_at BIGINT;
  DECLARE v_has_more BOOLEAN;
  DECLARE v_found, v_lines, v_references JSON;
  DECLARE v_known, v_known_subscriptions INT UNSIGNED;
  DECLARE v_period_start_at, v_period_end_at DATETIME(3);

  SET p_subject_id = NULL, p_purchase_id = NULL, p_lines = NULL, p_ignored_because = NULL;
  SELECT e.provider INTO v_provider FROM billing_events AS e WHERE e.id = p_event_id;
  SELECT j.invoice_id, j.payment_intent, j.charge_id, j.customer, COALESCE(j.subscription_new, j.subscription_old),
         COALESCE(j.type_own, j.type_new, j.type_old), COALESCE(j.ref_own, j.ref_new, j.ref_old), j.currency, j.paid, j.paid_at, COALESCE(j.has_more, FALSE)
    INTO v_invoice_id, v_payment_intent, v_charge_id, v_customer, v_subscription_id, v_entity_type, v_entity_ref, v_currency, v_paid, v_paid_at, v_has_more
    FROM JSON_TABLE(p_object, '$' COLUMNS (
           invoice_id VARCHAR(255) PATH '$.id' ERROR ON ERROR, payment_intent VARCHAR(255) PATH '$.payment_intent' ERROR ON ERROR,
           charge_id VARCHAR(255) PATH '$.charge' ERROR ON ERROR, customer VARCHAR(255) PATH '$.customer' ERROR ON ERROR,
           subscription_new VARCHAR(255) PATH '$.parent.subscription_details.subscription' ERROR ON ERROR,
           subscription_old VARCHAR(255) PATH '$.subscription' ERROR ON ERROR,
           type_own VARCHAR(255) PATH '$.metadata.entityType' ERROR ON ERROR, ref_own VARCHAR(255) PATH '$.metadata.entityRef' ERROR ON ERROR,
           type_new VARCHAR(255) PATH '$.parent.subscription_details.metadata.entityType' ERROR ON ERROR,
           ref_new VARCHAR(255) PATH '$.parent.subscription_details.metadata.entityRef' ERROR ON ERROR,
           type_old VARCHAR(255) PATH '$.subscription_details.metadata.entityType' ERROR ON ERROR,
           ref_old VARCHAR(255) PATH '$.subscription_details.metadata.entityRef' ERROR ON ERROR,
           currency VARCHAR(3) PATH '$.currency' ERROR ON ERROR, paid BIGINT PATH '$.amount_paid' ERROR ON ERROR,
           paid_at BIGINT PATH '$.status_transitions.paid_at' ERROR ON ERROR, has_more INT PATH '$.lines.has_more' ERROR ON ERROR)) AS j;
  IF v_has_more THEN
    SIGNAL SQLSTATE '45902' SET MYSQL_ERRNO = 52902, MESSAGE_TEXT = 'EVENT_NOT_APPLIED: the invoice has more lines than the event carries';
  END IF;

  -- What a line costs less than nothing it gives back: nothing is bought by it.
  SELECT JSON_ARRAYAGG(JSON_OBJECT('lineNo', t.line_no, 'priceId', t.price_id, 'productId', t.product_id, 'quantity', t.quantity, 'subscriptionId', t.subscription_id,
                                   'isProration', t.is_proration, 'periodStartAt', t.period_start, 'periodEndAt', t.period_end))
    INTO v_found
    FROM (SELECT j.line_no, COALESCE(j.price_old, j.price_new, j.price_plan) AS price_id,
                 COALESCE(j.product_old, j.product_new, j.product_plan) AS product_id, COALESCE(j.quantity, 1) AS quantity,
                 COALESCE(j.subscription_item, j.subscription_invoice_item, j.subscription_old, v_subscription_id) AS subscription_id,
                 COALESCE(j.proration_item, j.proration_invoice_item, j.proration_old, 0) AS is_proration, j.period_start, j.period_end, j.amount
            FROM JSON_TABLE(p_object, '$.lines.data[*]' COLUMNS (
                   line_no FOR ORDINALITY, amount BIGINT PATH '$.amount' ERROR ON ERROR, quantity BIGINT PATH '$.quantity' ERROR ON ERROR,
                   price_old VARCHAR(255) PATH '$.price.id' ERROR ON ERROR,
                   price_new VARCHAR(255) PATH '$.pricing.price_details.price' ERROR ON ERROR,
                   price_plan VARCHAR(255) PATH '$.plan.id' ERROR ON ERROR,
                   -- Where a product was asked for whole, it is an object, and its price's id has to do.
                   product_old VARCHAR(255) PATH '$.price.product', product_new VARCHAR(255) PATH '$.pricing.price_details.product',
                   product_plan VARCHAR(255) PATH '$.plan.product',
                   subscription_item VARCHAR(255) PATH '$.parent.subscription_item_details.subscription' ERROR ON ERROR,
                   subscription_invoice_item VARCHAR(255) PATH '$.parent.invoice_item_details.subscription' ERROR ON ERROR,
                   subscription_old VARCHAR(255) PATH '$.subscription' ERROR ON ERROR,
                   proration_item INT PATH '$.parent.subscription_item_details.proration' ERROR ON ERROR,
                   proration_invoice_item INT PATH '$.parent.invoice_item_details.proration' ERROR ON ERROR,
                   proration_old INT PATH '$.proration' ERROR ON ERROR,
                   period_start BIGINT PATH '$.period.start' ERROR ON ERROR, period_end BIGINT PATH '$.period.end' ERROR ON ERROR)) AS j) AS t
   WHERE t.price_id IS NOT NULL AND t.quantity > 0 AND COALESCE(t.amount, 0) >= 0;
  CALL billing_name_lines_in_tx_v1(v_found, v_lines, v_known);
  CALL billing_lock_plans_in_tx_v1(COALESCE(v_lines, JSON_ARRAY()));

  CALL billing_find_customer_in_tx_v1(v_customer, NULL, v_entity_type, v_entity_ref, p_subject_id);
  SELECT COUNT(*) INTO v_known_subscriptions
    FROM billing_provider_subscriptions AS s
   WHERE s.provider = v_provider AND s.provider_subscription_id = CONVERT(v_subscription_id USING ascii);
  IF p_subject_id IS NULL AND v_known + v_known_subscriptions > 0 THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this customer or reference';
  END IF;
  IF p_subject_id IS NULL THEN
    SET p_ignored_because = 'No price of it is in the catalogue, and no billable entity has its customer or reference';
  ELSEIF v_lines IS NULL THEN
    SET p_ignored_because = 'Nothing that has a price was bought';
  ELSE
    SELECT JSON_ARRAYAGG(t.reference_id) INTO v_references
      FROM (SELECT v_invoice_id AS reference_id UNION ALL SELECT v_payment_intent UNION ALL SELECT v_charge_id UNION ALL
            SELECT COALESCE(j.payment_intent, j.charge_id)
              FROM JSON_TABLE(p_object, '$.payments.data[*]' COLUMNS (
                     payment_intent VARCHAR(255) PATH '$.payment.payment_intent' ERROR ON ERROR,
                     charge_id VARCHAR(255) PATH '$.payment.charge' ERROR ON ERROR)) AS j) AS t
     WHERE t.reference_id IS NOT NULL;
    -- The period is that of the plan, of which an invoice may have several lines: the latest to end is what is paid up to.
    SELECT v_epoch + INTERVAL j.period_start SECOND, v_epoch + INTERVAL j.period_end SECOND INTO v_period_start_at, v_period_end_at
      FROM JSON_TABLE(v_lines, '$[*]' COLUMNS (
             line_no INT PATH '$.lineNo', price_id VARCHAR(255) PATH '$.priceId', period_start BIGINT PATH '$.periodStartAt',
             period_end BIGINT PATH '$.periodEndAt')) AS j
      JOIN billing_provider_prices AS pp ON pp.provider_price_id = CONVERT(j.price_id USING ascii) AND pp.plan_id IS NOT NULL
     WHERE j.period_end > j.period_start
     ORDER BY j.period_end DESC, j.line_no DESC
     LIMIT 1;
    CALL billing_confirm_purchase_in_tx_v1(p_subject_id, v_provider, v_references, p_event_id, v_currency, COALESCE(v_paid, 0), v_lines, v_period_start_at,
                                           v_period_end_at, COALESCE(v_epoch + INTERVAL v_paid_at SECOND, p_said_at), p_created_by, p_purchase_id);
    SET p_lines = v_lines;
  END IF;
END
