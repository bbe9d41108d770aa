-- access_revoke_key_v1: ends an API key. It is refused from the next request on.
--
-- Called by    consumable keys revoke.
-- Transaction  one statement of its own.
-- Locks        the key's row.
-- Idempotency  a key that is revoked already stays revoked since then; one that was to end later ends now.
-- Parameters   p_key_id  the key
-- Results      one row: id, name, role, revoked_at.
-- Errors       API_KEY_NOT_FOUND.
-- Cost         one row.
CREATE PROCEDURE access_revoke_key_v1(
  IN p_key_id BIGINT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Ends an API key'
BEGIN
  DECLARE v_key_id BIGINT UNSIGNED;

  SELECT k.id INTO v_key_id FROM billing_api_keys AS k WHERE k.id = p_key_id;
  IF v_key_id IS NULL THEN
    SIGNAL SQLSTATE '45105' SET MYSQL_ERRNO = 52105, MESSAGE_TEXT = 'API_KEY_NOT_FOUND: no API key has this id';
  END IF;
  UPDATE billing_api_keys AS k SET k.revoked_at = LEAST(COALESCE(k.revoked_at, UTC_TIMESTAMP(3)), UTC_TIMESTAMP(3)) WHERE k.id = p_key_id;
  SELECT k.id, k.name, k.role, k.revoked_at FROM billing_api_keys AS k WHERE k.id = p_key_id;
END
