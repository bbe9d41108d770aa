-- operator_grants_v1: returns a subject's grants that are not over, in burn order, with what is left of each.
--
-- Called by    people; the console.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_subject_id  billable entity
-- Results      a row per grant, by code: code, grant_id, grant_kind, grant_state, priority, effective_at, ends_at, amount, given_amount, remaining_amount (null for grants
--              that renew: they give as one). Use since the balance's last settlement is not shared out yet.
-- Errors       none.
-- Cost         the subject's grants that are not over.
CREATE PROCEDURE operator_grants_v1(
  IN p_subject_id BIGINT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns what is left of grants'
BEGIN
  SELECT d.code, g.grant_id, r.grant_kind, g.grant_state, g.priority, g.effective_at, g.ends_at, g.amount, g.given_amount,
         IF(g.is_allotment, NULL, g.amount - g.given_amount) AS remaining_amount
    FROM billing_entitlement_grant_balances AS g FORCE INDEX (ix_grant_balances_state)
    JOIN billing_entitlement_grants AS r ON r.id = g.grant_id
    JOIN billing_entitlement_definitions AS d ON d.id = g.definition_id
   WHERE g.subject_id = p_subject_id AND g.grant_state IN ('pending', 'active')
   ORDER BY d.code, NOT g.is_allotment, g.priority, g.expires_at IS NULL, g.expires_at, g.effective_at, g.grant_id;
END
