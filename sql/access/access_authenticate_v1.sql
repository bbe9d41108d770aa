-- access_authenticate_v1: says whose key a secret is, by its SHA-256.
--
-- Called by    the gateway, for every request with a key.
-- Transaction  none; the mark of the last use is one statement of its own.
-- Locks        the key's row, at most once a minute.
-- Idempotency  reads only, but for the mark.
-- Parameters   p_key_sha256  32 bytes
-- Results      one row: id, name, role; none where no key that holds has this hash.
-- Errors       none.
-- Cost         one row.
CREATE PROCEDURE access_authenticate_v1(
  IN p_key_sha256 BINARY(32)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Says whose key a secret is'
BEGIN
  DECLARE v_id BIGINT UNSIGNED;
  DECLARE v_name VARCHAR(120);
  DECLARE v_role VARCHAR(16);
  DECLARE v_last_used_at DATETIME(3);

  SELECT k.id, k.name, k.role, k.last_used_at INTO v_id, v_name, v_role, v_last_used_at
    FROM billing_api_keys AS k
   WHERE k.key_sha256 = p_key_sha256 AND (k.revoked_at IS NULL OR k.revoked_at > UTC_TIMESTAMP(3));
  IF v_id IS NOT NULL AND COALESCE(v_last_used_at < UTC_TIMESTAMP(3) - INTERVAL 1 MINUTE, TRUE) THEN
    UPDATE billing_api_keys AS k SET k.last_used_at = UTC_TIMESTAMP(3) WHERE k.id = v_id;
  END IF;
  SELECT v_id AS id, v_name AS name, v_role AS role FROM DUAL WHERE v_id IS NOT NULL;
END
