-- billing_list_ending_grants_in_tx_v1: says which grants of an assignment end with it: those that hold while it is current.
--
-- Called by    billing_assign_plan_in_tx_v1, billing_end_assignment_in_tx_v1, which hold the subject's lock, and revoke them: once to know which
--              balances to lock, and again when nobody else can revoke one.
-- Transaction  reads in the caller's.
-- Locks        none of its own.
-- Idempotency  reads only.
-- Parameters   p_assignment_id  the assignment; null: no grants
--              p_grants         out: null, or [[definition_id, grant_id], …] by definition, then id
-- Results      none.
-- Errors       none.
-- Cost         the assignment's grants.
--
-- Grants of a period and of a fixed duration have an end of their own, and were paid for: they stay. One that somebody has revoked already ends as he said.
CREATE PROCEDURE billing_list_ending_grants_in_tx_v1(
  IN  p_assignment_id BIGINT UNSIGNED,
  OUT p_grants        JSON
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Says which grants end with an assignment'
BEGIN
  SELECT JSON_ARRAYAGG(JSON_ARRAY(n.definition_id, n.id)) INTO p_grants
    FROM (SELECT g.definition_id, g.id
            FROM billing_entitlement_grants AS g FORCE INDEX (ix_grants_assignment)
            LEFT JOIN billing_entitlement_revocations AS r ON r.grant_id = g.id
           WHERE g.plan_assignment_id = p_assignment_id AND g.expires_at IS NULL AND r.grant_id IS NULL
           ORDER BY g.definition_id, g.id
           LIMIT 100000) AS n;
END
