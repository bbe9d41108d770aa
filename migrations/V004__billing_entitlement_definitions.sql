-- A definition names a limit and says how it behaves. The engine knows limits only through these rows.
CREATE TABLE IF NOT EXISTS billing_entitlement_definitions (
  id               INT UNSIGNED NOT NULL AUTO_INCREMENT,
  code             VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'projects.max, ai.credits, …',
  name             VARCHAR(160) NOT NULL,
  description      VARCHAR(1000) NULL,
  entitlement_type ENUM('capacity','metered_quota','balance','state') NOT NULL,
  unit             VARCHAR(32) NOT NULL COMMENT 'what one is: project, calculation, credit',
  scale            TINYINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'decimals that people see; amounts are whole numbers of the smallest unit',
  window_interval  ENUM('day','week','month','year') NULL COMMENT 'metered_quota only',
  window_anchor    ENUM('calendar_utc','billing_period','rolling') NULL COMMENT 'metered_quota only',
  aggregation_mode ENUM('sum','max','boolean_any_true') NOT NULL DEFAULT 'sum' COMMENT 'how active allotment grants count together',
  enforcement_mode ENUM('hard_deny','hard_lock_resource','soft_warn') NOT NULL DEFAULT 'hard_deny',
  lock_label       VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'lockState while over the limit, or while a state is off',
  resource_code    VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'capacity only: the resource that is counted',
  is_active        BOOLEAN NOT NULL DEFAULT TRUE,
  metadata         JSON NULL COMMENT 'for people and applications; the engine never reads it',
  version          INT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'grows with each edit: the ETag of the console',
  created_at       DATETIME(3) NOT NULL COMMENT 'UTC',
  updated_at       DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT pk_definitions PRIMARY KEY (id),
  -- Serves: every lookup by code.
  CONSTRAINT uq_definitions_code UNIQUE (code),
  -- Serves: PUT /api/billing/resources/{resourceCode}; one resource feeds one capacity.
  CONSTRAINT uq_definitions_resource_code UNIQUE (resource_code),
  CONSTRAINT ck_definitions_code CHECK (REGEXP_LIKE(code, '^[a-z][a-z0-9_]*([.][a-z0-9_]+)*\\z')),
  CONSTRAINT ck_definitions_scale CHECK (scale <= 9),
  -- Catches a quota without a window, and a window on something that has none.
  CONSTRAINT ck_definitions_window CHECK (
    (entitlement_type = 'metered_quota') = (window_interval IS NOT NULL)
    AND (entitlement_type = 'metered_quota') = (window_anchor IS NOT NULL)),
  -- Catches a state that sums, a quota that is true or false, and credits of which only the largest pack counts.
  CONSTRAINT ck_definitions_aggregation CHECK (
    (entitlement_type = 'state') = (aggregation_mode = 'boolean_any_true')
    AND (entitlement_type <> 'balance' OR aggregation_mode = 'sum')),
  -- Catches a lock that has no name to show.
  CONSTRAINT ck_definitions_lock_label CHECK (
    lock_label IS NOT NULL OR (enforcement_mode <> 'hard_lock_resource' AND entitlement_type <> 'state')),
  -- Catches a resource that feeds what is not counted.
  CONSTRAINT ck_definitions_resource_code CHECK (entitlement_type = 'capacity' OR resource_code IS NULL)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'limits that can be granted and used';
