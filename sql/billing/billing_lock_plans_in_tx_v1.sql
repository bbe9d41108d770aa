-- billing_lock_plans_in_tx_v1: keeps the plans that these prices buy as they are, until the caller is done.
--
-- Called by    whatever assigns a plan that an event names, before it takes the subject.
-- Transaction  needs the caller's.
-- Locks        the plan rows, shared.
-- Idempotency  locks only.
-- Parameters   p_lines  JSON array of {priceId}
-- Results      none.
-- Errors       none.
-- Cost         two rows for each price.
CREATE PROCEDURE billing_lock_plans_in_tx_v1(
  IN p_lines JSON
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Keeps plans as they are'
BEGIN
  DECLARE v_plans INT UNSIGNED;

  SELECT COUNT(*) INTO v_plans
    FROM JSON_TABLE(p_lines, '$[*]' COLUMNS (price_id VARCHAR(255) PATH '$.priceId')) AS j
    STRAIGHT_JOIN billing_provider_prices AS pp FORCE INDEX (PRIMARY) ON pp.provider_price_id = CONVERT(j.price_id USING ascii)
    STRAIGHT_JOIN billing_plans AS p FORCE INDEX (PRIMARY) ON p.id = pp.plan_id
     FOR SHARE OF p;
END
