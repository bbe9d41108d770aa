-- entitlement_put_definition_v1: makes a definition, or edits one, in one commit.
--
-- Called by    the console's POST entitlement-definitions and PATCH entitlement-definitions/{id}; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone: there, call entitlement_put_definition_in_tx_v1.
-- Locks        the key; then as entitlement_put_definition_in_tx_v1.
-- Idempotency  p_idempotency_key: the same again changes nothing and answers with the definition as it is by now.
-- Parameters   p_definition_id     the definition; null: make one
--              p_fields            as entitlement_put_definition_in_tx_v1
--              p_expected_version  the version that is edited; null: whichever
--              p_idempotency_key   1 to 128 visible ASCII characters
--              p_created_by        who; null: the database user
-- Results      what is wrong, as billing_show_problems_in_tx_v1: no rows, or nothing was written. Then the definition as it is, as entitlement_show_definitions_in_tx_v1: one row,
--              or none where it was to be made and something is wrong.
-- Errors       as billing_begin_operation_in_tx_v1, entitlement_put_definition_in_tx_v1.
-- Cost         as entitlement_put_definition_in_tx_v1.
CREATE PROCEDURE entitlement_put_definition_v1(
  IN p_definition_id    INT UNSIGNED,
  IN p_fields           JSON,
  IN p_expected_version INT UNSIGNED,
  IN p_idempotency_key  VARCHAR(128),
  IN p_created_by       VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes or edits a definition in one commit'
BEGIN
  DECLARE v_first_id BIGINT UNSIGNED;
  DECLARE v_definition_id INT UNSIGNED DEFAULT p_definition_id;
  DECLARE v_problems JSON;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL billing_begin_operation_in_tx_v1(p_idempotency_key, 'put_definition', JSON_ARRAY(p_definition_id, p_fields, p_expected_version), COALESCE(p_created_by, USER()), v_first_id);
    IF v_first_id IS NOT NULL THEN
      SET v_definition_id = v_first_id;
    ELSE
      CALL entitlement_put_definition_in_tx_v1(p_definition_id, p_fields, p_expected_version, v_definition_id, v_problems);
      UPDATE billing_operations AS o SET o.result_id = v_definition_id WHERE o.idempotency_key = CONVERT(p_idempotency_key USING ascii);
    END IF;
    IF v_problems IS NULL THEN
      COMMIT;
    ELSE
      ROLLBACK;
      SET v_definition_id = p_definition_id;
    END IF;
  END;
  CALL billing_show_problems_in_tx_v1(v_problems);
  -- No definition has the id 0.
  CALL entitlement_show_definitions_in_tx_v1(COALESCE(v_definition_id, 0), NULL, 1, p_definition_id IS NULL AND v_first_id IS NULL);
END
