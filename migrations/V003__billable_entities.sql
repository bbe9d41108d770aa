-- A billable entity is the subject of every limit: who holds grants and uses them up.
CREATE TABLE IF NOT EXISTS billable_entities (
  id                   BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  entity_type          VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'what it is in the application: workspace, user, …',
  entity_ref           VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the application''s own id of it',
  workspace_id         BIGINT UNSIGNED NULL COMMENT 'whose users are told of changes; null: nobody',
  owner_user_id        VARCHAR(128) NULL COMMENT 'the application''s id of the user who pays',
  provider_customer_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'the payment provider''s customer',
  status               ENUM('active','suspended','closed') NOT NULL DEFAULT 'active',
  billing_anchor_at    DATETIME(3) NULL COMMENT 'UTC; start of the first billing period; null: created_at',
  created_at           DATETIME(3) NOT NULL COMMENT 'UTC',
  updated_at           DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT pk_entities PRIMARY KEY (id),
  -- Serves: PUT /api/billing/entities/{entityType}/{entityRef}; the same reference is the same subject for ever.
  CONSTRAINT uq_entities_type_ref UNIQUE (entity_type, entity_ref),
  -- Serves: GET /api/console/billing/entities, which finds them by how their reference begins.
  INDEX ix_entities_ref (entity_ref),
  -- Serves: a webhook finding its subject; one customer pays for one subject.
  CONSTRAINT uq_entities_provider_customer UNIQUE (provider_customer_id),
  -- Serves: subject of a request by workspace; the relay's join from a change to its readers.
  INDEX ix_entities_workspace (workspace_id),
  CONSTRAINT fk_entities_workspace FOREIGN KEY (workspace_id) REFERENCES workspaces (id),
  CONSTRAINT ck_entities_type CHECK (REGEXP_LIKE(entity_type, '^[a-z][a-z0-9_]{0,31}\\z')),
  -- Catches blanks and control characters, which compare unequal while they look the same.
  CONSTRAINT ck_entities_ref CHECK (REGEXP_LIKE(entity_ref, '^[!-~]{1,128}\\z'))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'subjects of entitlements';
