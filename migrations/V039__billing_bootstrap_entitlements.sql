-- What plans and products that come from elsewhere grant, where no column of theirs says it. The bootstrap reads it beside them; afterwards it is gone.
CREATE TABLE IF NOT EXISTS billing_bootstrap_entitlements (
  kind         ENUM('plan','product') NOT NULL,
  code         VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'of the plan or product',
  entitlements JSON NOT NULL COMMENT 'an array, as billing_plans.entitlements or billing_products.metadata_json.entitlements',
  CONSTRAINT pk_bootstrap_entitlements PRIMARY KEY (kind, code)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'bootstrap: input';
