-- Ledger, append-only: how a hold ended. Once.
CREATE TABLE IF NOT EXISTS billing_entitlement_hold_resolutions (
  hold_id        BIGINT UNSIGNED NOT NULL,
  resolution     ENUM('committed','released') NOT NULL COMMENT 'an expiry needs no row: the clock tells',
  amount         BIGINT NOT NULL COMMENT 'what was used; 0 when released',
  resolved_at    DATETIME(3) NOT NULL COMMENT 'UTC',
  segment_no     INT UNSIGNED NOT NULL COMMENT 'the segment it was resolved in',
  consumed_after BIGINT NOT NULL COMMENT 'consumed_amount with this resolution',
  left_after     BIGINT NOT NULL COMMENT 'left_amount with this resolution',
  held_after     BIGINT NOT NULL COMMENT 'held_amount with this resolution',
  next_change_at DATETIME(3) NULL COMMENT 'UTC; the next boundary, as known then',
  -- Catches a hold that is resolved twice.
  CONSTRAINT pk_hold_resolutions PRIMARY KEY (hold_id),
  CONSTRAINT fk_hold_resolutions_hold FOREIGN KEY (hold_id) REFERENCES billing_entitlement_holds (id),
  -- Catches a release that used something, and a commit of nothing.
  CONSTRAINT ck_hold_resolutions_amount CHECK ((resolution = 'committed' AND amount > 0) OR (resolution = 'released' AND amount = 0))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'ledger: how holds ended';
