-- Scaffold, to be deleted by whoever builds on this: the example of a resource with a capacity.
CREATE TABLE IF NOT EXISTS scaffold_projects (
  id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  subject_id BIGINT UNSIGNED NOT NULL,
  name       VARCHAR(160) NOT NULL,
  status     ENUM('active','archived') NOT NULL DEFAULT 'active',
  created_at DATETIME(3) NOT NULL COMMENT 'UTC',
  updated_at DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT pk_projects PRIMARY KEY (id),
  -- Serves: a subject's list, and the count of those that are not archived.
  INDEX ix_projects_subject (subject_id, status),
  CONSTRAINT fk_projects_subject FOREIGN KEY (subject_id) REFERENCES billable_entities (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'example: projects';
