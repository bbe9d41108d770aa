-- billing_list_plan_templates_v1: returns what a plan grants, as the typed rows that grants are made from.
--
-- Called by    people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_plan_id  the plan
-- Results      a row per template, by code and grant_kind: plan_id, definition_id, code, grant_kind, amount, effective_policy, duration_policy, duration_days,
--              schema_version, created_at.
-- Errors       PLAN_NOT_FOUND.
-- Cost         the plan's templates.
CREATE PROCEDURE billing_list_plan_templates_v1(
  IN p_plan_id INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns the templates of a plan'
BEGIN
  DECLARE v_plan_id INT UNSIGNED;

  SELECT p.id INTO v_plan_id FROM billing_plans AS p WHERE p.id = p_plan_id;
  IF v_plan_id IS NULL THEN
    SIGNAL SQLSTATE '45107' SET MYSQL_ERRNO = 52107, MESSAGE_TEXT = 'PLAN_NOT_FOUND: no plan has this id';
  END IF;
  SELECT t.plan_id, t.definition_id, d.code, t.grant_kind, t.amount, t.effective_policy, t.duration_policy, t.duration_days, t.schema_version, t.created_at
    FROM billing_plan_entitlement_templates AS t
    JOIN billing_entitlement_definitions AS d ON d.id = t.definition_id
   WHERE t.plan_id = p_plan_id
   ORDER BY d.code, t.grant_kind;
END
