-- Which plan a subject is on, was on, and will be on.
CREATE TABLE IF NOT EXISTS billing_plan_assignments (
  id                       BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  subject_type             ENUM('billable_entity') NOT NULL DEFAULT 'billable_entity',
  subject_id               BIGINT UNSIGNED NOT NULL,
  plan_id                  INT UNSIGNED NOT NULL,
  quantity                 INT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'what the plan grants, so many times: seats',
  status                   ENUM('scheduled','current','ended','cancelled') NOT NULL,
  effective_at             DATETIME(3) NOT NULL COMMENT 'UTC; when it became or becomes current',
  ended_at                 DATETIME(3) NULL COMMENT 'UTC; when it ceased to be current, or was cancelled',
  period_start_at          DATETIME(3) NULL COMMENT 'UTC; the paid period, where the provider said one',
  period_end_at            DATETIME(3) NULL COMMENT 'UTC; end excluded',
  provider_subscription_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL,
  dedupe_key               VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'what made it: the same again makes no second one',
  created_by               VARCHAR(128) NOT NULL COMMENT 'who made it',
  created_at               DATETIME(3) NOT NULL COMMENT 'UTC',
  failure_count            INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'attempts to make a scheduled plan current that failed in a row',
  last_failure             VARCHAR(255) NULL COMMENT 'what the newest of them said',
  retry_at                 DATETIME(3) NULL COMMENT 'UTC; set aside until then',
  current_subject_id       BIGINT UNSIGNED AS (IF(status = 'current', subject_id, NULL)) VIRTUAL COMMENT 'carries the unique key below',
  due_at                   DATETIME(3) AS (IF(status = 'scheduled', GREATEST(effective_at, COALESCE(retry_at, effective_at)), NULL)) STORED
                           COMMENT 'UTC; when the scheduler makes it current',
  CONSTRAINT pk_assignments PRIMARY KEY (id),
  -- Serves: the replay check. Catches one event that assigns twice.
  CONSTRAINT uq_assignments_dedupe UNIQUE (dedupe_key),
  -- Serves: the current plan of a subject. Catches a subject on two plans at once.
  CONSTRAINT uq_assignments_current UNIQUE (current_subject_id),
  -- Serves: plan history of a subject.
  INDEX ix_assignments_subject (subject_id, effective_at),
  -- Serves: the scheduler looking for changes that are due.
  INDEX ix_assignments_due (due_at),
  -- Serves: the foreign key alone.
  INDEX ix_assignments_plan (plan_id),
  CONSTRAINT fk_assignments_subject FOREIGN KEY (subject_id) REFERENCES billable_entities (id),
  CONSTRAINT fk_assignments_plan FOREIGN KEY (plan_id) REFERENCES billing_plans (id),
  CONSTRAINT ck_assignments_quantity CHECK (quantity BETWEEN 1 AND 1000000),
  -- Catches an ended plan without its end, and a current plan that has one.
  CONSTRAINT ck_assignments_ended CHECK ((status IN ('ended','cancelled')) = (ended_at IS NOT NULL)),
  -- Catches a paid period that ends before it begins.
  CONSTRAINT ck_assignments_period CHECK (period_end_at > period_start_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'plans of subjects over time';
