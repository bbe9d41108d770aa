-- Projection: what each grant has given by its balance's last settlement. The grants of a balance are read from here, in
-- burn order; use since then is shared out at the next settlement.
CREATE TABLE IF NOT EXISTS billing_entitlement_grant_balances (
  subject_id                 BIGINT UNSIGNED NOT NULL,
  definition_id              INT UNSIGNED NOT NULL,
  grant_state                ENUM('pending','active','ended') NOT NULL COMMENT 'in the open segment of its balance',
  grant_id                   BIGINT UNSIGNED NOT NULL,
  is_allotment               BOOLEAN NOT NULL COMMENT 'renews in every window, and gives as part of the allotment',
  priority                   TINYINT UNSIGNED NOT NULL,
  effective_at               DATETIME(3) NOT NULL COMMENT 'UTC; included',
  expires_at                 DATETIME(3) NULL COMMENT 'UTC; excluded; the grant''s own, which the burn order goes by',
  ends_at                    DATETIME(3) NULL COMMENT 'UTC; excluded; the earlier of expires_at and the revocation',
  amount                     BIGINT NOT NULL,
  given_amount               BIGINT NOT NULL DEFAULT 0 COMMENT 'all that it gave; 0 for an allotment, which gives as one',
  given_before_window_amount BIGINT NOT NULL DEFAULT 0 COMMENT 'of that, before the current window began; 0 once it ended',
  -- Serves: a grant's page. Catches a grant that is projected twice.
  CONSTRAINT pk_grant_balances PRIMARY KEY (grant_id),
  -- Serves: a settlement, which so never reads the grants that are over. Not unique: giving a row of a unique index its old
  -- key again locks the gap beside it, and other subjects' grants would wait there.
  INDEX ix_grant_balances_state (subject_id, definition_id, grant_state),
  CONSTRAINT fk_grant_balances_grant FOREIGN KEY (grant_id) REFERENCES billing_entitlement_grants (id),
  -- Catches a grant that gave more than it had.
  CONSTRAINT ck_grant_balances_given CHECK (given_amount BETWEEN 0 AND amount AND given_before_window_amount BETWEEN 0 AND given_amount)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'projection: what grants have left';
