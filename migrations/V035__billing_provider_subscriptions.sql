-- What the provider last said of each subscription, so that what it said earlier and what arrives late changes nothing.
CREATE TABLE IF NOT EXISTS billing_provider_subscriptions (
  provider                 VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'stripe',
  provider_subscription_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'sub_…',
  subject_id               BIGINT UNSIGNED NOT NULL,
  plan_id                  INT UNSIGNED NULL COMMENT 'null: none of its prices is a plan''s',
  quantity                 INT UNSIGNED NOT NULL,
  status                   VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'in the provider''s word: active, past_due, …',
  said_at                  DATETIME(3) NOT NULL COMMENT 'UTC; when the provider made the newest event that was applied',
  ended_at                 DATETIME(3) NULL COMMENT 'UTC; deleted, and so for ever',
  updated_at               DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT pk_provider_subscriptions PRIMARY KEY (provider, provider_subscription_id),
  -- Serves: subscriptions of a subject.
  INDEX ix_provider_subscriptions_subject (subject_id),
  -- Serves: the foreign key alone.
  INDEX ix_provider_subscriptions_plan (plan_id),
  CONSTRAINT fk_provider_subscriptions_subject FOREIGN KEY (subject_id) REFERENCES billable_entities (id),
  CONSTRAINT fk_provider_subscriptions_plan FOREIGN KEY (plan_id) REFERENCES billing_plans (id),
  CONSTRAINT ck_provider_subscriptions_quantity CHECK (quantity BETWEEN 1 AND 1000000)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'subscriptions at the provider';
