-- billing_take_back_in_tx_v1: takes back of a purchase's grants what was refunded of it, or all of them where it is void.
--
-- Called by    billing_apply_event_in_tx_v1, after anything that moved a purchase or its refunds; billing_void_purchase_v1; billing_confirm_purchase_v1.
-- Transaction  needs the caller's.
-- Locks        as billing_lock_subject_in_tx_v1; the purchase's refunds; the balance of each grant.
-- Idempotency  it compares what is there with what should be: what has been taken back is not taken back again.
-- Parameters   p_purchase_id  the purchase
--              p_created_by   who caused it, up to 128 characters
-- Results      none.
-- Errors       PURCHASE_NOT_FOUND, and as billing_lock_subject_in_tx_v1, entitlement_settle_in_tx_v1, entitlement_revoke_in_tx_v1 and
--              entitlement_grant_in_tx_v1.
-- Cost         the purchase's grants, read; for each that changes, what a revocation and a grant cost.
--
-- What stays of a grant is what was bought less the refunded part of the money, rounded in the customer's favour. What was used stays used: the
-- rest is granted anew, less what has been given so far, with the same end and place in the burn order. Of grants that renew or count whole,
-- which give together, all that stays is granted anew. Where it turns out that more was paid than was known when a refund was weighed, since another
-- event of the payment came later, the part that was taken back too much is given again.
CREATE PROCEDURE billing_take_back_in_tx_v1(
  IN p_purchase_id BIGINT UNSIGNED,
  IN p_created_by  VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Takes back what was refunded'
BEGIN
  DECLARE v_now, v_effective_at, v_expires_at DATETIME(3);
  DECLARE v_subject_id, v_grant_id, v_first_grant_id, v_assignment_id, v_rest_id BIGINT UNSIGNED;
  DECLARE v_definition_id, v_boundaries INT UNSIGNED;
  DECLARE v_provider, v_status, v_kind, v_source VARCHAR(32);
  DECLARE v_void_reason, v_reason, v_cause VARCHAR(255);
  DECLARE v_currency CHAR(3);
  DECLARE v_code VARCHAR(64);
  DECLARE v_other_names JSON;
  DECLARE v_paid, v_refunded, v_known_refunded, v_bought, v_amount, v_entitled, v_given_before, v_given, v_rest BIGINT;
  DECLARE v_priority SMALLINT;
  DECLARE v_counts_whole, v_has_ended, v_is_rest, v_replayed BOOLEAN;
  DECLARE v_no_more BOOLEAN DEFAULT FALSE;
  DECLARE c_definitions CURSOR FOR
    SELECT DISTINCT g.definition_id
      FROM billing_purchase_grants AS pg
      JOIN billing_entitlement_grants AS g ON g.id = pg.grant_id
     WHERE pg.purchase_id = p_purchase_id
     ORDER BY g.definition_id;
  DECLARE c_grants CURSOR FOR
    SELECT pg.first_grant_id, pg.grant_id, pg.bought_amount, gb.is_allotment, g.amount, d.code, g.grant_kind, g.priority,
           g.effective_at, g.expires_at, g.source, g.plan_assignment_id, gb.grant_state = 'ended',
           g.dedupe_key LIKE CONCAT('refund:', p_purchase_id, ':%')
      FROM billing_purchase_grants AS pg
      JOIN billing_entitlement_grants AS g ON g.id = pg.grant_id
      JOIN billing_entitlement_grant_balances AS gb ON gb.grant_id = g.id
      JOIN billing_entitlement_definitions AS d ON d.id = g.definition_id
      -- What a refund took back as a whole. Where a part of it stayed, that has a grant of its own.
      LEFT JOIN billing_entitlement_revocations AS r ON r.grant_id = g.id AND r.dedupe_key LIKE CONCAT('refund:', p_purchase_id, ':%')
      LEFT JOIN billing_purchase_grants AS later
        ON later.purchase_id = pg.purchase_id AND later.first_grant_id = pg.first_grant_id AND later.grant_id > pg.grant_id
     WHERE pg.purchase_id = p_purchase_id
       AND (gb.grant_state <> 'ended' OR (r.grant_id IS NOT NULL AND later.grant_id IS NULL AND COALESCE(g.expires_at > v_now, TRUE)))
     ORDER BY d.id, g.id;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_no_more = TRUE;

  SELECT p.subject_id, p.provider INTO v_subject_id, v_provider FROM billing_purchases AS p WHERE p.id = p_purchase_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45111' SET MYSQL_ERRNO = 52111, MESSAGE_TEXT = 'PURCHASE_NOT_FOUND: no purchase has this id';
  END IF;
  CALL billing_lock_subject_in_tx_v1(v_subject_id);
  SELECT p.status, p.currency, p.paid_minor_units, p.refunded_minor_units, p.void_reason INTO v_status, v_currency, v_paid, v_known_refunded, v_void_reason
    FROM billing_purchases AS p
   WHERE p.id = p_purchase_id
     FOR UPDATE;
  SET v_now = UTC_TIMESTAMP(3);

  -- Refunds that were heard of before their purchase, by any of its names.
  SELECT JSON_ARRAYAGG(s.reference_id) INTO v_other_names
    FROM billing_purchase_references AS r
    STRAIGHT_JOIN billing_purchase_references AS s FORCE INDEX (ix_purchase_references_same_as) ON s.provider = r.provider AND s.same_as_id = r.reference_id
   WHERE r.purchase_id = p_purchase_id
     FOR SHARE OF s;
  UPDATE (SELECT r.reference_id FROM billing_purchase_references AS r WHERE r.purchase_id = p_purchase_id
          UNION DISTINCT
          SELECT CONVERT(j.reference_id USING ascii)
            FROM JSON_TABLE(COALESCE(v_other_names, JSON_ARRAY()), '$[*]' COLUMNS (reference_id VARCHAR(255) PATH '$')) AS j) AS n
    STRAIGHT_JOIN billing_refunds AS f FORCE INDEX (ix_refunds_reference)
       ON f.provider = CONVERT(v_provider USING ascii) AND f.reference_id = CONVERT(n.reference_id USING ascii)
     SET f.purchase_id = p_purchase_id
   WHERE f.purchase_id IS NULL;
  -- A purchase that came with refunds from elsewhere has charges that no event told of: what was paid back never falls.
  SELECT LEAST(GREATEST(COALESCE(SUM(f.refunded_minor_units), 0), v_known_refunded), v_paid) INTO v_refunded
    FROM billing_refunds AS f FORCE INDEX (ix_refunds_purchase)
   WHERE f.purchase_id = p_purchase_id;

  IF v_status = 'voided' THEN
    SET v_reason = v_void_reason, v_cause = CONCAT('void:', p_purchase_id, ':');
  ELSE
    SET v_status = CASE WHEN v_refunded = 0 THEN 'paid' WHEN v_refunded = v_paid THEN 'refunded' ELSE 'partially_refunded' END;
    SET v_reason = CONCAT('Refund of ', v_refunded, ' of ', v_paid, ' ', v_currency), v_cause = CONCAT('refund:', p_purchase_id, ':', v_refunded, ':');
  END IF;
  UPDATE billing_purchases AS p SET p.refunded_minor_units = v_refunded, p.status = v_status WHERE p.id = p_purchase_id;

  IF v_status <> 'paid' THEN
    SET v_no_more = FALSE;
    OPEN c_definitions;
    settling: LOOP
      FETCH c_definitions INTO v_definition_id;
      IF v_no_more THEN
        LEAVE settling;
      END IF;
      CALL entitlement_settle_in_tx_v1(v_subject_id, v_definition_id, v_now, NULL, v_boundaries);
      SET v_no_more = FALSE;
    END LOOP;
    CLOSE c_definitions;

    SET v_no_more = FALSE;
    OPEN c_grants;
    -- The rests that this loop grants are not in its list: the cursor was read when it opened.
    taking: LOOP
      FETCH c_grants INTO v_first_grant_id, v_grant_id, v_bought, v_counts_whole, v_amount, v_code, v_kind, v_priority, v_effective_at, v_expires_at,
                          v_source, v_assignment_id, v_has_ended, v_is_rest;
      IF v_no_more THEN
        LEAVE taking;
      END IF;
      SET v_entitled = IF(v_status IN ('voided', 'refunded'), 0, v_bought - CAST(v_bought AS DECIMAL(38, 0)) * v_refunded DIV v_paid);
      SELECT IF(v_counts_whole, 0, COALESCE(SUM(gb.given_amount), 0)) INTO v_given_before
        FROM billing_purchase_grants AS pg
        JOIN billing_entitlement_grant_balances AS gb ON gb.grant_id = pg.grant_id
       WHERE pg.purchase_id = p_purchase_id AND pg.first_grant_id = v_first_grant_id AND pg.grant_id <> v_grant_id;
      IF v_has_ended OR v_entitled < v_given_before + v_amount OR (v_is_rest AND v_entitled > v_given_before + v_amount) THEN
        IF NOT v_has_ended THEN
          CALL entitlement_revoke_in_tx_v1(v_grant_id, NULL, CONCAT(v_cause, v_grant_id), v_reason, p_created_by, v_replayed);
        END IF;
        -- Only now is it known what the grant gave: its end closed the segment.
        SELECT IF(v_counts_whole, 0, gb.given_amount) INTO v_given FROM billing_entitlement_grant_balances AS gb WHERE gb.grant_id = v_grant_id;
        SET v_rest = v_entitled - v_given_before - v_given;
        IF v_rest > 0 THEN
          CALL entitlement_grant_in_tx_v1(v_subject_id, v_code, v_rest, v_kind, v_effective_at, v_expires_at, v_priority, v_source, v_assignment_id,
                                          IF(v_source = 'purchase', p_purchase_id, NULL), CONCAT(v_cause, v_grant_id), v_reason, p_created_by,
                                          v_rest_id, v_replayed);
          INSERT INTO billing_purchase_grants (purchase_id, grant_id, first_grant_id, bought_amount)
          VALUES (p_purchase_id, v_rest_id, v_first_grant_id, v_bought);
        END IF;
      END IF;
      SET v_no_more = FALSE;
    END LOOP;
    CLOSE c_grants;
  END IF;
END
