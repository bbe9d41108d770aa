-- A workspace is the tenant as its users know it: the name in a URL, and the audience of a realtime event.
CREATE TABLE IF NOT EXISTS workspaces (
  id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  slug       VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'name in URLs, lower case',
  name       VARCHAR(160) NOT NULL COMMENT 'name that people see',
  created_at DATETIME(3) NOT NULL COMMENT 'UTC',
  updated_at DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT pk_workspaces PRIMARY KEY (id),
  -- Serves: subject of a request by X-Workspace-Slug; stops two workspaces from sharing a URL.
  CONSTRAINT uq_workspaces_slug UNIQUE (slug),
  -- Catches a slug that would not survive in a URL or that differs from another only by case.
  CONSTRAINT ck_workspaces_slug CHECK (REGEXP_LIKE(slug, '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?\\z'))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'tenants';
