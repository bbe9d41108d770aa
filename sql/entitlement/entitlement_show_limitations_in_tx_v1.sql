-- entitlement_show_limitations_in_tx_v1: returns limitations of subjects as their balances say them. Settles nothing.
--
-- Called by    entitlement_limitations_v1, entitlement_limitations_batch_v1, and every procedure that answers with limitations, after it has settled them.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_requests  JSON array of {"subjectId": 7, "heldOnly": true}; heldOnly: only definitions that were ever granted to the subject or used
--                          by it; not said: all
--              p_code      one definition, also an inactive one; null: every active one
--              p_now       UTC; returned as generated_at
-- Results      a row per request and definition, by request_no (from 1) and code; none of a subject that is not there. Zeros, and no window, where nothing
--              was ever granted. hard_limit_amount for capacity and metered_quota; lock_state is 'none', or the definition's label while a resource is over
--              its limit or a state is off; is_due: the clock has changed it, and it was not settled.
-- Errors       none.
-- Cost         per request the subject, and one row per definition, by primary key.
CREATE PROCEDURE entitlement_show_limitations_in_tx_v1(
  IN p_requests JSON,
  IN p_code     VARCHAR(64),
  IN p_now      DATETIME(3)
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns limitations as their balances say them'
BEGIN
  SELECT r.request_no, e.id AS subject_id, p_now AS generated_at,
         d.code, d.name, d.entitlement_type, d.enforcement_mode, d.unit, d.scale, d.window_interval, d.window_anchor,
         COALESCE(b.granted_amount, 0) AS granted_amount, COALESCE(b.consumed_amount, 0) AS consumed_amount,
         COALESCE(b.held_amount, 0) AS held_amount, COALESCE(b.effective_amount, 0) AS effective_amount,
         COALESCE(b.available_amount, 0) AS available_amount,
         IF(d.entitlement_type IN ('capacity', 'metered_quota'), COALESCE(b.granted_amount, 0), NULL) AS hard_limit_amount,
         COALESCE(b.over_limit, FALSE) AS over_limit,
         IF(b.over_limit AND d.enforcement_mode = 'hard_lock_resource' OR d.entitlement_type = 'state' AND COALESCE(b.granted_amount, 0) = 0,
            d.lock_label, 'none') AS lock_state,
         b.next_change_at, b.window_start_at, b.window_end_at, b.settled_at AS last_recomputed_at, COALESCE(b.next_change_at <= p_now, FALSE) AS is_due
    FROM JSON_TABLE(p_requests, '$[*]' COLUMNS (
           request_no FOR ORDINALITY, subject_id BIGINT UNSIGNED PATH '$.subjectId', held_only BOOLEAN PATH '$.heldOnly')) AS r
    STRAIGHT_JOIN billable_entities AS e FORCE INDEX (PRIMARY) ON e.id = r.subject_id
    STRAIGHT_JOIN billing_entitlement_definitions AS d ON IF(p_code IS NULL, d.is_active, d.code = CONVERT(p_code USING ascii))
    LEFT JOIN billing_entitlement_balances AS b FORCE INDEX (PRIMARY) ON b.subject_id = e.id AND b.definition_id = d.id AND b.history_no = 0
   WHERE b.subject_id IS NOT NULL OR NOT COALESCE(r.held_only, FALSE)
   ORDER BY r.request_no, d.code;
END
