-- billing_plan_state_v1: says which plan a subject is on, which comes next, which there are, and which it was on.
--
-- Called by    GET /api/billing/plan-state; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_subject_id  billable entity
-- Results      a row per assignment, as billing_show_assignment_in_tx_v1 without provider, failure and author: the current one, the scheduled one, and up to
--              100 that ended or were cancelled, newest first. Then a row per plan that takes new assignments, by code, up to 200: plan_code,
--              plan_name, is_current, entitlements (JSON: what its templates grant, each as code, name, unit, scale, windowInterval,
--              grantKind, amount, effectivePolicy, durationPolicy, durationDays).
-- Errors       SUBJECT_NOT_FOUND.
-- Cost         the subject's assignments; the plans and their templates.
CREATE PROCEDURE billing_plan_state_v1(
  IN p_subject_id BIGINT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Says which plan a subject is on'
BEGIN
  DECLARE v_subject_id BIGINT UNSIGNED;
  DECLARE v_current_plan_id INT UNSIGNED;

  SELECT e.id INTO v_subject_id FROM billable_entities AS e WHERE e.id = p_subject_id;
  IF v_subject_id IS NULL THEN
    SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
  END IF;
  SELECT a.plan_id INTO v_current_plan_id FROM billing_plan_assignments AS a WHERE a.current_subject_id = p_subject_id;

  -- The current and the scheduled one stand before all that are over.
  SELECT a.id, p.code AS plan_code, p.name AS plan_name, a.quantity, a.status, a.effective_at, a.ended_at, a.period_start_at, a.period_end_at, a.created_at
    FROM billing_plan_assignments AS a FORCE INDEX (ix_assignments_subject)
    JOIN billing_plans AS p ON p.id = a.plan_id
   WHERE a.subject_id = p_subject_id
   ORDER BY a.status NOT IN ('current', 'scheduled'), a.id DESC
   LIMIT 102;

  SELECT n.code AS plan_code, n.name AS plan_name, n.id <=> v_current_plan_id AS is_current, COALESCE(g.entitlements, JSON_ARRAY()) AS entitlements
    FROM (SELECT p.id, p.code, p.name
            FROM billing_plans AS p
           WHERE p.archived_at IS NULL
           ORDER BY p.code
           LIMIT 200) AS n
    LEFT JOIN (SELECT o.plan_id,
                      JSON_ARRAYAGG(JSON_OBJECT('code', o.code, 'name', o.name, 'unit', o.unit, 'scale', o.scale, 'windowInterval', o.window_interval,
                        'grantKind', o.grant_kind, 'amount', o.amount, 'effectivePolicy', o.effective_policy, 'durationPolicy', o.duration_policy,
                        'durationDays', o.duration_days)) AS entitlements
                 FROM (SELECT t.plan_id, d.code, d.name, d.unit, d.scale, d.window_interval, t.grant_kind, t.amount, t.effective_policy, t.duration_policy,
                              t.duration_days
                         FROM billing_plan_entitlement_templates AS t
                         JOIN billing_entitlement_definitions AS d ON d.id = t.definition_id
                        ORDER BY t.plan_id, d.code, t.grant_kind
                        LIMIT 100000) AS o
                GROUP BY o.plan_id) AS g ON g.plan_id = n.id
   ORDER BY n.code;
END
