-- access_list_keys_v1: returns all API keys, without anything that opens a door.
--
-- Called by    consumable keys list.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_after_id  the last id of the page before; 0 for the first
--              p_limit     rows at most, 1 to 1,000
-- Results      a row per key, by id: id, name, role, created_at, last_used_at, revoked_at, which may be to come.
-- Errors       VALIDATION_FAILED.
-- Cost         the rows that it returns.
CREATE PROCEDURE access_list_keys_v1(
  IN p_after_id BIGINT UNSIGNED,
  IN p_limit    INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns all API keys'
BEGIN
  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 1000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 1000';
  END IF;
  SELECT k.id, k.name, k.role, k.created_at, k.last_used_at, k.revoked_at
    FROM billing_api_keys AS k
   WHERE k.id > p_after_id
   ORDER BY k.id
   LIMIT p_limit;
END
