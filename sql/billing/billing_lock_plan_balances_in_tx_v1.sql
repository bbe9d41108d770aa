-- billing_lock_plan_balances_in_tx_v1: locks the balances that a change of a subject's plan concerns, in their order.
--
-- Called by    billing_assign_plan_in_tx_v1, billing_pay_period_in_tx_v1, billing_end_assignment_in_tx_v1, before they read the clock.
-- Transaction  needs the caller's.
-- Locks        those of the balances below that there are, by definition. The caller has the subject's lock.
-- Idempotency  writes nothing.
-- Parameters   p_subject_id   billable entity
--              p_plan_id      the plan whose templates will grant; null: none
--              p_ending       the grants that will end, as billing_list_ending_grants_in_tx_v1 lists them; null: none
--              p_with_anchor  whether the billing anchor may move: then also all balances that go by it
-- Results      none.
-- Errors       none.
-- Cost         the plan's templates, the subject's balances, one lock each.
CREATE PROCEDURE billing_lock_plan_balances_in_tx_v1(
  IN p_subject_id  BIGINT UNSIGNED,
  IN p_plan_id     INT UNSIGNED,
  IN p_ending      JSON,
  IN p_with_anchor BOOLEAN
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Locks the balances that a change of plan concerns'
BEGIN
  DECLARE v_count INT UNSIGNED;

  SELECT COUNT(*) INTO v_count
    FROM (SELECT c.definition_id
            FROM (SELECT t.definition_id
                    FROM billing_plan_entitlement_templates AS t
                   WHERE t.plan_id = p_plan_id
                  UNION
                  SELECT j.definition_id
                    FROM JSON_TABLE(COALESCE(p_ending, JSON_ARRAY()), '$[*]' COLUMNS (definition_id INT UNSIGNED PATH '$[0]')) AS j
                  UNION
                  SELECT o.definition_id
                    FROM billing_entitlement_balances AS o
                    JOIN billing_entitlement_definitions AS d ON d.id = o.definition_id
                   WHERE p_with_anchor AND o.subject_id = p_subject_id AND o.history_no = 0 AND d.window_anchor = 'billing_period') AS c
           ORDER BY c.definition_id
           LIMIT 100000) AS k
    STRAIGHT_JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
       ON b.subject_id = p_subject_id AND b.definition_id = k.definition_id AND b.history_no = 0
      FOR UPDATE OF b;
END
