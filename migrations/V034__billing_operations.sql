-- What operators asked for, each under its key: the same again is done once. Grants keep their keys themselves.
CREATE TABLE IF NOT EXISTS billing_operations (
  idempotency_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the caller''s key, compared byte for byte',
  operation       VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'what was asked for: put_plan, assign_plan, …',
  content_sha256  BINARY(32) NOT NULL COMMENT 'of what was asked for: the same key with other content is a conflict',
  result_id       BIGINT UNSIGNED NULL COMMENT 'what it made or changed; null until it has',
  created_by      VARCHAR(128) NOT NULL COMMENT 'who asked',
  created_at      DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT pk_operations PRIMARY KEY (idempotency_key),
  -- Catches a key that nobody could send again.
  CONSTRAINT ck_operations_key CHECK (REGEXP_LIKE(idempotency_key, '^[!-~]{1,128}\\z'))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'keys of operators'' requests';
