-- billing_confirm_purchase_in_tx_v1: books a payment once, under whichever of its ids it comes, and grants what its products promise.
--
-- Called by    billing_apply_checkout_in_tx_v1, billing_apply_invoice_in_tx_v1, billing_confirm_purchase_v1; people, inside their own transaction.
-- Transaction  needs the caller's.
-- Locks        as billing_lock_subject_in_tx_v1; the rows of the payment's ids; the balance of each grant.
-- Idempotency  the payment's ids: what is known of it already is not granted again. Of each price, only what this call says more than was known
--              counts: two events of one payment may know different parts of it, and come in either order.
-- Parameters   p_subject_id        who bought
--              p_provider          stripe
--              p_references        JSON array of the payment's ids, 1 to 20, the one that the purchase is known by first
--              p_event_id          the event that says so; null: a person does
--              p_currency          ISO 4217, lower case; null where no money was paid
--              p_paid_minor_units  money, in the currency's smallest unit, 0 or more
--              p_lines             JSON array of {lineNo, priceId, quantity}, quantity 1 to 1,000,000
--              p_period_start_at, p_period_end_at  UTC; the paid period of a plan; null: none
--              p_purchased_at      UTC; when it was paid; later than now counts as now
--              p_created_by        who says so, up to 128 characters
--              p_purchase_id       out: the purchase
-- Results      none.
-- Errors       VALIDATION_FAILED, EVENT_NOT_APPLIED, and as billing_lock_subject_in_tx_v1, billing_find_purchase_in_tx_v1 and
--              entitlement_grant_in_tx_v1.
-- Cost         one row for the purchase, one for each id, each line and each grant, and what the grants cost.
CREATE PROCEDURE billing_confirm_purchase_in_tx_v1(
  IN  p_subject_id       BIGINT UNSIGNED,
  IN  p_provider         VARCHAR(32),
  IN  p_references       JSON,
  IN  p_event_id         BIGINT UNSIGNED,
  IN  p_currency         VARCHAR(3),
  IN  p_paid_minor_units BIGINT,
  IN  p_lines            JSON,
  IN  p_period_start_at  DATETIME(3),
  IN  p_period_end_at    DATETIME(3),
  IN  p_purchased_at     DATETIME(3),
  IN  p_created_by       VARCHAR(128),
  OUT p_purchase_id      BIGINT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Books a payment once and grants what was bought'
BEGIN
  DECLARE v_now, v_purchased_at DATETIME(3);
  DECLARE v_subject_id, v_grant_id BIGINT UNSIGNED;
  DECLARE v_references JSON DEFAULT p_references;
  DECLARE v_other_names JSON;
  DECLARE v_known_lines, v_wrong, v_days INT UNSIGNED;
  DECLARE v_code, v_product_code VARCHAR(64);
  DECLARE v_template_kind VARCHAR(32);
  DECLARE v_cause VARCHAR(80);
  DECLARE v_amount BIGINT;
  DECLARE v_replayed BOOLEAN;
  DECLARE v_no_more BOOLEAN DEFAULT FALSE;
  DECLARE c_grants CURSOR FOR
    SELECT d.code, p.code, t.grant_kind, t.duration_days,
           -- What is too much for a grant is refused there, by its field's name. A state is on or off.
           LEAST(CAST(t.amount AS DECIMAL(38, 0)) * IF(d.entitlement_type = 'state', 1, SUM(l.quantity)), 9007199254740992)
      FROM billing_purchase_lines AS l
      JOIN billing_products AS p ON p.id = l.product_id
      JOIN billing_product_entitlement_templates AS t ON t.product_id = p.id
      JOIN billing_entitlement_definitions AS d ON d.id = t.definition_id
     WHERE l.purchase_id = p_purchase_id AND l.line_no > v_known_lines
     GROUP BY t.id, d.id, d.code, d.entitlement_type, p.id, p.code, t.grant_kind, t.duration_days, t.amount
     ORDER BY d.id, p.id, t.grant_kind;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_no_more = TRUE;

  SELECT COUNT(*) INTO v_wrong
    FROM JSON_TABLE(p_references, '$[*]' COLUMNS (reference_id VARCHAR(255) PATH '$')) AS j
   WHERE NOT COALESCE(REGEXP_LIKE(j.reference_id, '^[!-~]{1,255}\\z'), FALSE);
  IF v_wrong > 0 OR COALESCE(JSON_TYPE(p_references) <> 'ARRAY' OR JSON_LENGTH(p_references) NOT BETWEEN 1 AND 20, TRUE) THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: references: must be 1 to 20 ids of the payment, in visible ASCII characters';
  END IF;
  IF p_paid_minor_units IS NULL OR p_paid_minor_units < 0 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: paidMinorUnits: must be a whole number, 0 or more';
  END IF;
  IF NOT REGEXP_LIKE(COALESCE(p_currency, IF(p_paid_minor_units = 0, 'xxx', '')), '^[a-z]{3}\\z', 'c') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: currency: must be three lower-case letters, such as eur';
  END IF;
  SELECT COUNT(*) INTO v_wrong
    FROM JSON_TABLE(p_lines, '$[*]' COLUMNS (price_id VARCHAR(255) PATH '$.priceId', quantity BIGINT PATH '$.quantity')) AS j
   WHERE NOT COALESCE(REGEXP_LIKE(j.price_id, '^[!-~]{1,255}\\z') AND j.quantity BETWEEN 1 AND 1000000, FALSE);
  IF v_wrong > 0 OR COALESCE(JSON_TYPE(p_lines) <> 'ARRAY' OR JSON_LENGTH(p_lines) NOT BETWEEN 1 AND 1000, TRUE) THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: lines: must be 1 to 1000 prices, each with a quantity of 1 to 1000000';
  END IF;

  CALL billing_lock_subject_in_tx_v1(p_subject_id);
  -- What these ids are other names of is an id of this payment too.
  SELECT JSON_ARRAYAGG(r.same_as_id) INTO v_other_names
    FROM JSON_TABLE(p_references, '$[*]' COLUMNS (reference_id VARCHAR(255) PATH '$')) AS j
    STRAIGHT_JOIN billing_purchase_references AS r FORCE INDEX (PRIMARY)
       ON r.provider = CONVERT(p_provider USING ascii) AND r.reference_id = CONVERT(j.reference_id USING ascii)
   WHERE r.same_as_id IS NOT NULL
     FOR SHARE OF r;
  SET v_now = UTC_TIMESTAMP(3);
  SET v_purchased_at = LEAST(COALESCE(p_purchased_at, v_now), v_now);
  SET v_references = JSON_MERGE_PRESERVE(v_references, COALESCE(v_other_names, JSON_ARRAY()));
  CALL billing_find_purchase_in_tx_v1(p_provider, v_references, p_purchase_id, v_subject_id);
  IF v_subject_id <> p_subject_id THEN
    SIGNAL SQLSTATE '45902' SET MYSQL_ERRNO = 52902, MESSAGE_TEXT = 'EVENT_NOT_APPLIED: the payment was booked for another billable entity';
  END IF;

  IF p_purchase_id IS NULL THEN
    INSERT INTO billing_purchases
      (subject_id, provider, provider_payment_id, event_id, status, currency, paid_minor_units, period_start_at, period_end_at, purchased_at, created_at)
    VALUES
      (p_subject_id, p_provider, JSON_UNQUOTE(JSON_EXTRACT(p_references, '$[0]')), p_event_id, 'paid', COALESCE(p_currency, 'xxx'), p_paid_minor_units,
       p_period_start_at, p_period_end_at, v_purchased_at, v_now);
    SET p_purchase_id = LAST_INSERT_ID();
  ELSE
    UPDATE billing_purchases AS p
       SET p.paid_minor_units = GREATEST(p.paid_minor_units, p_paid_minor_units),
           p.period_end_at = IF(p.period_start_at IS NULL, p_period_end_at, p.period_end_at),
           p.period_start_at = COALESCE(p.period_start_at, p_period_start_at)
     WHERE p.id = p_purchase_id;
  END IF;
  -- An id that is there by now is found by the next statement, whosever it is.
  INSERT IGNORE INTO billing_purchase_references (provider, reference_id, purchase_id)
  SELECT DISTINCT p_provider, j.reference_id, p_purchase_id
    FROM JSON_TABLE(v_references, '$[*]' COLUMNS (reference_id VARCHAR(255) PATH '$' ERROR ON ERROR)) AS j;
  CALL billing_find_purchase_in_tx_v1(p_provider, v_references, p_purchase_id, v_subject_id);

  -- Of each price, what is more than was known: all of it the first time.
  SELECT COUNT(*) INTO v_known_lines FROM billing_purchase_lines AS l WHERE l.purchase_id = p_purchase_id;
  INSERT INTO billing_purchase_lines (purchase_id, line_no, provider_price_id, plan_id, product_id, quantity)
  SELECT p_purchase_id, v_known_lines + ROW_NUMBER() OVER (ORDER BY s.line_no), s.price_id, pp.plan_id, pp.product_id,
         LEAST(s.quantity, s.quantity_so_far - COALESCE(k.quantity, 0))
    FROM (SELECT j.line_no, j.price_id, j.quantity, SUM(j.quantity) OVER (PARTITION BY j.price_id ORDER BY j.line_no) AS quantity_so_far
            FROM JSON_TABLE(p_lines, '$[*]' COLUMNS (
                   line_no INT PATH '$.lineNo', price_id VARCHAR(255) COLLATE utf8mb4_bin PATH '$.priceId', quantity BIGINT PATH '$.quantity')) AS j) AS s
    LEFT JOIN (SELECT l.provider_price_id, SUM(l.quantity) AS quantity
                 FROM billing_purchase_lines AS l
                WHERE l.purchase_id = p_purchase_id
                GROUP BY l.provider_price_id) AS k ON k.provider_price_id = CONVERT(s.price_id USING ascii)
    LEFT JOIN billing_provider_prices AS pp ON pp.provider_price_id = CONVERT(s.price_id USING ascii)
   WHERE s.quantity_so_far > COALESCE(k.quantity, 0);

  SELECT CONCAT('event:', e.provider_event_id, ':', p_subject_id) INTO v_cause FROM billing_events AS e WHERE e.id = p_event_id;
  SET v_cause = COALESCE(v_cause, CONCAT('purchase:', p_purchase_id)), v_no_more = FALSE;
  OPEN c_grants;
  -- As many rounds as the new lines' products have templates.
  granting: LOOP
    FETCH c_grants INTO v_code, v_product_code, v_template_kind, v_days, v_amount;
    IF v_no_more THEN
      LEAVE granting;
    END IF;
    CALL entitlement_grant_in_tx_v1(p_subject_id, v_code, v_amount, IF(v_template_kind = 'one_off_topup', 'topup', 'addon_timeboxed'),
                                    v_purchased_at, v_purchased_at + INTERVAL v_days DAY, NULL, 'purchase', NULL, p_purchase_id,
                                    CONCAT_WS(':', v_cause, v_product_code, v_code, v_template_kind), NULL, p_created_by, v_grant_id, v_replayed);
    SET v_no_more = FALSE;
    INSERT INTO billing_purchase_grants (purchase_id, grant_id, first_grant_id, bought_amount) VALUES (p_purchase_id, v_grant_id, v_grant_id, v_amount);
  END LOOP;
  CLOSE c_grants;
END
