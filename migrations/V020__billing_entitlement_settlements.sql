-- Ledger, append-only: a balance was brought over a boundary. The row closes the segment before it (who paid for its use) and
-- opens the one that bears its number (what holds from here on). The newest row and the uses after it are the balance.
CREATE TABLE IF NOT EXISTS billing_entitlement_settlements (
  subject_id             BIGINT UNSIGNED NOT NULL,
  definition_id          INT UNSIGNED NOT NULL,
  segment_no             INT UNSIGNED NOT NULL COMMENT 'from 1; the segment that it opens',
  settled_at             DATETIME(3) NOT NULL COMMENT 'UTC; the boundary itself, not the time of the work',
  cause                  ENUM('opened','grant','revocation','grant_boundary','hold_expiry','use_return','window_end') NOT NULL COMMENT 'window_end: also where the billing anchor moved',
  closed_amount          BIGINT NOT NULL COMMENT 'used in the segment that it closes',
  closed_allotment_gave  BIGINT NOT NULL COMMENT 'of that, given by the allotment',
  closed_grants_gave     BIGINT NOT NULL COMMENT 'of that, given by once-grants; the rest became overage',
  overage_paid           BIGINT NOT NULL COMMENT 'open overage that became covered at this boundary',
  window_start_at        DATETIME(3) NOT NULL COMMENT 'UTC; of the segment that it opens',
  window_end_at          DATETIME(3) NOT NULL COMMENT 'UTC; excluded',
  granted_amount         BIGINT NOT NULL,
  consumed_amount        BIGINT NOT NULL,
  left_amount            BIGINT NOT NULL,
  allotment_amount       BIGINT NOT NULL,
  allotment_given_amount BIGINT NOT NULL,
  overage_amount         BIGINT NOT NULL,
  returned_sequence_no   BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'rolling windows: the newest use that had come back',
  last_sequence_no       BIGINT UNSIGNED NOT NULL COMMENT 'the last use before it: the segment''s uses come after',
  recorded_at            DATETIME(3) NOT NULL COMMENT 'UTC; when the work was done',
  CONSTRAINT pk_settlements PRIMARY KEY (subject_id, definition_id, segment_no),
  -- Catches a payment for more than was used and that is not called overage either.
  CONSTRAINT ck_settlements_closed CHECK (
    closed_amount >= 0 AND closed_allotment_gave >= 0 AND closed_grants_gave >= 0 AND overage_paid >= 0
    AND closed_allotment_gave + closed_grants_gave <= closed_amount)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'ledger: boundaries passed';
