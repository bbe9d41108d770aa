-- Ledger, append-only: a resource was locked, or a state switched off, or the other way round. Told by what moved the balance, in its transaction; the
-- engine decides nothing by it. Few rows: a use never locks, but of a hold whose grant has ended, so there are some only where grants begin and end, counts
-- are set and given back, or such a hold is committed.
CREATE TABLE IF NOT EXISTS billing_entitlement_lock_changes (
  id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT COMMENT 'of one balance in the order of the commits: its lock is held from before',
  subject_id    BIGINT UNSIGNED NOT NULL,
  definition_id INT UNSIGNED NOT NULL,
  lock_state    VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'from here on: none, or the label of its definition',
  changed_at    DATETIME(3) NOT NULL COMMENT 'UTC; the boundary, or when the count was written',
  CONSTRAINT pk_lock_changes PRIMARY KEY (id),
  -- Serves: operators, who ask when a subject was locked, and counts for the metrics.
  INDEX ix_lock_changes_subject (subject_id, definition_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'ledger: locks that came and went';
