-- Every id by which the provider calls a payment: invoice, payment intent, charge, checkout session. Two events that share one are of one purchase.
-- An id may be heard of before its purchase, as another name of an invoice: then it stands for that one.
CREATE TABLE IF NOT EXISTS billing_purchase_references (
  provider     VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'stripe',
  reference_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'in_…, pi_…, ch_…, cs_…',
  purchase_id  BIGINT UNSIGNED NULL COMMENT 'null: see same_as_id',
  same_as_id   VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'another id of the same payment: in_…',
  -- Catches two purchases made of one payment.
  CONSTRAINT pk_purchase_references PRIMARY KEY (provider, reference_id),
  -- Serves: all ids of a purchase.
  INDEX ix_purchase_references_purchase (purchase_id),
  -- Serves: a purchase looking for the other names of its ids.
  INDEX ix_purchase_references_same_as (provider, same_as_id),
  CONSTRAINT fk_purchase_references_purchase FOREIGN KEY (purchase_id) REFERENCES billing_purchases (id),
  -- Catches an id that leads nowhere, and one that leads to two places.
  CONSTRAINT ck_purchase_references_one CHECK ((purchase_id IS NULL) <> (same_as_id IS NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'the provider''s ids of payments';
