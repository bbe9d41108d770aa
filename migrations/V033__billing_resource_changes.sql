-- Ledger, append-only: a count of a resource changed. The snapshot is the newest row's count. It keeps the balance as this change left it,
-- so that a replay gives the first answer.
CREATE TABLE IF NOT EXISTS billing_resource_changes (
  id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  subject_type    ENUM('billable_entity') NOT NULL DEFAULT 'billable_entity',
  subject_id      BIGINT UNSIGNED NOT NULL,
  definition_id   INT UNSIGNED NOT NULL,
  usage_event_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'the caller''s key; null: an absolute count, which needs none',
  change_kind     ENUM('consume','hold_commit','release','adapter','repair_recount') NOT NULL,
  amount          BIGINT NOT NULL COMMENT 'how many more; below 0: fewer',
  reason_code     VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
  occurred_at     DATETIME(3) NOT NULL COMMENT 'UTC; when the caller says it happened, else posted_at',
  posted_at       DATETIME(3) NOT NULL COMMENT 'UTC; when it was decided',
  segment_no      INT UNSIGNED NOT NULL COMMENT 'the segment it was made in; 0: there was no balance yet',
  consumed_after  BIGINT NOT NULL COMMENT 'the count with this change',
  left_after      BIGINT NOT NULL COMMENT 'left_amount with this change',
  held_after      BIGINT NOT NULL COMMENT 'held_amount then',
  next_change_at  DATETIME(3) NULL COMMENT 'UTC; the next boundary, as known then',
  content_sha256  BINARY(32) NULL COMMENT 'of what was asked for; null: an absolute count',
  metadata        JSON NULL COMMENT 'the caller''s own; the engine never reads it',
  CONSTRAINT pk_resource_changes PRIMARY KEY (id),
  -- The same change again is found here.
  CONSTRAINT uq_resource_changes_key UNIQUE (subject_id, definition_id, usage_event_key),
  -- Serves: the newest change of a count, for recompute and verify; the ledger page.
  INDEX ix_resource_changes_subject (subject_id, definition_id, id),
  CONSTRAINT ck_resource_changes_count CHECK (consumed_after BETWEEN 0 AND 9007199254740991),
  -- A use, a commit or a release that could not be recognised when it comes again.
  CONSTRAINT ck_resource_changes_key CHECK (
    (change_kind IN ('adapter','repair_recount')) = (usage_event_key IS NULL) AND (usage_event_key IS NULL) = (content_sha256 IS NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'ledger: counts of resources over time';
