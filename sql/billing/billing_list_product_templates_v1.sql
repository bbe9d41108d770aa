-- billing_list_product_templates_v1: returns what a product grants, as the typed rows that grants are made from.
--
-- Called by    people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_product_id  the product
-- Results      a row per template, by code and grant_kind: product_id, definition_id, code, grant_kind, amount, duration_days, metadata, created_at.
-- Errors       PRODUCT_NOT_FOUND.
-- Cost         the product's templates.
CREATE PROCEDURE billing_list_product_templates_v1(
  IN p_product_id INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns the templates of a product'
BEGIN
  DECLARE v_product_id INT UNSIGNED;

  SELECT p.id INTO v_product_id FROM billing_products AS p WHERE p.id = p_product_id;
  IF v_product_id IS NULL THEN
    SIGNAL SQLSTATE '45108' SET MYSQL_ERRNO = 52108, MESSAGE_TEXT = 'PRODUCT_NOT_FOUND: no product has this id';
  END IF;
  SELECT t.product_id, t.definition_id, d.code, t.grant_kind, t.amount, t.duration_days, t.metadata, t.created_at
    FROM billing_product_entitlement_templates AS t
    JOIN billing_entitlement_definitions AS d ON d.id = t.definition_id
   WHERE t.product_id = p_product_id
   ORDER BY d.code, t.grant_kind;
END
