-- Stops on a row that refers to nothing: foreign keys are often off while data is loaded. And on a period of which only one end is told.
DROP PROCEDURE IF EXISTS bootstrap_check_references;
CREATE PROCEDURE bootstrap_check_references()
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Stops on a row that refers to nothing'
BEGIN
  DECLARE v_problem VARCHAR(1000);

  SELECT CONCAT('BOOTSTRAP_MISSING_SUBJECT: ', w.place, ': no billable entity ', w.subject_id) INTO v_problem
    FROM (SELECT 1 AS table_no, a.id, a.subject_id, CONCAT('billing_plan_assignments ', a.id) AS place FROM billing_plan_assignments AS a
           UNION ALL
          SELECT 2, p.id, p.subject_id, CONCAT('billing_purchases ', p.id) FROM billing_purchases AS p) AS w
    LEFT JOIN billable_entities AS e ON e.id = w.subject_id
   WHERE e.id IS NULL
   ORDER BY w.table_no, w.id
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);

  SELECT CONCAT('BOOTSTRAP_MISSING_PLAN: billing_plan_assignments ', a.id, ': no plan ', a.plan_id) INTO v_problem
    FROM billing_plan_assignments AS a
    LEFT JOIN billing_plans AS p ON p.id = a.plan_id
   WHERE p.id IS NULL
   ORDER BY a.id
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);

  SELECT CONCAT(IF(u.id IS NULL, 'BOOTSTRAP_MISSING_PURCHASE', 'BOOTSTRAP_MISSING_PRODUCT'), ': billing_purchase_lines ', l.purchase_id, '/', l.line_no,
                IF(u.id IS NULL, ': no such purchase', CONCAT(': no product ', l.product_id)))
    INTO v_problem
    FROM billing_purchase_lines AS l
    LEFT JOIN billing_purchases AS u ON u.id = l.purchase_id
    LEFT JOIN billing_products AS q ON q.id = l.product_id
   WHERE u.id IS NULL OR (l.product_id IS NOT NULL AND q.id IS NULL)
   ORDER BY l.purchase_id, l.line_no
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);

  SELECT CONCAT('BOOTSTRAP_HALF_PERIOD: billing_plan_assignments ', a.id, ': ', IF(a.period_end_at IS NULL, 'period_end_at', 'period_start_at'), ' is missing')
    INTO v_problem
    FROM billing_plan_assignments AS a
   WHERE a.status = 'current' AND (a.period_start_at IS NULL) <> (a.period_end_at IS NULL)
   ORDER BY a.id
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);

  SELECT CONCAT('BOOTSTRAP_UNKNOWN_HOLDER: billing_bootstrap_entitlements (', b.kind, ' ', LEFT(b.code, 24), '): no ', b.kind, ' has this code') INTO v_problem
    FROM billing_bootstrap_entitlements AS b
    LEFT JOIN billing_plans AS p ON b.kind = 'plan' AND p.code = b.code
    LEFT JOIN billing_products AS q ON b.kind = 'product' AND q.code = b.code
   WHERE COALESCE(p.id, q.id) IS NULL
   ORDER BY b.kind, b.code
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);
END
