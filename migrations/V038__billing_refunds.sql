-- What the provider paid back of each charge, in total so far. It may be heard of before its purchase, and then waits for it.
CREATE TABLE IF NOT EXISTS billing_refunds (
  provider             VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'stripe',
  provider_charge_id   VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'ch_…',
  reference_id         VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'an id of the payment that was charged: pi_…, in_…, else the charge',
  currency             CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'ISO 4217, lower case as the provider writes it',
  refunded_minor_units BIGINT NOT NULL COMMENT 'money, in the currency''s smallest unit; never falls',
  event_id             BIGINT UNSIGNED NOT NULL COMMENT 'the event that said so last',
  purchase_id          BIGINT UNSIGNED NULL COMMENT 'whose grants it took back; null: not heard of yet',
  updated_at           DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT pk_refunds PRIMARY KEY (provider, provider_charge_id),
  -- Serves: a purchase looking for refunds that came before it.
  INDEX ix_refunds_reference (provider, reference_id),
  -- Serves: refunds of a purchase.
  INDEX ix_refunds_purchase (purchase_id),
  -- Serves: the foreign key alone.
  INDEX ix_refunds_event (event_id),
  CONSTRAINT fk_refunds_purchase FOREIGN KEY (purchase_id) REFERENCES billing_purchases (id),
  CONSTRAINT fk_refunds_event FOREIGN KEY (event_id) REFERENCES billing_events (id),
  CONSTRAINT ck_refunds_money CHECK (refunded_minor_units >= 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'refunds';
