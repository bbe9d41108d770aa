-- billing_find_product_v1: returns one product with its prices and what it grants.
--
-- Called by    the console's GET products/{id}; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_product_id  the product; null: go by the code
--              p_code        its code; read only if p_product_id is null
-- Results      one row, as billing_show_products_in_tx_v1.
-- Errors       PRODUCT_NOT_FOUND.
-- Cost         as billing_show_products_in_tx_v1.
CREATE PROCEDURE billing_find_product_v1(
  IN p_product_id INT UNSIGNED,
  IN p_code       VARCHAR(64)
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns one product'
BEGIN
  DECLARE v_product_id INT UNSIGNED;

  SELECT p.id INTO v_product_id
    FROM billing_products AS p
   WHERE p.id = p_product_id OR p_product_id IS NULL AND p.code = CONVERT(p_code USING ascii);
  IF v_product_id IS NULL THEN
    SIGNAL SQLSTATE '45108' SET MYSQL_ERRNO = 52108, MESSAGE_TEXT = 'PRODUCT_NOT_FOUND: no product has this id or code';
  END IF;
  CALL billing_show_products_in_tx_v1(v_product_id, NULL, 1, FALSE);
END
