-- entitlement_list_definitions_v1: returns a page of definitions, the inactive ones too.
--
-- Called by    the console's GET entitlement-definitions; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_after_id  the last id of the page before; null for the first
--              p_limit     definitions at most, 1 to 1,000
-- Results      as entitlement_show_definitions_in_tx_v1.
-- Errors       VALIDATION_FAILED.
-- Cost         the definitions that it returns.
CREATE PROCEDURE entitlement_list_definitions_v1(
  IN p_after_id BIGINT UNSIGNED,
  IN p_limit    INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns a page of definitions'
BEGIN
  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 1000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 1000';
  END IF;
  CALL entitlement_show_definitions_in_tx_v1(NULL, p_after_id, p_limit, FALSE);
END
