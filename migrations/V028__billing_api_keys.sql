-- Keys of services and operators. Only a key's SHA-256 is kept: a copy of this table opens nothing.
CREATE TABLE IF NOT EXISTS billing_api_keys (
  id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  name         VARCHAR(120) NOT NULL COMMENT 'whose it is',
  role         ENUM('service','admin') NOT NULL,
  key_sha256   BINARY(32) NOT NULL,
  created_at   DATETIME(3) NOT NULL COMMENT 'UTC',
  last_used_at DATETIME(3) NULL COMMENT 'UTC; to the minute',
  revoked_at   DATETIME(3) NULL COMMENT 'UTC; refused from then on',
  CONSTRAINT pk_api_keys PRIMARY KEY (id),
  -- Serves: the caller's proof on every request.
  CONSTRAINT uq_api_keys_sha256 UNIQUE (key_sha256)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'callers'' keys';
