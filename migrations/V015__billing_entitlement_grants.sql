-- Ledger, append-only: the subject may use `amount` from effective_at until expires_at.
CREATE TABLE IF NOT EXISTS billing_entitlement_grants (
  id                 BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  subject_type       ENUM('billable_entity') NOT NULL DEFAULT 'billable_entity',
  subject_id         BIGINT UNSIGNED NOT NULL,
  definition_id      INT UNSIGNED NOT NULL,
  grant_kind         ENUM('plan_base','plan_bonus','addon_timeboxed','topup','promo','manual_adjustment','correction') NOT NULL,
  amount             BIGINT NOT NULL COMMENT 'smallest units of the definition',
  priority           TINYINT UNSIGNED NOT NULL DEFAULT 100 COMMENT 'burn order, lowest first',
  effective_at       DATETIME(3) NOT NULL COMMENT 'UTC; included',
  expires_at         DATETIME(3) NULL COMMENT 'UTC; excluded; null: never',
  source             ENUM('operator','plan_assignment','purchase') NOT NULL COMMENT 'what made it',
  plan_assignment_id BIGINT UNSIGNED NULL,
  purchase_id        BIGINT UNSIGNED NULL,
  dedupe_key         VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the same again makes no second grant',
  content_sha256     BINARY(32) NOT NULL COMMENT 'of what was asked for: the same key with other content is a conflict',
  reason             VARCHAR(255) NULL,
  created_by         VARCHAR(128) NOT NULL COMMENT 'key, provider event or database user that made it',
  created_at         DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT pk_grants PRIMARY KEY (id),
  -- Serves: the replay check. Catches a retry that grants twice.
  CONSTRAINT uq_grants_dedupe UNIQUE (dedupe_key),
  -- Serves: a balance's grants, for recompute, verify and the ledger page.
  INDEX ix_grants_subject (subject_id, definition_id),
  -- Serves: what an assignment granted, when it ends.
  INDEX ix_grants_assignment (plan_assignment_id),
  -- Serves: what a purchase granted, when it is refunded.
  INDEX ix_grants_purchase (purchase_id),
  -- Serves: the foreign key alone.
  INDEX ix_grants_definition (definition_id),
  CONSTRAINT fk_grants_subject FOREIGN KEY (subject_id) REFERENCES billable_entities (id),
  CONSTRAINT fk_grants_definition FOREIGN KEY (definition_id) REFERENCES billing_entitlement_definitions (id),
  CONSTRAINT fk_grants_assignment FOREIGN KEY (plan_assignment_id) REFERENCES billing_plan_assignments (id),
  CONSTRAINT fk_grants_purchase FOREIGN KEY (purchase_id) REFERENCES billing_purchases (id),
  -- Catches a decrease written as a negative grant, and a sum that JavaScript could not hold.
  CONSTRAINT ck_grants_amount CHECK (amount BETWEEN 1 AND 9007199254740991),
  -- Catches a grant that would never be active.
  CONSTRAINT ck_grants_interval CHECK (expires_at > effective_at),
  -- Catches a plan or purchase grant that could not be found again when its cause ends.
  CONSTRAINT ck_grants_source CHECK (
    (source = 'plan_assignment') = (plan_assignment_id IS NOT NULL) AND (source = 'purchase') = (purchase_id IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'ledger: grants';
