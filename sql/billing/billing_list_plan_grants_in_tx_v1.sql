-- billing_list_plan_grants_in_tx_v1: says which grants a plan's templates make for an assignment now, of those that are not there yet.
--
-- Called by    billing_assign_plan_in_tx_v1, billing_pay_period_in_tx_v1, which hold the plan's and the subject's lock, and make the grants.
-- Transaction  reads in the caller's.
-- Locks        none of its own.
-- Idempotency  reads only. What was granted under the same key is left out, whatever the template says by now.
-- Parameters   p_assignment_id    the assignment
--              p_becomes_current  whether it becomes current by this very change: what a plan grants once, on assignment
--              p_is_paid          whether the period was paid: what a plan grants on payment
--              p_period_start_at, p_period_end_at  UTC, end excluded; the period; null: none is known
--              p_now              UTC; the caller's clock
--              p_grants           out: null, or [[code, amount, kind, effective_at, expires_at, dedupe_key, is_paid], …] by definition, then kind. An
--                                 effective_at of null is now
-- Results      none.
-- Errors       VALIDATION_FAILED: an amount times the quantity is more than can be granted.
-- Cost         the plan's templates; one look-up by key each.
--
-- The policies (docs/domain.md, Plans). while_current: once, without an end, only while the assignment is current. fixed_duration: durationDays × 24
-- hours. period_window: until the period's end. A grant of a period begins with it, or now if it has begun. What would be over already by now is
-- not granted: a period that is heard of when it has passed leaves nothing that could still be used.
CREATE PROCEDURE billing_list_plan_grants_in_tx_v1(
  IN  p_assignment_id   BIGINT UNSIGNED,
  IN  p_becomes_current BOOLEAN,
  IN  p_is_paid         BOOLEAN,
  IN  p_period_start_at DATETIME(3),
  IN  p_period_end_at   DATETIME(3),
  IN  p_now             DATETIME(3),
  OUT p_grants          JSON
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Says which grants a plan makes for an assignment'
BEGIN
  DECLARE v_most DECIMAL(30, 0);

  SELECT JSON_ARRAYAGG(JSON_ARRAY(n.code, n.amount, n.grant_kind, n.effective_at, n.expires_at, n.dedupe_key, n.is_paid)), MAX(n.amount)
    INTO p_grants, v_most
    FROM (SELECT k.definition_id, k.code, k.amount, k.grant_kind, k.effective_at, k.expires_at, k.dedupe_key, k.is_paid
            FROM (SELECT d.id AS definition_id, d.code, t.grant_kind, t.effective_policy = 'on_period_paid' AS is_paid,
                         IF(d.entitlement_type = 'state', 1, CAST(t.amount AS DECIMAL(30, 0)) * a.quantity) AS amount,
                         CASE t.duration_policy WHEN 'while_current' THEN NULL
                                                WHEN 'period_window' THEN GREATEST(p_period_start_at, p_now)
                                                ELSE GREATEST(IF(t.effective_policy = 'on_period_paid', p_period_start_at, p_now), p_now) END AS effective_at,
                         CASE t.duration_policy WHEN 'while_current' THEN NULL
                                                WHEN 'period_window' THEN p_period_end_at
                                                ELSE IF(t.effective_policy = 'on_period_paid', p_period_start_at, p_now) + INTERVAL t.duration_days DAY END AS expires_at,
                         CONCAT('assignment:', a.id, ':', p.code, ':', d.code, ':', t.grant_kind,
                                IF(t.duration_policy = 'period_window' OR (t.duration_policy = 'fixed_duration' AND t.effective_policy = 'on_period_paid'),
                                   CONCAT(':', REPLACE(LEFT(p_period_start_at, 23), ' ', 'T'), 'Z'), '')) AS dedupe_key
                    FROM billing_plan_assignments AS a
                    JOIN billing_plans AS p ON p.id = a.plan_id
                    JOIN billing_plan_entitlement_templates AS t ON t.plan_id = p.id
                    JOIN billing_entitlement_definitions AS d ON d.id = t.definition_id
                   WHERE a.id = p_assignment_id
                     AND (t.duration_policy <> 'period_window' OR p_period_start_at IS NOT NULL)
                     AND CASE WHEN t.effective_policy = 'on_period_paid' THEN p_is_paid AND (t.duration_policy <> 'while_current' OR a.status = 'current')
                              WHEN t.duration_policy = 'period_window' THEN a.status = 'current'
                              ELSE p_becomes_current END) AS k
            LEFT JOIN billing_entitlement_grants AS g ON g.dedupe_key = CONVERT(k.dedupe_key USING ascii)
           WHERE g.id IS NULL AND NOT COALESCE(k.expires_at <= p_now, FALSE)
           ORDER BY k.definition_id, k.grant_kind
           LIMIT 100000) AS n;
  IF v_most > 9007199254740991 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: quantity: what the plan grants times it is more than 9007199254740991';
  END IF;
END
