-- billing_begin_operation_in_tx_v1: takes an operator's key, so that what he asks for is done once.
--
-- Called by    every procedure that does what an operator asked for under a key, before anything else; then it writes result_id there.
-- Transaction  needs the caller's.
-- Locks        the key's row: who comes with the same key at once waits here, and finds what the first one did.
-- Idempotency  p_idempotency_key: the same key with the same operation and content gives the first result's id.
-- Parameters   p_idempotency_key  1 to 128 visible ASCII characters
--              p_operation        what is asked for: put_plan, assign_plan, …
--              p_content          everything that was asked for, as JSON; only its hash is kept
--              p_created_by       who asks, up to 128 characters
--              p_result_id        out: null: it is new, go on; else it was done, and this is what it made or changed
-- Results      none.
-- Errors       IDEMPOTENCY_KEY_REQUIRED, VALIDATION_FAILED, IDEMPOTENCY_CONFLICT.
-- Cost         one row.
CREATE PROCEDURE billing_begin_operation_in_tx_v1(
  IN  p_idempotency_key VARCHAR(128),
  IN  p_operation       VARCHAR(32),
  IN  p_content         JSON,
  IN  p_created_by      VARCHAR(128),
  OUT p_result_id       BIGINT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Takes an operator''s key'
BEGIN
  DECLARE v_content BINARY(32) DEFAULT UNHEX(SHA2(p_content, 256));
  DECLARE v_first_operation VARCHAR(32);
  DECLARE v_first_content BINARY(32);

  SET p_result_id = NULL;
  IF p_idempotency_key IS NULL THEN
    SIGNAL SQLSTATE '45002' SET MYSQL_ERRNO = 52002, MESSAGE_TEXT = 'IDEMPOTENCY_KEY_REQUIRED: give the header Idempotency-Key';
  END IF;
  IF NOT REGEXP_LIKE(p_idempotency_key, '^[!-~]{1,128}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: idempotencyKey: must be 1 to 128 visible ASCII characters';
  END IF;
  IF p_created_by IS NULL OR p_created_by = '' THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: createdBy: must say who asks';
  END IF;

  INSERT INTO billing_operations (idempotency_key, operation, content_sha256, created_by, created_at)
  VALUES (p_idempotency_key, p_operation, v_content, p_created_by, UTC_TIMESTAMP(3))
  ON DUPLICATE KEY UPDATE idempotency_key = billing_operations.idempotency_key;
  SELECT o.operation, o.content_sha256, o.result_id INTO v_first_operation, v_first_content, p_result_id
    FROM billing_operations AS o
   WHERE o.idempotency_key = CONVERT(p_idempotency_key USING ascii)
     FOR SHARE;
  IF v_first_operation <> CONVERT(p_operation USING ascii) OR v_first_content <> v_content THEN
    SIGNAL SQLSTATE '45201' SET MYSQL_ERRNO = 52201, MESSAGE_TEXT = 'IDEMPOTENCY_CONFLICT: this key was used for something else';
  END IF;
END
