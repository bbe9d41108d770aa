-- The ledger of what was bought. A purchase is known by the provider's own id of the invoice or payment.
CREATE TABLE IF NOT EXISTS billing_purchases (
  id                  BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  subject_type        ENUM('billable_entity') NOT NULL DEFAULT 'billable_entity',
  subject_id          BIGINT UNSIGNED NOT NULL,
  provider            VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  provider_payment_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'invoice or payment: two events of one payment are one purchase',
  event_id            BIGINT UNSIGNED NULL COMMENT 'the event that made it; null: bootstrap',
  status              ENUM('paid','partially_refunded','refunded','voided') NOT NULL,
  currency            CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'ISO 4217, lower case as the provider writes it',
  paid_minor_units    BIGINT NOT NULL COMMENT 'money, in the currency''s smallest unit',
  refunded_minor_units BIGINT NOT NULL DEFAULT 0,
  period_start_at     DATETIME(3) NULL COMMENT 'UTC; the paid period of a plan',
  period_end_at       DATETIME(3) NULL COMMENT 'UTC; end excluded',
  purchased_at        DATETIME(3) NOT NULL COMMENT 'UTC',
  created_at          DATETIME(3) NOT NULL COMMENT 'UTC',
  voided_at           DATETIME(3) NULL COMMENT 'UTC; when an operator took all of it back',
  voided_by           VARCHAR(128) NULL COMMENT 'who did',
  void_reason         VARCHAR(255) NULL COMMENT 'and why',
  CONSTRAINT pk_purchases PRIMARY KEY (id),
  -- Serves: a webhook finding its purchase. Catches two events of one payment that grant twice.
  CONSTRAINT uq_purchases_provider_payment UNIQUE (provider, provider_payment_id),
  -- Serves: purchases of a subject, newest first.
  INDEX ix_purchases_subject (subject_id, id),
  -- Serves: the foreign key alone.
  INDEX ix_purchases_event (event_id),
  CONSTRAINT fk_purchases_subject FOREIGN KEY (subject_id) REFERENCES billable_entities (id),
  CONSTRAINT fk_purchases_event FOREIGN KEY (event_id) REFERENCES billing_events (id),
  -- Catches more paid back than was paid.
  CONSTRAINT ck_purchases_money CHECK (paid_minor_units >= 0 AND refunded_minor_units BETWEEN 0 AND paid_minor_units),
  -- Catches a purchase that was taken back by nobody.
  CONSTRAINT ck_purchases_void CHECK ((status = 'voided') = (voided_at IS NOT NULL) AND (voided_at IS NULL) = (voided_by IS NULL)
    AND (voided_at IS NULL) = (void_reason IS NULL)),
  -- Catches a paid period that ends before it begins.
  CONSTRAINT ck_purchases_period CHECK (period_end_at > period_start_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'what was bought';
