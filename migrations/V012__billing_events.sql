-- The inbox: what the payment provider said, word for word, one row per provider event.
CREATE TABLE IF NOT EXISTS billing_events (
  id                BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  provider          VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'stripe',
  provider_event_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  event_type        VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  api_version       VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'of the payload''s shape',
  payload           MEDIUMBLOB NOT NULL COMMENT 'the body exactly as sent, 1 MiB at most',
  outcome           ENUM('received','applied','ignored','failed') NOT NULL,
  failure           VARCHAR(1000) NULL COMMENT 'why it could not be applied',
  ignored_because   VARCHAR(255) NULL COMMENT 'why nothing follows from it',
  subject_id        BIGINT UNSIGNED NULL COMMENT 'whom it is about, where that is known',
  attempts          INT UNSIGNED NOT NULL DEFAULT 0,
  received_at       DATETIME(3) NOT NULL COMMENT 'UTC',
  resolved_at       DATETIME(3) NULL COMMENT 'UTC; when it was applied or ignored',
  CONSTRAINT pk_events PRIMARY KEY (id),
  -- The same event again is found here.
  CONSTRAINT uq_events_provider_event UNIQUE (provider, provider_event_id),
  -- Serves: the operator's list of what failed, newest first.
  INDEX ix_events_outcome (outcome, id),
  -- Serves: the operator's list of what was said of a subject.
  INDEX ix_events_subject (subject_id, id),
  CONSTRAINT fk_events_subject FOREIGN KEY (subject_id) REFERENCES billable_entities (id),
  CONSTRAINT ck_events_payload CHECK (LENGTH(payload) <= 1048576),
  -- Catches a failure that nobody can explain, and an explanation of none.
  CONSTRAINT ck_events_failure CHECK ((outcome = 'failed') = (failure IS NOT NULL)),
  -- Catches an event that was passed over without a word.
  CONSTRAINT ck_events_ignored CHECK ((outcome = 'ignored') = (ignored_because IS NOT NULL)),
  -- Catches an applied event without its time.
  CONSTRAINT ck_events_resolved CHECK ((outcome IN ('applied','ignored')) = (resolved_at IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'inbox of provider events';
