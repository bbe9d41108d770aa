-- billing_apply_subscription_in_tx_v1: puts the subject on the plan that a subscription says, or ends it, if nothing newer is known of it.
--
-- Called by    billing_apply_event_in_tx_v1, for customer.subscription.created, .updated and .deleted.
-- Transaction  needs the caller's.
-- Locks        the plans of its items, shared; as billing_find_customer_in_tx_v1; the subscription's row; then as billing_assign_plan_in_tx_v1 or
--              billing_end_assignment_in_tx_v1.
-- Idempotency  what was said before the newest that is known changes nothing; what was said at the same second does. Deleted is for ever.
-- Parameters   p_event_id         the event
--              p_is_deleted       whether it says that the subscription was deleted
--              p_object           the subscription, as JSON, of an old or a new version of the provider's API
--              p_said_at          UTC; when the provider made the event
--              p_created_by       who caused it
--              p_subject_id       out: whose it is; null: not known
--              p_ignored_because  out: null: applied
-- Results      none.
-- Errors       VALIDATION_FAILED, SUBJECT_NOT_FOUND, EVENT_NOT_APPLIED, and as billing_find_customer_in_tx_v1, billing_move_anchor_in_tx_v1,
--              billing_assign_plan_in_tx_v1 and billing_end_assignment_in_tx_v1.
-- Cost         one row, and what the plan costs.
--
-- trialing, active, past_due: the subject is on the plan. incomplete: not yet. unpaid, canceled, incomplete_expired, paused: no more. A subscription that is
-- not the subject's current one takes over only if it is new, changes its plan or quantity, or comes to life.
CREATE PROCEDURE billing_apply_subscription_in_tx_v1(
  IN  p_event_id        BIGINT UNSIGNED,
  IN  p_is_deleted      BOOLEAN,
  IN  p_object          JSON,
  IN  p_said_at         DATETIME(3),
  IN  p_created_by      VARCHAR(128),
  OUT p_subject_id      BIGINT UNSIGNED,
  OUT p_ignored_because VARCHAR(255)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Puts a subject on the plan that its subscription says'
BEGIN
  DECLARE v_epoch DATETIME(3) DEFAULT '1970-01-01 00:00:00.000';
  DECLARE v_provider VARCHAR(32);
  DECLARE v_subscription_id, v_current_subscription_id, v_customer, v_entity_type, v_entity_ref, v_key VARCHAR(255);
  DECLARE v_status, v_known_status VARCHAR(32);
  DECLARE v_found, v_items JSON;
  DECLARE v_plan_id, v_quantity, v_known, v_known_plan_id, v_known_quantity INT UNSIGNED;
  DECLARE v_start, v_end, v_item_start, v_item_end, v_anchor BIGINT;
  DECLARE v_now, v_start_at, v_end_at, v_anchor_at, v_known_anchor_at, v_window_start_at, v_window_end_at, v_known_said_at, v_known_ended_at DATETIME(3);
  DECLARE v_is_known, v_is_current, v_changes, v_changed BOOLEAN;
  DECLARE v_current_id, v_assignment_id BIGINT UNSIGNED;

  SET p_subject_id = NULL, p_ignored_because = NULL;
  SELECT e.provider, CONCAT('event:', e.provider_event_id) INTO v_provider, v_key FROM billing_events AS e WHERE e.id = p_event_id;
  SELECT j.subscription_id, j.customer, j.status, j.entity_type, j.entity_ref, j.period_start, j.period_end, j.anchor
    INTO v_subscription_id, v_customer, v_status, v_entity_type, v_entity_ref, v_start, v_end, v_anchor
    FROM JSON_TABLE(p_object, '$' COLUMNS (
           subscription_id VARCHAR(255) PATH '$.id' ERROR ON ERROR, customer VARCHAR(255) PATH '$.customer' ERROR ON ERROR,
           status VARCHAR(32) PATH '$.status' ERROR ON ERROR, entity_type VARCHAR(255) PATH '$.metadata.entityType' ERROR ON ERROR,
           entity_ref VARCHAR(255) PATH '$.metadata.entityRef' ERROR ON ERROR, period_start BIGINT PATH '$.current_period_start' ERROR ON ERROR,
           period_end BIGINT PATH '$.current_period_end' ERROR ON ERROR, anchor BIGINT PATH '$.billing_cycle_anchor' ERROR ON ERROR)) AS j;
  IF v_subscription_id IS NULL OR v_status IS NULL THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: data.object: a subscription has id and status';
  END IF;
  SELECT JSON_ARRAYAGG(JSON_OBJECT('itemNo', j.item_no, 'priceId', COALESCE(j.price, j.plan), 'productId', COALESCE(j.price_product, j.plan_product), 'quantity', j.quantity,
                                   'periodStartAt', j.period_start, 'periodEndAt', j.period_end))
    INTO v_found
    FROM JSON_TABLE(p_object, '$.items.data[*]' COLUMNS (
           item_no FOR ORDINALITY, price VARCHAR(255) PATH '$.price.id' ERROR ON ERROR, plan VARCHAR(255) PATH '$.plan.id' ERROR ON ERROR,
           price_product VARCHAR(255) PATH '$.price.product', plan_product VARCHAR(255) PATH '$.plan.product',
           quantity INT UNSIGNED PATH '$.quantity' ERROR ON ERROR, period_start BIGINT PATH '$.current_period_start' ERROR ON ERROR,
           period_end BIGINT PATH '$.current_period_end' ERROR ON ERROR)) AS j;
  CALL billing_name_lines_in_tx_v1(v_found, v_items, v_known);
  CALL billing_lock_plans_in_tx_v1(COALESCE(v_items, JSON_ARRAY()));
  SELECT pp.plan_id, COALESCE(NULLIF(j.quantity, 0), 1), j.period_start, j.period_end INTO v_plan_id, v_quantity, v_item_start, v_item_end
    FROM JSON_TABLE(v_items, '$[*]' COLUMNS (
           item_no INT PATH '$.itemNo', price_id VARCHAR(255) PATH '$.priceId', quantity INT UNSIGNED PATH '$.quantity',
           period_start BIGINT PATH '$.periodStartAt', period_end BIGINT PATH '$.periodEndAt')) AS j
    JOIN billing_provider_prices AS pp ON pp.provider_price_id = CONVERT(j.price_id USING ascii)
   WHERE pp.plan_id IS NOT NULL
   ORDER BY j.item_no
   LIMIT 1;
  SET v_start = COALESCE(v_item_start, v_start), v_end = COALESCE(v_item_end, v_end);
  IF v_end > v_start THEN
    SET v_start_at = v_epoch + INTERVAL v_start SECOND, v_end_at = v_epoch + INTERVAL v_end SECOND;
  END IF;

  CALL billing_find_customer_in_tx_v1(v_customer, NULL, v_entity_type, v_entity_ref, p_subject_id);
  SELECT TRUE, s.plan_id, s.quantity, s.status, s.said_at, s.ended_at
    INTO v_is_known, v_known_plan_id, v_known_quantity, v_known_status, v_known_said_at, v_known_ended_at
    FROM billing_provider_subscriptions AS s
   WHERE s.provider = v_provider AND s.provider_subscription_id = CONVERT(v_subscription_id USING ascii)
     FOR UPDATE;
  SET v_now = UTC_TIMESTAMP(3);
  IF p_subject_id IS NULL AND (v_plan_id IS NOT NULL OR v_is_known) THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this customer or reference';
  END IF;
  IF v_is_known AND v_plan_id IS NULL AND NOT p_is_deleted THEN
    SIGNAL SQLSTATE '45902' SET MYSQL_ERRNO = 52902, MESSAGE_TEXT = 'EVENT_NOT_APPLIED: none of the prices that it has now is a plan of the catalogue';
  END IF;

  CASE
    WHEN v_is_known IS NULL AND v_plan_id IS NULL THEN
      SET p_ignored_because = 'None of its prices is a plan of the catalogue';
    WHEN v_known_ended_at IS NOT NULL THEN
      SET p_ignored_because = 'The subscription was deleted, which is for ever';
    WHEN v_known_said_at > p_said_at AND NOT p_is_deleted THEN
      SET p_ignored_because = 'Something newer is known of the subscription';
    ELSE
      SET v_is_current = v_status IN ('trialing', 'active', 'past_due') AND NOT p_is_deleted;
      SET v_changes = v_is_known IS NULL OR NOT v_known_plan_id <=> v_plan_id OR v_known_quantity <> v_quantity
                      OR v_known_status NOT IN ('trialing', 'active', 'past_due');
      IF v_is_known IS NULL THEN
        INSERT INTO billing_provider_subscriptions
          (provider, provider_subscription_id, subject_id, plan_id, quantity, status, said_at, ended_at, updated_at)
        VALUES (v_provider, v_subscription_id, p_subject_id, v_plan_id, v_quantity, v_status, p_said_at, IF(p_is_deleted, p_said_at, NULL), v_now);
      ELSE
        UPDATE billing_provider_subscriptions AS s
           SET s.subject_id = p_subject_id, s.plan_id = COALESCE(v_plan_id, s.plan_id), s.quantity = COALESCE(v_quantity, s.quantity), s.status = v_status,
               s.said_at = p_said_at, s.ended_at = IF(p_is_deleted, p_said_at, NULL), s.updated_at = v_now
         WHERE s.provider = v_provider AND s.provider_subscription_id = CONVERT(v_subscription_id USING ascii);
      END IF;

      SELECT a.id, a.provider_subscription_id INTO v_current_id, v_current_subscription_id
        FROM billing_plan_assignments AS a
       WHERE a.current_subject_id = p_subject_id;
      IF v_is_current AND (v_changes OR v_current_id IS NULL OR v_current_subscription_id <=> CONVERT(v_subscription_id USING ascii)) THEN
        -- On a month's last days the period's start alone would not tell the day: the 28th of February may be the 31st.
        SET v_anchor_at = v_epoch + INTERVAL v_anchor SECOND;
        SELECT e.billing_anchor_at INTO v_known_anchor_at FROM billable_entities AS e WHERE e.id = p_subject_id;
        IF v_known_anchor_at IS NULL AND v_anchor_at <= v_start_at THEN
          CALL entitlement_window_at_v1('month', 'billing_period', v_anchor_at, v_start_at, v_window_start_at, v_window_end_at);
          IF v_window_start_at = v_start_at THEN
            CALL billing_move_anchor_in_tx_v1(p_subject_id, v_anchor_at, v_now);
          END IF;
        END IF;
        CALL billing_assign_plan_in_tx_v1(p_subject_id, v_plan_id, v_quantity, NULL, v_start_at, v_end_at, v_subscription_id, v_key, p_created_by,
                                          v_assignment_id, v_changed);
      ELSEIF (p_is_deleted OR v_status NOT IN ('incomplete', 'trialing', 'active', 'past_due')) AND v_current_subscription_id = CONVERT(v_subscription_id USING ascii) THEN
        CALL billing_end_assignment_in_tx_v1(v_current_id, p_created_by, v_changed);
      END IF;
  END CASE;
END
