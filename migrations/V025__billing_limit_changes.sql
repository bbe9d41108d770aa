-- Outbox: these codes of these subjects changed, and why. Written in the commit that changed them.
CREATE TABLE IF NOT EXISTS billing_limit_changes (
  id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT COMMENT 'given at the insert, so not in the order of the commits',
  sequence_no   BIGINT UNSIGNED NULL COMMENT 'given after the commit, without gaps: what readers resume from; null: not yet given',
  change_source ENUM('purchase_grant','plan_grant','consumption','boundary_recompute','manual_refresh') NOT NULL,
  changes       JSON NOT NULL COMMENT '[{"subjectId": 7, "codes": ["projects.max"]}, …]',
  changed_at    DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT pk_limit_changes PRIMARY KEY (id),
  -- Serves: what came after a sequence number; and, as nulls stand first, what has none yet.
  CONSTRAINT uq_limit_changes_sequence UNIQUE (sequence_no),
  CONSTRAINT ck_limit_changes_changes CHECK (JSON_TYPE(changes) = 'ARRAY')
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'outbox of changes';
