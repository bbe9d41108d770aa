-- billing_pay_plan_in_tx_v1: does for the plan of a paid purchase what the payment means: the subject is on it, and the period is paid.
--
-- Called by    billing_apply_event_in_tx_v1, after the purchase is booked.
-- Transaction  needs the caller's.
-- Locks        the subscription's row; then as billing_assign_plan_in_tx_v1. The caller has the subject's place in line.
-- Idempotency  as billing_assign_plan_in_tx_v1 and billing_pay_period_in_tx_v1.
-- Parameters   p_event_id     the event
--              p_subject_id   who paid
--              p_purchase_id  the purchase
--              p_lines        JSON array of {lineNo, priceId, quantity, subscriptionId, isProration, periodStartAt, periodEndAt}, seconds since 1970
--              p_said_at      UTC; when the provider made the event
--              p_created_by   who caused it
-- Results      none.
-- Errors       as billing_assign_plan_in_tx_v1 and billing_pay_period_in_tx_v1.
-- Cost         one row, and what the plan costs.
--
-- What a subscription says of itself counts for more than its invoices, which may be of what was. An invoice puts the subject on its plan if nothing was
-- heard of the subscription yet, if that says the same, or if the line's period began after it spoke last; else it only pays what it was for.
CREATE PROCEDURE billing_pay_plan_in_tx_v1(
  IN p_event_id    BIGINT UNSIGNED,
  IN p_subject_id  BIGINT UNSIGNED,
  IN p_purchase_id BIGINT UNSIGNED,
  IN p_lines       JSON,
  IN p_said_at     DATETIME(3),
  IN p_created_by  VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Does what a payment means for a plan'
BEGIN
  DECLARE v_epoch DATETIME(3) DEFAULT '1970-01-01 00:00:00.000';
  DECLARE v_provider VARCHAR(32);
  DECLARE v_key, v_subscription_id, v_current_subscription_id VARCHAR(255);
  DECLARE v_plan_id, v_quantity, v_known_plan_id, v_known_quantity INT UNSIGNED;
  DECLARE v_status VARCHAR(32);
  DECLARE v_start_at, v_end_at, v_known_said_at, v_ended_at, v_current_start_at, v_current_end_at DATETIME(3);
  DECLARE v_is_proration, v_is_known, v_is_same, v_was_current, v_takes_over, v_changed BOOLEAN;
  DECLARE v_assignment_id, v_current_id BIGINT UNSIGNED;

  -- Of several, what the payment reaches furthest with.
  SELECT pp.plan_id, j.quantity, j.subscription_id, COALESCE(j.is_proration, FALSE),
         IF(j.period_end > j.period_start, v_epoch + INTERVAL j.period_start SECOND, NULL),
         IF(j.period_end > j.period_start, v_epoch + INTERVAL j.period_end SECOND, NULL)
    INTO v_plan_id, v_quantity, v_subscription_id, v_is_proration, v_start_at, v_end_at
    FROM JSON_TABLE(p_lines, '$[*]' COLUMNS (
           line_no INT PATH '$.lineNo', price_id VARCHAR(255) PATH '$.priceId', quantity INT UNSIGNED PATH '$.quantity',
           subscription_id VARCHAR(255) PATH '$.subscriptionId', is_proration INT PATH '$.isProration', period_start BIGINT PATH '$.periodStartAt',
           period_end BIGINT PATH '$.periodEndAt')) AS j
    JOIN billing_provider_prices AS pp ON pp.provider_price_id = CONVERT(j.price_id USING ascii)
   WHERE pp.plan_id IS NOT NULL
   ORDER BY j.period_end DESC, j.period_start DESC, j.line_no
   LIMIT 1;

  IF v_plan_id IS NOT NULL THEN
    SELECT e.provider, CONCAT('event:', e.provider_event_id) INTO v_provider, v_key FROM billing_events AS e WHERE e.id = p_event_id;
    SELECT a.id, a.provider_subscription_id, a.period_start_at, a.period_end_at
      INTO v_current_id, v_current_subscription_id, v_current_start_at, v_current_end_at
      FROM billing_plan_assignments AS a
     WHERE a.current_subject_id = p_subject_id;
    SELECT TRUE, s.plan_id, s.quantity, s.status, s.said_at, s.ended_at
      INTO v_is_known, v_known_plan_id, v_known_quantity, v_status, v_known_said_at, v_ended_at
      FROM billing_provider_subscriptions AS s
     WHERE s.provider = v_provider AND s.provider_subscription_id = CONVERT(v_subscription_id USING ascii)
       FOR UPDATE;
    SET v_is_same = v_known_plan_id <=> v_plan_id AND v_known_quantity <=> v_quantity;
    SET v_was_current = COALESCE(v_status IN ('trialing', 'active', 'past_due'), FALSE);
    -- The rest of a period that is known is a part of it: the period is paid, and does not begin anew.
    IF v_is_proration AND v_current_subscription_id <=> CONVERT(v_subscription_id USING ascii) AND v_current_start_at <= v_start_at
       AND v_current_end_at = v_end_at THEN
      SET v_start_at = v_current_start_at;
    END IF;

    CASE
      WHEN v_subscription_id IS NULL THEN
        SET v_takes_over = TRUE;
      WHEN v_ended_at IS NOT NULL THEN
        SET v_takes_over = FALSE;
      WHEN v_is_known IS NULL THEN
        SET v_takes_over = TRUE;
        INSERT INTO billing_provider_subscriptions (provider, provider_subscription_id, subject_id, plan_id, quantity, status, said_at, updated_at)
        VALUES (v_provider, v_subscription_id, p_subject_id, v_plan_id, v_quantity, 'active', LEAST(COALESCE(v_start_at, p_said_at), p_said_at), UTC_TIMESTAMP(3));
      WHEN v_is_same AND v_was_current THEN
        SET v_takes_over = v_current_id IS NULL OR v_current_subscription_id <=> CONVERT(v_subscription_id USING ascii);
      WHEN v_is_same THEN
        SET v_takes_over = v_known_said_at <= p_said_at;
      ELSE
        SET v_takes_over = COALESCE(v_start_at > v_known_said_at, FALSE);
    END CASE;
    IF v_takes_over AND v_is_known AND NOT (v_is_same AND v_was_current) THEN
      UPDATE billing_provider_subscriptions AS s
         SET s.plan_id = v_plan_id, s.quantity = v_quantity, s.status = 'active', s.said_at = GREATEST(s.said_at, LEAST(COALESCE(v_start_at, s.said_at), p_said_at))
       WHERE s.provider = v_provider AND s.provider_subscription_id = CONVERT(v_subscription_id USING ascii);
    END IF;

    IF v_takes_over THEN
      CALL billing_assign_plan_in_tx_v1(p_subject_id, v_plan_id, v_quantity, NULL, v_start_at, v_end_at, v_subscription_id, v_key, p_created_by,
                                        v_assignment_id, v_changed);
    ELSE
      SELECT MAX(a.id) INTO v_assignment_id
        FROM billing_plan_assignments AS a
       WHERE a.subject_id = p_subject_id AND a.plan_id = v_plan_id AND a.quantity = v_quantity
         AND a.provider_subscription_id = CONVERT(v_subscription_id USING ascii) AND a.status IN ('current', 'ended');
    END IF;
    IF v_assignment_id IS NOT NULL AND v_start_at IS NOT NULL THEN
      CALL billing_pay_period_in_tx_v1(v_assignment_id, v_start_at, v_end_at, p_purchase_id, p_created_by);
    END IF;
  END IF;
END
