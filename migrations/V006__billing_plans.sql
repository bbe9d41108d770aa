-- A plan is what a subject is on. What it grants is in its templates: `entitlements` is how it comes from elsewhere, and is gone after the bootstrap.
CREATE TABLE IF NOT EXISTS billing_plans (
  id           INT UNSIGNED NOT NULL AUTO_INCREMENT,
  code         VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  name         VARCHAR(160) NOT NULL,
  archived_at  DATETIME(3) NULL COMMENT 'UTC; no new assignments from then on',
  version      INT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'grows with each edit: the ETag of the console',
  created_at   DATETIME(3) NOT NULL COMMENT 'UTC',
  updated_at   DATETIME(3) NOT NULL COMMENT 'UTC',
  entitlements JSON NULL COMMENT 'bootstrap: [{"code": …, "valueJson": {…}}, …]',
  CONSTRAINT pk_plans PRIMARY KEY (id),
  -- Serves: assignment by plan code.
  CONSTRAINT uq_plans_code UNIQUE (code),
  CONSTRAINT ck_plans_code CHECK (REGEXP_LIKE(code, '^[a-z][a-z0-9_.-]*\\z'))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'plans';
