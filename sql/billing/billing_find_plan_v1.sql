-- billing_find_plan_v1: returns one plan with its prices and what it grants.
--
-- Called by    the console's GET plans/{id}; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_plan_id  the plan; null: go by the code
--              p_code     its code; read only if p_plan_id is null
-- Results      one row, as billing_show_plans_in_tx_v1.
-- Errors       PLAN_NOT_FOUND.
-- Cost         as billing_show_plans_in_tx_v1.
CREATE PROCEDURE billing_find_plan_v1(
  IN p_plan_id INT UNSIGNED,
  IN p_code    VARCHAR(64)
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns one plan'
BEGIN
  DECLARE v_plan_id INT UNSIGNED;

  SELECT p.id INTO v_plan_id
    FROM billing_plans AS p
   WHERE p.id = p_plan_id OR p_plan_id IS NULL AND p.code = CONVERT(p_code USING ascii);
  IF v_plan_id IS NULL THEN
    SIGNAL SQLSTATE '45107' SET MYSQL_ERRNO = 52107, MESSAGE_TEXT = 'PLAN_NOT_FOUND: no plan has this id or code';
  END IF;
  CALL billing_show_plans_in_tx_v1(v_plan_id, NULL, 1, FALSE);
END
