-- access_create_key_v1: makes an API key from the SHA-256 of its secret.
--
-- Called by    consumable keys create; consumable dev.
-- Transaction  one statement of its own.
-- Locks        none.
-- Idempotency  none: a secret is made once, and cannot be shown again.
-- Parameters   p_name        whose it is, 1 to 120 characters
--              p_role        service, admin
--              p_key_sha256  32 bytes; the secret itself never reaches the database
-- Results      one row: id, name, role, created_at.
-- Errors       VALIDATION_FAILED.
-- Cost         one row.
CREATE PROCEDURE access_create_key_v1(
  IN p_name       VARCHAR(120),
  IN p_role       VARCHAR(16),
  IN p_key_sha256 BINARY(32)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes an API key'
BEGIN
  IF p_name IS NULL OR TRIM(p_name) = '' THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: name: must say whose key it is';
  END IF;
  IF p_role IS NULL OR p_role NOT IN ('service', 'admin') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: role: must be service or admin';
  END IF;
  INSERT INTO billing_api_keys (name, role, key_sha256, created_at) VALUES (p_name, p_role, p_key_sha256, UTC_TIMESTAMP(3));
  SELECT k.id, k.name, k.role, k.created_at FROM billing_api_keys AS k WHERE k.id = LAST_INSERT_ID();
END
