-- The payment provider's ids of prices and products, each of which buys one plan or one product of ours.
CREATE TABLE IF NOT EXISTS billing_provider_prices (
  provider_price_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'price_…; or prod_…: every price of that product that is not named itself',
  plan_id           INT UNSIGNED NULL,
  product_id        INT UNSIGNED NULL,
  created_at        DATETIME(3) NOT NULL COMMENT 'UTC',
  -- Serves: a purchase line finding what was bought; a price never buys two things.
  CONSTRAINT pk_provider_prices PRIMARY KEY (provider_price_id),
  -- Serves: providerPriceIds of a plan.
  INDEX ix_provider_prices_plan (plan_id),
  -- Serves: providerPriceIds of a product.
  INDEX ix_provider_prices_product (product_id),
  CONSTRAINT fk_provider_prices_plan FOREIGN KEY (plan_id) REFERENCES billing_plans (id),
  CONSTRAINT fk_provider_prices_product FOREIGN KEY (product_id) REFERENCES billing_products (id),
  -- Catches a price that buys nothing, and a price that buys two things.
  CONSTRAINT ck_provider_prices_one CHECK ((plan_id IS NULL) <> (product_id IS NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'provider price to plan or product';
