-- What a purchase granted, and what was bought with each: a refund takes its part of that back. A partial refund adds a grant of the rest.
CREATE TABLE IF NOT EXISTS billing_purchase_grants (
  purchase_id    BIGINT UNSIGNED NOT NULL,
  grant_id       BIGINT UNSIGNED NOT NULL,
  first_grant_id BIGINT UNSIGNED NOT NULL COMMENT 'the grant that the payment made; itself, or what this is the rest of',
  bought_amount  BIGINT NOT NULL COMMENT 'what the payment bought: the amount of the first grant',
  CONSTRAINT pk_purchase_grants PRIMARY KEY (purchase_id, grant_id),
  -- Serves: the purchase of a grant.
  INDEX ix_purchase_grants_grant (grant_id),
  -- Serves: the foreign key alone.
  INDEX ix_purchase_grants_first (first_grant_id),
  CONSTRAINT fk_purchase_grants_purchase FOREIGN KEY (purchase_id) REFERENCES billing_purchases (id),
  CONSTRAINT fk_purchase_grants_grant FOREIGN KEY (grant_id) REFERENCES billing_entitlement_grants (id),
  CONSTRAINT fk_purchase_grants_first FOREIGN KEY (first_grant_id) REFERENCES billing_entitlement_grants (id),
  CONSTRAINT ck_purchase_grants_bought CHECK (bought_amount BETWEEN 1 AND 9007199254740991)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'what purchases granted';
