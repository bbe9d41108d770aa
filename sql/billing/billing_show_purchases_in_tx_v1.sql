-- billing_show_purchases_in_tx_v1: returns purchases with their lines, what they granted, and what was paid back of them.
--
-- Called by    every procedure that answers with purchases.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_purchase_ids  JSON array of purchases, up to 1,000
-- Results      four sets, each in the order of the purchases, newest first: the purchases; their lines, with plan_code and product_code both null
--              where nobody in the catalogue bears the price; their grants, as far as the purchase's own record goes; their refunds.
-- Errors       none.
-- Cost         the purchases' rows.
CREATE PROCEDURE billing_show_purchases_in_tx_v1(
  IN p_purchase_ids JSON
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns purchases'
BEGIN
  SELECT p.id, p.subject_id, p.provider, p.provider_payment_id, p.event_id, p.status, p.currency, p.paid_minor_units, p.refunded_minor_units,
         p.period_start_at, p.period_end_at, p.purchased_at, p.created_at, p.voided_at, p.voided_by, p.void_reason
    FROM JSON_TABLE(p_purchase_ids, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS j
    STRAIGHT_JOIN billing_purchases AS p ON p.id = j.id
   ORDER BY p.id DESC;
  SELECT l.purchase_id, l.line_no, l.provider_price_id, pl.code AS plan_code, pr.code AS product_code, l.quantity
    FROM JSON_TABLE(p_purchase_ids, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS j
    STRAIGHT_JOIN billing_purchase_lines AS l ON l.purchase_id = j.id
    LEFT JOIN billing_plans AS pl ON pl.id = l.plan_id
    LEFT JOIN billing_products AS pr ON pr.id = l.product_id
   ORDER BY l.purchase_id DESC, l.line_no;
  SELECT pg.purchase_id, pg.grant_id, pg.first_grant_id, pg.bought_amount, d.code, g.grant_kind, g.amount, g.effective_at, g.expires_at, r.revoked_at,
         gb.grant_state, g.reason
    FROM JSON_TABLE(p_purchase_ids, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS j
    STRAIGHT_JOIN billing_purchase_grants AS pg ON pg.purchase_id = j.id
    JOIN billing_entitlement_grants AS g ON g.id = pg.grant_id
    JOIN billing_entitlement_grant_balances AS gb ON gb.grant_id = g.id
    JOIN billing_entitlement_definitions AS d ON d.id = g.definition_id
    LEFT JOIN billing_entitlement_revocations AS r ON r.grant_id = g.id
   ORDER BY pg.purchase_id DESC, pg.grant_id;
  SELECT f.purchase_id, f.provider_charge_id, f.currency, f.refunded_minor_units, f.updated_at
    FROM JSON_TABLE(p_purchase_ids, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS j
    STRAIGHT_JOIN billing_refunds AS f FORCE INDEX (ix_refunds_purchase) ON f.purchase_id = j.id
   ORDER BY f.purchase_id DESC, f.provider_charge_id;
END
