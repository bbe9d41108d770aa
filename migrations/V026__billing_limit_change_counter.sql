-- The last sequence number that the outbox gave. One row; its lock makes one gateway at a time give numbers.
CREATE TABLE IF NOT EXISTS billing_limit_change_counter (
  id               TINYINT UNSIGNED NOT NULL,
  last_sequence_no BIGINT UNSIGNED NOT NULL,
  CONSTRAINT pk_limit_change_counter PRIMARY KEY (id),
  CONSTRAINT ck_limit_change_counter_one CHECK (id = 1)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'last outbox number';
