-- What application code asks for, mapped to what is used: the only place where a capability meets a limit.
CREATE TABLE IF NOT EXISTS billing_capabilities (
  capability    VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'projects.create, annuity.calculate, …',
  definition_id INT UNSIGNED NOT NULL,
  amount        BIGINT NOT NULL COMMENT 'what one use takes, unless the request says an amount',
  reason_code   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'reason written to the ledger, unless the request says one',
  CONSTRAINT pk_capabilities PRIMARY KEY (capability),
  -- Serves: the foreign key alone.
  INDEX ix_capabilities_definition (definition_id),
  CONSTRAINT fk_capabilities_definition FOREIGN KEY (definition_id) REFERENCES billing_entitlement_definitions (id),
  CONSTRAINT ck_capabilities_amount CHECK (amount BETWEEN 1 AND 9007199254740991)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'capability to definition, amount and reason';
