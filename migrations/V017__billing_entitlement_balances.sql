-- Projection: what a subject has of a definition, in one window. Row 0 is the current window, others are ended ones.
-- Between two boundaries only segment_consumed_amount, held_amount and last_sequence_no move; what people read is
-- generated from them here, so that no procedure can write the numbers of one balance so that they contradict.
CREATE TABLE IF NOT EXISTS billing_entitlement_balances (
  subject_type                  ENUM('billable_entity') NOT NULL DEFAULT 'billable_entity',
  subject_id                    BIGINT UNSIGNED NOT NULL,
  definition_id                 INT UNSIGNED NOT NULL,
  history_no                    INT UNSIGNED NOT NULL COMMENT '0: the current window; 1, 2, …: ended windows in their order',
  window_start_at               DATETIME(3) NOT NULL COMMENT 'UTC; included',
  window_end_at                 DATETIME(3) NOT NULL COMMENT 'UTC; excluded',
  segment_no                    INT UNSIGNED NOT NULL COMMENT 'the open segment: its settlement has this number',
  settled_at                    DATETIME(3) NOT NULL COMMENT 'UTC; the boundary at which the open segment began',
  granted_amount                BIGINT NOT NULL,
  allotment_amount              BIGINT NOT NULL COMMENT 'P: aggregate of the active grants that renew; a capacity''s cap, a state''s 0 or 1',
  allotment_given_amount        BIGINT NOT NULL COMMENT 'A: what the allotment gave in this window before the open segment',
  overage_amount                BIGINT NOT NULL COMMENT 'use that nothing covered, when the open segment began',
  segment_start_consumed_amount BIGINT NOT NULL,
  segment_start_left_amount     BIGINT NOT NULL COMMENT 'below 0 while overage is open, or while a count is over its cap',
  segment_consumed_amount       BIGINT NOT NULL COMMENT 'used since the open segment began',
  held_amount                   BIGINT NOT NULL COMMENT 'set aside by pending holds',
  last_sequence_no              BIGINT UNSIGNED NOT NULL COMMENT 'number of the newest consumption',
  returned_sequence_no          BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'rolling windows: number of the newest use that has come back',
  archived_sequence_no          BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'the uses up to this number are in the archive; 0: none, and nobody looks there',
  next_change_at                DATETIME(3) NULL COMMENT 'UTC; the next boundary; null: the clock changes nothing',
  failure_count                 INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'settlements that failed in a row',
  last_failure                  VARCHAR(255) NULL COMMENT 'what the newest of them said',
  retry_at                      DATETIME(3) NULL COMMENT 'UTC; set aside until then',
  consumed_amount               BIGINT AS (segment_start_consumed_amount + segment_consumed_amount) VIRTUAL,
  left_amount                   BIGINT AS (segment_start_left_amount - segment_consumed_amount) VIRTUAL COMMENT 'before holds',
  effective_amount              BIGINT AS (granted_amount - consumed_amount) VIRTUAL,
  available_amount              BIGINT AS (GREATEST(left_amount - held_amount, 0)) VIRTUAL COMMENT 'what a consume may take now',
  over_limit                    BOOLEAN AS (left_amount < 0 OR allotment_given_amount > allotment_amount) VIRTUAL,
  due_at                        DATETIME(3) AS (GREATEST(next_change_at, COALESCE(retry_at, next_change_at))) STORED COMMENT 'when the scheduler takes it',
  -- Serves: everything. Row 0 is locked by every write, so the current window is found without knowing its start.
  CONSTRAINT pk_balances PRIMARY KEY (subject_id, definition_id, history_no),
  -- Serves: the scheduler's lease. A use does not touch it, as a use does not move next_change_at.
  INDEX ix_balances_due (due_at),
  -- Serves: what was set aside, for /metrics and operators. All other rows stand at 0, and are not read.
  INDEX ix_balances_failures (failure_count),
  -- Serves: the foreign key alone.
  INDEX ix_balances_definition (definition_id),
  -- No foreign key to the subject: its check would lock the subject's row after the balance's, against the order of locks (sql/README.md).
  CONSTRAINT fk_balances_definition FOREIGN KEY (definition_id) REFERENCES billing_entitlement_definitions (id),
  -- Catches a window that contains no instant.
  CONSTRAINT ck_balances_window CHECK (window_end_at > window_start_at),
  -- Catches a subtraction that went the wrong way. left and effective may be negative, these may not.
  CONSTRAINT ck_balances_amounts CHECK (
    granted_amount >= 0 AND allotment_amount >= 0 AND allotment_given_amount >= 0 AND overage_amount >= 0
    AND segment_start_consumed_amount >= 0 AND segment_consumed_amount >= 0 AND held_amount >= 0),
  -- An ended window is history: nothing in it changes by the clock any more.
  CONSTRAINT ck_balances_history CHECK (history_no = 0 OR (next_change_at IS NULL AND held_amount = 0))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'projection: what is granted, used and left';
