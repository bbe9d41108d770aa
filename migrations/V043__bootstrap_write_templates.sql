-- Makes the templates of all entries. Stops on two of one identity (plan or product, code, kind), from which the same dedupe keys would follow, and on a plan
-- with subjects on it that grants nothing.
DROP PROCEDURE IF EXISTS bootstrap_write_templates;
CREATE PROCEDURE bootstrap_write_templates(
  IN p_now DATETIME(3)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes the templates of all entries'
BEGIN
  DECLARE v_problem VARCHAR(1000);

  SELECT CONCAT('BOOTSTRAP_KEY_COLLISION: ', x.place, ': a second ', x.grant_kind, ' of ', x.code) INTO v_problem
    FROM (SELECT e.set_no, e.entry_no, e.place, e.code, e.grant_kind,
                 ROW_NUMBER() OVER (PARTITION BY e.holder, e.holder_id, e.definition_id, e.grant_kind ORDER BY e.set_no, e.entry_no) AS nth
            FROM bootstrap_entries AS e) AS x
   WHERE x.nth > 1
   ORDER BY x.set_no, x.entry_no
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);

  -- A template that is there already, by hand or from a run that was killed before it was recorded, may say the same and nothing else.
  SELECT CONCAT('BOOTSTRAP_KEY_COLLISION: ', x.place, ': template ', x.template_id, ' says otherwise') INTO v_problem
    FROM (SELECT e.set_no, e.entry_no, e.place, t.id AS template_id
            FROM bootstrap_entries AS e
            JOIN billing_plan_entitlement_templates AS t ON t.plan_id = e.holder_id AND t.definition_id = e.definition_id AND t.grant_kind = e.grant_kind
           WHERE e.holder = 'plan'
             AND NOT (t.amount = e.amount AND t.effective_policy = e.effective_policy AND t.duration_policy = e.duration_policy
                      AND t.duration_days <=> e.duration_days AND t.schema_version = 1)) AS x
   ORDER BY x.set_no, x.entry_no
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);
  SELECT CONCAT('BOOTSTRAP_KEY_COLLISION: ', x.place, ': template ', x.template_id, ' says otherwise') INTO v_problem
    FROM (SELECT e.set_no, e.entry_no, e.place, t.id AS template_id
            FROM bootstrap_entries AS e
            JOIN billing_product_entitlement_templates AS t ON t.product_id = e.holder_id AND t.definition_id = e.definition_id AND t.grant_kind = e.grant_kind
           WHERE e.holder = 'product'
             AND NOT (t.amount = e.amount AND t.duration_days <=> e.duration_days AND t.metadata <=> e.metadata)) AS x
   ORDER BY x.set_no, x.entry_no
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);

  INSERT INTO billing_plan_entitlement_templates
    (plan_id, definition_id, grant_kind, amount, effective_policy, duration_policy, duration_days, schema_version, created_at)
  SELECT e.holder_id, e.definition_id, e.grant_kind, e.amount, e.effective_policy, e.duration_policy, e.duration_days, 1, p_now
    FROM bootstrap_entries AS e
    LEFT JOIN billing_plan_entitlement_templates AS t ON t.plan_id = e.holder_id AND t.definition_id = e.definition_id AND t.grant_kind = e.grant_kind
   WHERE e.holder = 'plan' AND t.id IS NULL
   ORDER BY e.set_no, e.entry_no;
  INSERT INTO billing_product_entitlement_templates (product_id, definition_id, grant_kind, amount, duration_days, metadata, created_at)
  SELECT e.holder_id, e.definition_id, e.grant_kind, e.amount, e.duration_days, e.metadata, p_now
    FROM bootstrap_entries AS e
    LEFT JOIN billing_product_entitlement_templates AS t ON t.product_id = e.holder_id AND t.definition_id = e.definition_id AND t.grant_kind = e.grant_kind
   WHERE e.holder = 'product' AND t.id IS NULL
   ORDER BY e.set_no, e.entry_no;

  SELECT CONCAT('BOOTSTRAP_PLAN_WITHOUT_COVERAGE: billing_plans ', p.id, ' (', LEFT(p.code, 24), '): subjects are on it, and it grants nothing') INTO v_problem
    FROM billing_plans AS p
   WHERE EXISTS (SELECT a.id FROM billing_plan_assignments AS a WHERE a.plan_id = p.id AND a.status IN ('current', 'scheduled'))
     AND NOT EXISTS (SELECT t.id FROM billing_plan_entitlement_templates AS t WHERE t.plan_id = p.id)
   ORDER BY p.id
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);
END
