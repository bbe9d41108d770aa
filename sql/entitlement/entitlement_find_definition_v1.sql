-- entitlement_find_definition_v1: returns one definition.
--
-- Called by    the console's GET entitlement-definitions/{id}; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_definition_id  the definition; null: go by the code
--              p_code           its code; read only if p_definition_id is null
-- Results      one row, as entitlement_show_definitions_in_tx_v1.
-- Errors       DEFINITION_NOT_FOUND.
-- Cost         as entitlement_show_definitions_in_tx_v1.
CREATE PROCEDURE entitlement_find_definition_v1(
  IN p_definition_id INT UNSIGNED,
  IN p_code          VARCHAR(64)
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns one definition'
BEGIN
  DECLARE v_definition_id INT UNSIGNED;

  SELECT d.id INTO v_definition_id
    FROM billing_entitlement_definitions AS d
   WHERE d.id = p_definition_id OR p_definition_id IS NULL AND d.code = CONVERT(p_code USING ascii);
  IF v_definition_id IS NULL THEN
    SIGNAL SQLSTATE '45102' SET MYSQL_ERRNO = 52102, MESSAGE_TEXT = 'DEFINITION_NOT_FOUND: no entitlement definition has this id or code';
  END IF;
  CALL entitlement_show_definitions_in_tx_v1(v_definition_id, NULL, 1, FALSE);
END
