-- Ledger, append-only: how a hold ended. Once.
CREATE TABLE IF NOT EXISTS billing_entitlement_hold_resolutions (
  id             BIGINT UNSIGNED NOT NULL AUTO_INCREMENT COMMENT 'of one balance in the order of the commits: its lock is held from before',
  hold_id        BIGINT UNSIGNED NOT NULL,
  subject_id     BIGINT UNSIGNED NOT NULL COMMENT 'the hold''s',
  definition_id  INT UNSIGNED NOT NULL COMMENT 'the hold''s',
  resolution     ENUM('committed','released') NOT NULL COMMENT 'an expiry needs no row: the clock tells',
  amount         BIGINT NOT NULL COMMENT 'what was used; 0 when released',
  resolved_at    DATETIME(3) NOT NULL COMMENT 'UTC',
  segment_no     INT UNSIGNED NOT NULL COMMENT 'the segment it was resolved in',
  consumed_after BIGINT NOT NULL COMMENT 'consumed_amount with this resolution',
  left_after     BIGINT NOT NULL COMMENT 'left_amount with this resolution',
  held_after     BIGINT NOT NULL COMMENT 'held_amount with this resolution',
  next_change_at DATETIME(3) NULL COMMENT 'UTC; the next boundary, as known then',
  CONSTRAINT pk_hold_resolutions PRIMARY KEY (id),
  -- Catches a hold that is resolved twice.
  CONSTRAINT uq_hold_resolutions_hold UNIQUE (hold_id),
  -- Serves: the ledger page, newest first.
  INDEX ix_hold_resolutions_subject (subject_id, definition_id),
  CONSTRAINT fk_hold_resolutions_hold FOREIGN KEY (hold_id) REFERENCES billing_entitlement_holds (id),
  -- Catches a release that used something, and a commit of nothing.
  CONSTRAINT ck_hold_resolutions_amount CHECK ((resolution = 'committed' AND amount > 0) OR (resolution = 'released' AND amount = 0))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'ledger: how holds ended';
