-- How many of a capacity's resource a subject has. Changes only together with the resource itself.
CREATE TABLE IF NOT EXISTS billing_resource_snapshots (
  subject_type   ENUM('billable_entity') NOT NULL DEFAULT 'billable_entity',
  subject_id     BIGINT UNSIGNED NOT NULL,
  definition_id  INT UNSIGNED NOT NULL,
  resource_count BIGINT NOT NULL,
  counted_at     DATETIME(3) NOT NULL COMMENT 'UTC',
  counted_by     ENUM('adapter','hold','release','repair_recount') NOT NULL COMMENT 'what wrote the count',
  CONSTRAINT pk_snapshots PRIMARY KEY (subject_id, definition_id),
  -- Serves: the foreign key alone.
  INDEX ix_snapshots_definition (definition_id),
  -- No foreign key to the subject: its check would lock the subject's row after the balance's, against the order of locks (sql/README.md).
  CONSTRAINT fk_snapshots_definition FOREIGN KEY (definition_id) REFERENCES billing_entitlement_definitions (id),
  CONSTRAINT ck_snapshots_count CHECK (resource_count BETWEEN 0 AND 9007199254740991)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'counts of resources';
