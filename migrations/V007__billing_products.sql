-- A product is bought once or again: packs and add-ons. What it grants is in its templates: `metadata_json` is how it
-- comes from elsewhere, and is gone after the bootstrap.
CREATE TABLE IF NOT EXISTS billing_products (
  id            INT UNSIGNED NOT NULL AUTO_INCREMENT,
  code          VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  name          VARCHAR(160) NOT NULL,
  archived_at   DATETIME(3) NULL COMMENT 'UTC; a purchase after that is kept and reported',
  version       INT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'grows with each edit: the ETag of the console',
  created_at    DATETIME(3) NOT NULL COMMENT 'UTC',
  updated_at    DATETIME(3) NOT NULL COMMENT 'UTC',
  metadata_json JSON NULL COMMENT 'bootstrap: {"entitlements": [{"code": …, "amount": …, "grantKind": …}, …], …}',
  CONSTRAINT pk_products PRIMARY KEY (id),
  -- Serves: lookup by code.
  CONSTRAINT uq_products_code UNIQUE (code),
  CONSTRAINT ck_products_code CHECK (REGEXP_LIKE(code, '^[a-z][a-z0-9_.-]*\\z'))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'products';
