-- billing_put_prices_in_tx_v1: lets a plan or a product be bought by these prices of the provider, and by no others.
--
-- Called by    billing_put_plan_in_tx_v1, billing_put_product_in_tx_v1, which have checked the prices.
-- Transaction  needs the caller's, who holds the lock of the plan or product.
-- Locks        the prices that come and go.
-- Idempotency  the same prices again change nothing.
-- Parameters   p_plan_id, p_product_id  one of them; the other is null
--              p_prices    JSON array of price ids; null: leave them as they are
--              p_now       the clock
--              p_changes   out: prices that came and went
--              p_problems  out: null: nothing; else that a price was taken at the same moment, as [[path, text, code of sql/errors.csv]]
-- Results      none.
-- Errors       none: what is wrong is in p_problems, as PRICE_TAKEN.
-- Cost         the prices.
CREATE PROCEDURE billing_put_prices_in_tx_v1(
  IN  p_plan_id    INT UNSIGNED,
  IN  p_product_id INT UNSIGNED,
  IN  p_prices     JSON,
  IN  p_now        DATETIME(3),
  OUT p_changes    INT UNSIGNED,
  OUT p_problems   JSON
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Replaces the provider prices of a plan or product'
BEGIN
  DECLARE EXIT HANDLER FOR 1062
    SET p_problems = JSON_ARRAY(JSON_ARRAY('providerPriceIds', 'one of them was given to something else at the same moment', 'PRICE_TAKEN'));

  SET p_changes = 0, p_problems = NULL;
  IF p_prices IS NOT NULL THEN
    DELETE t
      FROM billing_provider_prices AS t
      LEFT JOIN JSON_TABLE(p_prices, '$[*]' COLUMNS (price VARCHAR(255) PATH '$')) AS n ON CONVERT(n.price USING ascii) = t.provider_price_id
     WHERE (t.plan_id = p_plan_id OR t.product_id = p_product_id) AND n.price IS NULL;
    SET p_changes = ROW_COUNT();
    INSERT INTO billing_provider_prices (provider_price_id, plan_id, product_id, created_at)
    SELECT n.price, p_plan_id, p_product_id, p_now
      FROM JSON_TABLE(p_prices, '$[*]' COLUMNS (price VARCHAR(255) PATH '$')) AS n
      LEFT JOIN billing_provider_prices AS t ON t.provider_price_id = CONVERT(n.price USING ascii) AND (t.plan_id = p_plan_id OR t.product_id = p_product_id)
     WHERE t.provider_price_id IS NULL
     ORDER BY n.price;
    SET p_changes = p_changes + ROW_COUNT();
  END IF;
END
