-- Scaffold, to be deleted by whoever builds on this: the example of work that a quota meters.
CREATE TABLE IF NOT EXISTS scaffold_annuity_calculations (
  id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  subject_id      BIGINT UNSIGNED NOT NULL,
  usage_event_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the key of the use that paid for it',
  inputs          JSON NOT NULL,
  result          DECIMAL(30,10) NOT NULL,
  created_at      DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT pk_annuity_calculations PRIMARY KEY (id),
  -- A retry finds the first result here.
  CONSTRAINT uq_annuity_calculations_key UNIQUE (subject_id, usage_event_key),
  -- Serves: a subject's history, newest first.
  INDEX ix_annuity_calculations_subject (subject_id, id),
  CONSTRAINT fk_annuity_calculations_subject FOREIGN KEY (subject_id) REFERENCES billable_entities (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'example: history of calculations';
