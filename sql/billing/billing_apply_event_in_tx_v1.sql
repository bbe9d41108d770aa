-- billing_apply_event_in_tx_v1: does what an event of the provider means, all of it in the caller's one commit.
--
-- Called by    billing_receive_event_v1, billing_replay_event_v1; people, inside their own transaction.
-- Transaction  needs the caller's.
-- Locks        the event's row in the inbox; then as what it means, below.
-- Idempotency  an event that was applied is not applied again.
-- Parameters   p_event_id  the event in the inbox
-- Results      none; the inbox has the outcome: applied, or ignored with a reason.
-- Errors       EVENT_NOT_FOUND, VALIDATION_FAILED, and as billing_apply_checkout_in_tx_v1, billing_apply_invoice_in_tx_v1,
--              billing_apply_invoice_payment_in_tx_v1, billing_apply_subscription_in_tx_v1, billing_apply_refund_in_tx_v1,
--              billing_pay_plan_in_tx_v1 and billing_take_back_in_tx_v1.
-- Cost         one row, and what follows from the event.
CREATE PROCEDURE billing_apply_event_in_tx_v1(
  IN p_event_id BIGINT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Does what an event of the provider means'
BEGIN
  DECLARE v_outcome, v_provider_event_id VARCHAR(64);
  DECLARE v_event_type, v_created_by VARCHAR(128);
  DECLARE v_event, v_object, v_lines JSON;
  DECLARE v_created BIGINT;
  DECLARE v_said_at DATETIME(3);
  DECLARE v_subject_id, v_purchase_id BIGINT UNSIGNED;
  DECLARE v_ignored_because VARCHAR(255);

  SELECT e.outcome, e.provider_event_id, e.event_type INTO v_outcome, v_provider_event_id, v_event_type
    FROM billing_events AS e
   WHERE e.id = p_event_id
     FOR UPDATE;
  IF v_outcome IS NULL THEN
    SIGNAL SQLSTATE '45112' SET MYSQL_ERRNO = 52112, MESSAGE_TEXT = 'EVENT_NOT_FOUND: the inbox has no event with this id';
  END IF;

  IF v_outcome <> 'applied' THEN
    SET v_created_by = CONCAT('event:', v_provider_event_id);
    IF v_event_type NOT IN ('checkout.session.completed', 'checkout.session.async_payment_succeeded', 'invoice.paid', 'invoice_payment.paid',
                            'charge.refunded', 'customer.subscription.created', 'customer.subscription.updated', 'customer.subscription.deleted') THEN
      -- Nor is it looked into: it may have any shape.
      SET v_ignored_because = 'Nothing follows from events of this type';
    ELSE
      SELECT CAST(CONVERT(e.payload USING utf8mb4) AS JSON) INTO v_event FROM billing_events AS e WHERE e.id = p_event_id;
      SET v_object = JSON_EXTRACT(v_event, '$.data.object');
      SELECT j.created INTO v_created FROM JSON_TABLE(v_event, '$' COLUMNS (created BIGINT PATH '$.created' ERROR ON ERROR)) AS j;
      IF v_created IS NULL OR v_created NOT BETWEEN 0 AND 253402300799 THEN
        SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: created: must be seconds since 1970';
      END IF;
      IF COALESCE(JSON_TYPE(v_object) <> 'OBJECT', TRUE) THEN
        SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: data.object: must be what the event is about';
      END IF;
      SET v_said_at = '1970-01-01 00:00:00.000' + INTERVAL v_created SECOND;

      CASE v_event_type
        WHEN 'invoice.paid' THEN
          CALL billing_apply_invoice_in_tx_v1(p_event_id, v_object, v_said_at, v_created_by, v_subject_id, v_purchase_id, v_lines, v_ignored_because);
        WHEN 'invoice_payment.paid' THEN
          CALL billing_apply_invoice_payment_in_tx_v1(p_event_id, v_object, v_subject_id, v_purchase_id, v_ignored_because);
        WHEN 'charge.refunded' THEN
          CALL billing_apply_refund_in_tx_v1(p_event_id, v_object, v_subject_id, v_purchase_id);
        WHEN 'checkout.session.completed' THEN
          CALL billing_apply_checkout_in_tx_v1(p_event_id, v_object, v_said_at, v_created_by, v_subject_id, v_purchase_id, v_lines, v_ignored_because);
        WHEN 'checkout.session.async_payment_succeeded' THEN
          CALL billing_apply_checkout_in_tx_v1(p_event_id, v_object, v_said_at, v_created_by, v_subject_id, v_purchase_id, v_lines, v_ignored_because);
        ELSE
          CALL billing_apply_subscription_in_tx_v1(p_event_id, v_event_type = 'customer.subscription.deleted', v_object, v_said_at, v_created_by,
                                                   v_subject_id, v_ignored_because);
      END CASE;
    END IF;
    IF v_lines IS NOT NULL THEN
      CALL billing_pay_plan_in_tx_v1(p_event_id, v_subject_id, v_purchase_id, v_lines, v_said_at, v_created_by);
    END IF;
    -- Whichever came last, the payment, its refund, or what ties the two together.
    IF v_purchase_id IS NOT NULL THEN
      CALL billing_take_back_in_tx_v1(v_purchase_id, v_created_by);
    END IF;
    UPDATE billing_events AS e
       SET e.outcome = IF(v_ignored_because IS NULL, 'applied', 'ignored'), e.ignored_because = v_ignored_because, e.failure = NULL,
           e.subject_id = v_subject_id, e.attempts = e.attempts + 1, e.resolved_at = UTC_TIMESTAMP(3)
     WHERE e.id = p_event_id;
  END IF;
END
