-- billing_name_lines_in_tx_v1: says by which id of the provider the catalogue knows what lines sell: their price's, else their product's.
--
-- Called by    billing_apply_checkout_in_tx_v1, billing_apply_invoice_in_tx_v1, billing_apply_subscription_in_tx_v1.
-- Transaction  reads in the caller's.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_lines  JSON array of objects with priceId and productId, both of the provider; null: there are none
--              p_named  out: the same, where priceId is the product's id if the catalogue has that and not the price; null: there are none
--              p_known  out: how many of them the catalogue knows
-- Results      none.
-- Errors       none.
-- Cost         two rows for each line.
--
-- A product of the provider has a price for each currency and interval: whoever sells all of them alike names the product once, among providerPriceIds.
CREATE PROCEDURE billing_name_lines_in_tx_v1(
  IN  p_lines JSON,
  OUT p_named JSON,
  OUT p_known INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Says by which id the catalogue knows what lines sell'
BEGIN
  SELECT JSON_ARRAYAGG(JSON_SET(j.line, '$.priceId', COALESCE(pp.provider_price_id, pr.provider_price_id, j.price_id))),
         COALESCE(SUM(pp.provider_price_id IS NOT NULL OR pr.provider_price_id IS NOT NULL), 0)
    INTO p_named, p_known
    FROM JSON_TABLE(COALESCE(p_lines, JSON_ARRAY()), '$[*]' COLUMNS (
           line JSON PATH '$', price_id VARCHAR(255) PATH '$.priceId', product_id VARCHAR(255) PATH '$.productId')) AS j
    LEFT JOIN billing_provider_prices AS pp ON pp.provider_price_id = CONVERT(j.price_id USING ascii)
    LEFT JOIN billing_provider_prices AS pr ON pp.provider_price_id IS NULL AND pr.provider_price_id = CONVERT(j.product_id USING ascii);
END
