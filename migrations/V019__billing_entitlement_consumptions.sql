-- Ledger, append-only: the subject used `amount`. Clustered on the key, so that the row itself is the replay check, and the
-- row keeps the balance as this use left it, so that a replay gives the first answer. There are no foreign keys: a use is
-- only ever written under the lock of its balance row, which is made for a subject and a definition that were found, and each would cost the hot
-- path a second lock.
CREATE TABLE IF NOT EXISTS billing_entitlement_consumptions (
  subject_type    ENUM('billable_entity') NOT NULL DEFAULT 'billable_entity',
  subject_id      BIGINT UNSIGNED NOT NULL,
  definition_id   INT UNSIGNED NOT NULL,
  usage_event_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the caller''s key, compared byte for byte',
  sequence_no     BIGINT UNSIGNED NOT NULL COMMENT 'number of this use in its balance, without gaps',
  segment_no      INT UNSIGNED NOT NULL COMMENT 'the segment it was posted in: at its end the grants pay for it',
  amount          BIGINT NOT NULL,
  reason_code     VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
  occurred_at     DATETIME(3) NOT NULL COMMENT 'UTC; when the caller says it happened, else posted_at',
  posted_at       DATETIME(3) NOT NULL COMMENT 'UTC; when it was decided',
  returns_at      DATETIME(3) NULL COMMENT 'UTC; rolling windows: when it comes back, but never before the use that was posted before it',
  consumed_after  BIGINT NOT NULL COMMENT 'consumed_amount with this use',
  left_after      BIGINT NOT NULL COMMENT 'left_amount with this use',
  held_after      BIGINT NOT NULL COMMENT 'held_amount then',
  next_change_at  DATETIME(3) NULL COMMENT 'UTC; the next boundary, as known then',
  content_sha256  BINARY(32) NOT NULL COMMENT 'of all items of its request: the same key with other content is a conflict',
  metadata        JSON NULL COMMENT 'the caller''s own; the engine never reads it',
  CONSTRAINT pk_consumptions PRIMARY KEY (subject_id, definition_id, usage_event_key),
  -- Serves: the uses of a segment at recompute; the ledger page, newest first; a rolling window's oldest use.
  CONSTRAINT uq_consumptions_sequence UNIQUE (subject_id, definition_id, sequence_no),
  CONSTRAINT ck_consumptions_amount CHECK (amount BETWEEN 1 AND 9007199254740991),
  -- Catches a use that comes back at once.
  CONSTRAINT ck_consumptions_returns CHECK (returns_at > posted_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'ledger: uses';
