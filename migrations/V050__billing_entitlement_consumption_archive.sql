-- Ledger, append-only: uses of closed segments that operator_archive_v1 moved out of billing_entitlement_consumptions, so that the table that every use is
-- written to stays small. A row is in one of the two, as it was written; of each balance the archive has the uses from 1 to its archived_sequence_no.
CREATE TABLE IF NOT EXISTS billing_entitlement_consumption_archive (
  subject_type    ENUM('billable_entity') NOT NULL DEFAULT 'billable_entity',
  subject_id      BIGINT UNSIGNED NOT NULL,
  definition_id   INT UNSIGNED NOT NULL,
  usage_event_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the caller''s key, compared byte for byte',
  sequence_no     BIGINT UNSIGNED NOT NULL COMMENT 'number of this use in its balance, without gaps',
  segment_no      INT UNSIGNED NOT NULL COMMENT 'the segment it was posted in, which is closed',
  amount          BIGINT NOT NULL,
  reason_code     VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
  occurred_at     DATETIME(3) NOT NULL COMMENT 'UTC; when the caller says it happened, else posted_at',
  posted_at       DATETIME(3) NOT NULL COMMENT 'UTC; when it was decided',
  returns_at      DATETIME(3) NULL COMMENT 'UTC; rolling windows: when it came back',
  consumed_after  BIGINT NOT NULL COMMENT 'consumed_amount with this use',
  left_after      BIGINT NOT NULL COMMENT 'left_amount with this use',
  held_after      BIGINT NOT NULL COMMENT 'held_amount then',
  next_change_at  DATETIME(3) NULL COMMENT 'UTC; the next boundary, as known then',
  content_sha256  BINARY(32) NOT NULL COMMENT 'of all items of its request: the same key with other content is a conflict',
  metadata        JSON NULL COMMENT 'the caller''s own; the engine never reads it',
  archived_at     DATETIME(3) NOT NULL COMMENT 'UTC; when it was moved here',
  -- As in the ledger: a key that comes again is found here, so it is never free for another use.
  CONSTRAINT pk_consumption_archive PRIMARY KEY (subject_id, definition_id, usage_event_key),
  -- Serves: the ledger page, newest first; the newest use at an instant, for the history; how far a balance is archived.
  CONSTRAINT uq_consumption_archive_sequence UNIQUE (subject_id, definition_id, sequence_no),
  CONSTRAINT ck_consumption_archive_amount CHECK (amount BETWEEN 1 AND 9007199254740991),
  -- Catches a use that comes back at once.
  CONSTRAINT ck_consumption_archive_returns CHECK (returns_at > posted_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'ledger: uses that were archived';
