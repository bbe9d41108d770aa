-- entitlement_show_grant_in_tx_v1: returns one grant, with what is left of it.
--
-- Called by    every procedure that answers with a grant.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_grant_id  the grant
--              p_replayed  whether the caller's request was a replay; returned as it is
-- Results      one row. given_amount is what the grant gave up to the last settlement of its balance; remaining_amount is null for
--              grants that renew, as they give together.
-- Errors       none; no row where there is no such grant.
-- Cost         one row of each of four tables.
CREATE PROCEDURE entitlement_show_grant_in_tx_v1(
  IN p_grant_id BIGINT UNSIGNED,
  IN p_replayed BOOLEAN
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns one grant'
BEGIN
  SELECT g.id, g.subject_id, d.code, g.grant_kind, g.amount, g.priority, g.effective_at, g.expires_at, r.revoked_at, gb.grant_state,
         gb.given_amount, IF(gb.is_allotment, NULL, IF(gb.grant_state = 'ended', 0, gb.amount - gb.given_amount)) AS remaining_amount,
         g.source, g.plan_assignment_id, g.purchase_id, g.reason, g.created_by, g.created_at, p_replayed AS replayed
    FROM billing_entitlement_grants AS g
    JOIN billing_entitlement_definitions AS d ON d.id = g.definition_id
    JOIN billing_entitlement_grant_balances AS gb ON gb.grant_id = g.id
    LEFT JOIN billing_entitlement_revocations AS r ON r.grant_id = g.id
   WHERE g.id = p_grant_id;
END
