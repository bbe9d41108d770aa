-- Ledger, append-only: a grant ends early, at an instant. One per grant.
CREATE TABLE IF NOT EXISTS billing_entitlement_revocations (
  id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT COMMENT 'of one balance in the order of the commits: its lock is held from before',
  grant_id      BIGINT UNSIGNED NOT NULL,
  subject_id    BIGINT UNSIGNED NOT NULL COMMENT 'the grant''s',
  definition_id INT UNSIGNED NOT NULL COMMENT 'the grant''s',
  revoked_at    DATETIME(3) NOT NULL COMMENT 'UTC; the grant is not active from here on',
  dedupe_key    VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the same again is a replay',
  reason        VARCHAR(255) NULL,
  created_by    VARCHAR(128) NOT NULL,
  created_at    DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT pk_revocations PRIMARY KEY (id),
  -- Catches a grant that is revoked twice.
  CONSTRAINT uq_revocations_grant UNIQUE (grant_id),
  -- Serves: the replay check. Catches one key that ends two grants.
  CONSTRAINT uq_revocations_dedupe UNIQUE (dedupe_key),
  -- Serves: the ledger page, newest first.
  INDEX ix_revocations_subject (subject_id, definition_id),
  CONSTRAINT fk_revocations_grant FOREIGN KEY (grant_id) REFERENCES billing_entitlement_grants (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'ledger: grants ended early';
