-- access_rotate_key_v1: makes an API key in the place of another, which holds for a while longer.
--
-- Called by    consumable keys rotate.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        the row of the key that is replaced.
-- Idempotency  none: a secret is made once, and cannot be shown again.
-- Parameters   p_key_id           the key that is replaced
--              p_key_sha256       32 bytes, of the new one; the secret itself never reaches the database
--              p_overlap_seconds  how long the old one still holds, 0 to 2,592,000: 30 days
-- Results      one row: id, name, role of the new key, and replaced_until: when the old one ends, or ended.
-- Errors       VALIDATION_FAILED, API_KEY_NOT_FOUND.
-- Cost         two rows.
CREATE PROCEDURE access_rotate_key_v1(
  IN p_key_id          BIGINT UNSIGNED,
  IN p_key_sha256      BINARY(32),
  IN p_overlap_seconds INT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes an API key in the place of another'
BEGIN
  DECLARE v_key_id BIGINT UNSIGNED;
  DECLARE v_revoked_at DATETIME(3);
  DECLARE v_now DATETIME(3);

  IF p_overlap_seconds IS NULL OR p_overlap_seconds > 2592000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: overlapSeconds: must be a whole number from 0 to 2592000';
  END IF;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT k.id, k.revoked_at INTO v_key_id, v_revoked_at FROM billing_api_keys AS k WHERE k.id = p_key_id FOR UPDATE;
    SET v_now = UTC_TIMESTAMP(3);
    -- Whoever revoked a key wants nobody to have it. One that was replaced before may be replaced again while it holds.
    IF v_key_id IS NULL OR v_revoked_at <= v_now THEN
      SIGNAL SQLSTATE '45105' SET MYSQL_ERRNO = 52105, MESSAGE_TEXT = 'API_KEY_NOT_FOUND: no API key that still holds has this id';
    END IF;
    INSERT INTO billing_api_keys (name, role, key_sha256, created_at)
    SELECT k.name, k.role, p_key_sha256, v_now FROM billing_api_keys AS k WHERE k.id = v_key_id;
    UPDATE billing_api_keys AS k
       SET k.revoked_at = LEAST(COALESCE(v_revoked_at, '9999-12-31'), v_now + INTERVAL p_overlap_seconds SECOND)
     WHERE k.id = v_key_id;
    COMMIT;
  END;
  SELECT n.id, n.name, n.role, o.revoked_at AS replaced_until
    FROM billing_api_keys AS n JOIN billing_api_keys AS o ON o.id = v_key_id
   WHERE n.key_sha256 = p_key_sha256;
END
