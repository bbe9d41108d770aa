-- What a product grants, for each one bought. The only source from which purchase grants are made.
CREATE TABLE IF NOT EXISTS billing_product_entitlement_templates (
  id            INT UNSIGNED NOT NULL AUTO_INCREMENT,
  product_id    INT UNSIGNED NOT NULL,
  definition_id INT UNSIGNED NOT NULL,
  grant_kind    ENUM('one_off_topup','timeboxed_addon') NOT NULL,
  amount        BIGINT NOT NULL,
  duration_days INT UNSIGNED NULL COMMENT 'days of 24 hours; exactly with timeboxed_addon',
  metadata      JSON NULL,
  created_at    DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT pk_product_templates PRIMARY KEY (id),
  -- A template's identity, which dedupe keys of grants are made of.
  CONSTRAINT uq_product_templates_identity UNIQUE (product_id, definition_id, grant_kind),
  -- Serves: the foreign key alone.
  INDEX ix_product_templates_definition (definition_id),
  CONSTRAINT fk_product_templates_product FOREIGN KEY (product_id) REFERENCES billing_products (id),
  CONSTRAINT fk_product_templates_definition FOREIGN KEY (definition_id) REFERENCES billing_entitlement_definitions (id),
  CONSTRAINT ck_product_templates_amount CHECK (amount BETWEEN 1 AND 9007199254740991),
  -- Catches an add-on that never ends, and a top-up with a length that nobody reads.
  CONSTRAINT ck_product_templates_duration CHECK ((grant_kind = 'timeboxed_addon') = (duration_days IS NOT NULL)),
  CONSTRAINT ck_product_templates_duration_days CHECK (duration_days BETWEEN 1 AND 36500)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'what products grant';
