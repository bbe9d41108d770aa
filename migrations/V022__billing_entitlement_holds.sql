-- An amount set aside for a while. The row's status is a projection; how it was resolved is in the table after this. It keeps the
-- balance as this hold left it, so that a replay gives the first answer.
CREATE TABLE IF NOT EXISTS billing_entitlement_holds (
  id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  subject_type    ENUM('billable_entity') NOT NULL DEFAULT 'billable_entity',
  subject_id      BIGINT UNSIGNED NOT NULL,
  definition_id   INT UNSIGNED NOT NULL,
  usage_event_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  amount          BIGINT NOT NULL,
  status          ENUM('pending','committed','released','expired') NOT NULL DEFAULT 'pending',
  expires_at      DATETIME(3) NOT NULL COMMENT 'UTC; counts for nothing from here on',
  content_sha256  BINARY(32) NOT NULL COMMENT 'of what was asked for',
  reason_code     VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
  metadata        JSON NULL COMMENT 'the caller''s own; the engine never reads it',
  segment_no      INT UNSIGNED NOT NULL COMMENT 'the segment it was made in',
  consumed_after  BIGINT NOT NULL COMMENT 'consumed_amount with this hold',
  left_after      BIGINT NOT NULL COMMENT 'left_amount with this hold',
  held_after      BIGINT NOT NULL COMMENT 'held_amount with this hold',
  next_change_at  DATETIME(3) NULL COMMENT 'UTC; the next boundary, as known then',
  created_at      DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT pk_holds PRIMARY KEY (id),
  -- The same hold again is found here.
  CONSTRAINT uq_holds_key UNIQUE (subject_id, definition_id, usage_event_key),
  -- Serves: what is held, and the next hold to expire.
  INDEX ix_holds_pending (subject_id, definition_id, status, expires_at),
  -- Serves: the foreign key alone.
  INDEX ix_holds_definition (definition_id),
  -- No foreign key to the subject: its check would lock the subject's row after the balance's, against the order of locks (sql/README.md).
  CONSTRAINT fk_holds_definition FOREIGN KEY (definition_id) REFERENCES billing_entitlement_definitions (id),
  CONSTRAINT ck_holds_amount CHECK (amount BETWEEN 1 AND 9007199254740991),
  -- Catches a hold that never holds.
  CONSTRAINT ck_holds_interval CHECK (expires_at > created_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'amounts set aside';
