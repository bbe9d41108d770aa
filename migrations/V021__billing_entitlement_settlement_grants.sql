-- Ledger, append-only: what one grant gave at one settlement.
CREATE TABLE IF NOT EXISTS billing_entitlement_settlement_grants (
  subject_id    BIGINT UNSIGNED NOT NULL,
  definition_id INT UNSIGNED NOT NULL,
  segment_no    INT UNSIGNED NOT NULL COMMENT 'of the settlement',
  grant_id      BIGINT UNSIGNED NOT NULL,
  gave_amount   BIGINT NOT NULL COMMENT 'for the use of the closed segment, or for overage that was open',
  CONSTRAINT pk_settlement_grants PRIMARY KEY (subject_id, definition_id, segment_no, grant_id),
  -- Serves: all that a grant gave.
  INDEX ix_settlement_grants_grant (grant_id),
  CONSTRAINT fk_settlement_grants_grant FOREIGN KEY (grant_id) REFERENCES billing_entitlement_grants (id),
  CONSTRAINT ck_settlement_grants_gave CHECK (gave_amount > 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'ledger: what grants gave';
