-- Scaffold, to be deleted by whoever builds on this: the example of a resource with a capacity.
CREATE TABLE IF NOT EXISTS scaffold_projects (
  id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  subject_id      BIGINT UNSIGNED NOT NULL,
  name            VARCHAR(160) NOT NULL,
  status          ENUM('active','archived') NOT NULL DEFAULT 'active',
  usage_event_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the key of the request that made it',
  content_sha256  BINARY(32) NOT NULL COMMENT 'of what that request asked for: the same key with other content is a conflict',
  created_at      DATETIME(3) NOT NULL COMMENT 'UTC',
  updated_at      DATETIME(3) NOT NULL COMMENT 'UTC',
  deleted_at      DATETIME(3) NULL COMMENT 'UTC; the row stays, as its key must: a late retry would make the project again',
  CONSTRAINT pk_projects PRIMARY KEY (id),
  -- A retry finds the project that the first request made.
  CONSTRAINT uq_projects_key UNIQUE (subject_id, usage_event_key),
  -- Serves: the count of a subject's projects that are not archived.
  INDEX ix_projects_subject (subject_id, status),
  CONSTRAINT fk_projects_subject FOREIGN KEY (subject_id) REFERENCES billable_entities (id),
  -- Catches a deleted project that still takes a place.
  CONSTRAINT ck_projects_deleted CHECK (deleted_at IS NULL OR status = 'archived')
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'example: projects';
