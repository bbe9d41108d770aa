-- The lines of a purchase. A line whose price nobody in the catalogue bears is kept, with both ids null, and reported.
CREATE TABLE IF NOT EXISTS billing_purchase_lines (
  purchase_id       BIGINT UNSIGNED NOT NULL,
  line_no           SMALLINT UNSIGNED NOT NULL COMMENT 'from 1, in the provider''s order',
  provider_price_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  plan_id           INT UNSIGNED NULL,
  product_id        INT UNSIGNED NULL,
  quantity          INT UNSIGNED NOT NULL,
  CONSTRAINT pk_purchase_lines PRIMARY KEY (purchase_id, line_no),
  -- Serves: the foreign key alone.
  INDEX ix_purchase_lines_plan (plan_id),
  -- Serves: the foreign key alone.
  INDEX ix_purchase_lines_product (product_id),
  CONSTRAINT fk_purchase_lines_purchase FOREIGN KEY (purchase_id) REFERENCES billing_purchases (id),
  CONSTRAINT fk_purchase_lines_plan FOREIGN KEY (plan_id) REFERENCES billing_plans (id),
  CONSTRAINT fk_purchase_lines_product FOREIGN KEY (product_id) REFERENCES billing_products (id),
  CONSTRAINT ck_purchase_lines_quantity CHECK (quantity BETWEEN 1 AND 1000000),
  -- Catches a line that bought two things. Neither is a line of an unknown price.
  CONSTRAINT ck_purchase_lines_one CHECK (plan_id IS NULL OR product_id IS NULL)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'lines of purchases';
