-- What a plan grants. The only source from which plan grants are made.
CREATE TABLE IF NOT EXISTS billing_plan_entitlement_templates (
  id               INT UNSIGNED NOT NULL AUTO_INCREMENT,
  plan_id          INT UNSIGNED NOT NULL,
  definition_id    INT UNSIGNED NOT NULL,
  grant_kind       ENUM('plan_base','plan_bonus') NOT NULL DEFAULT 'plan_base',
  amount           BIGINT NOT NULL,
  effective_policy ENUM('on_assignment_current','on_period_paid') NOT NULL DEFAULT 'on_assignment_current',
  duration_policy  ENUM('while_current','period_window','fixed_duration') NOT NULL DEFAULT 'while_current',
  duration_days    INT UNSIGNED NULL COMMENT 'days of 24 hours; exactly with fixed_duration',
  schema_version   INT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'of the JSON it was written from',
  created_at       DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT pk_plan_templates PRIMARY KEY (id),
  -- A template's identity, which dedupe keys of grants are made of: saving a plan again makes no second grant.
  CONSTRAINT uq_plan_templates_identity UNIQUE (plan_id, definition_id, grant_kind),
  -- Serves: the foreign key alone.
  INDEX ix_plan_templates_definition (definition_id),
  CONSTRAINT fk_plan_templates_plan FOREIGN KEY (plan_id) REFERENCES billing_plans (id),
  CONSTRAINT fk_plan_templates_definition FOREIGN KEY (definition_id) REFERENCES billing_entitlement_definitions (id),
  CONSTRAINT ck_plan_templates_amount CHECK (amount BETWEEN 1 AND 9007199254740991),
  -- Catches a fixed duration of no length, and a length that nobody reads.
  CONSTRAINT ck_plan_templates_duration CHECK ((duration_policy = 'fixed_duration') = (duration_days IS NOT NULL)),
  CONSTRAINT ck_plan_templates_duration_days CHECK (duration_days BETWEEN 1 AND 36500)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'what plans grant';
