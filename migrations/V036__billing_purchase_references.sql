-- Every id by which the provider calls a payment: invoice, payment intent, checkout session. Two events that share one are of one purchase.
CREATE TABLE IF NOT EXISTS billing_purchase_references (
  provider     VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'stripe',
  reference_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'in_…, pi_…, cs_…',
  purchase_id  BIGINT UNSIGNED NOT NULL,
  -- Catches two purchases made of one payment.
  CONSTRAINT pk_purchase_references PRIMARY KEY (provider, reference_id),
  -- Serves: all ids of a purchase.
  INDEX ix_purchase_references_purchase (purchase_id),
  CONSTRAINT fk_purchase_references_purchase FOREIGN KEY (purchase_id) REFERENCES billing_purchases (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'the provider''s ids of payments';
