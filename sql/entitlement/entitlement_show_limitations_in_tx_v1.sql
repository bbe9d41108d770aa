-- entitlement_show_limitations_in_tx_v1: returns a subject's limitations as their balances say them. Settles nothing.
--
-- Called by    entitlement_limitations_v1 and every procedure that answers with limitations, after it has settled them.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_subject_id  billable entity
--              p_code        one definition, also an inactive one; null: every active one
--              p_held_only   only definitions that were ever granted to the subject or used by it
--              p_now         UTC; returned as generated_at
-- Results      a row per definition, by code. Zeros, and no window, where nothing was ever granted. hard_limit_amount for capacity and
--              metered_quota; lock_state is 'none', or the definition's label while a resource is over its limit or a state is off.
-- Errors       none.
-- Cost         one row per definition, by primary key.
CREATE PROCEDURE entitlement_show_limitations_in_tx_v1(
  IN p_subject_id BIGINT UNSIGNED,
  IN p_code       VARCHAR(64),
  IN p_held_only  BOOLEAN,
  IN p_now        DATETIME(3)
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns limitations as their balances say them'
BEGIN
  SELECT p_subject_id AS subject_id, p_now AS generated_at,
         d.code, d.name, d.entitlement_type, d.enforcement_mode, d.unit, d.scale, d.window_interval, d.window_anchor,
         COALESCE(b.granted_amount, 0) AS granted_amount, COALESCE(b.consumed_amount, 0) AS consumed_amount,
         COALESCE(b.held_amount, 0) AS held_amount, COALESCE(b.effective_amount, 0) AS effective_amount,
         COALESCE(b.available_amount, 0) AS available_amount,
         IF(d.entitlement_type IN ('capacity', 'metered_quota'), COALESCE(b.granted_amount, 0), NULL) AS hard_limit_amount,
         COALESCE(b.over_limit, FALSE) AS over_limit,
         IF(b.over_limit AND d.enforcement_mode = 'hard_lock_resource' OR d.entitlement_type = 'state' AND COALESCE(b.granted_amount, 0) = 0,
            d.lock_label, 'none') AS lock_state,
         b.next_change_at, b.window_start_at, b.window_end_at, b.settled_at AS last_recomputed_at
    FROM billing_entitlement_definitions AS d
    LEFT JOIN billing_entitlement_balances AS b ON b.subject_id = p_subject_id AND b.definition_id = d.id AND b.history_no = 0
   WHERE IF(p_code IS NULL, d.is_active, d.code = CONVERT(p_code USING ascii))
     AND (b.subject_id IS NOT NULL OR NOT p_held_only)
   ORDER BY d.code;
END
