-- entitlement_show_hold_in_tx_v1: returns one hold, and its limitation as the hold or its resolution left it.
--
-- Called by    every procedure that answers with a hold.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_hold_id   the hold; null: it was refused, and only the limitation is returned
--              p_subject_id, p_definition_id  the limitation
--              p_moment    made, resolved: as it was then, so that a replay gives the first answer; now: as it is
--              p_replayed  whether the caller's request was a replay; returned as it is
--              p_problem   why it was refused; returned as it is
--              p_requested_amount  what was asked for; over_by_amount goes by it
--              p_now       UTC; returned as generated_at
-- Results      one row: outcome (accepted, refused), replayed, problem; the hold, with status as of p_now where the moment is now; the
--              limitation, as entitlement_limitations_v1; and what a refusal tells: retry_after_seconds (null where time does not help),
--              used_amount (consumed and held), over_by_amount.
-- Errors       none.
-- Cost         one row of each of five tables.
CREATE PROCEDURE entitlement_show_hold_in_tx_v1(
  IN p_hold_id          BIGINT UNSIGNED,
  IN p_subject_id       BIGINT UNSIGNED,
  IN p_definition_id    INT UNSIGNED,
  IN p_moment           VARCHAR(8),
  IN p_replayed         BOOLEAN,
  IN p_problem          VARCHAR(128),
  IN p_requested_amount BIGINT,
  IN p_now              DATETIME(3)
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns one hold and its limitation'
BEGIN
  SELECT IF(p_problem IS NULL, 'accepted', 'refused') AS outcome, p_replayed AS replayed, p_problem AS problem, p_requested_amount AS requested_amount,
         f.subject_id, f.hold_id, f.hold_amount, f.status, f.usage_event_key, f.reason_code, f.created_at, f.expires_at, f.committed_amount, f.resolved_at,
         p_now AS generated_at,
         f.code, f.name, f.entitlement_type, f.enforcement_mode, f.unit, f.scale, f.window_interval, f.window_anchor,
         f.granted_amount, f.consumed_amount, f.held_amount, f.granted_amount - f.consumed_amount AS effective_amount,
         GREATEST(f.left_amount - f.held_amount, 0) AS available_amount,
         IF(f.entitlement_type IN ('capacity', 'metered_quota'), f.granted_amount, NULL) AS hard_limit_amount,
         f.over_limit, IF(f.over_limit AND f.enforcement_mode = 'hard_lock_resource', f.lock_label, 'none') AS lock_state,
         f.next_change_at, f.window_start_at, f.window_end_at, f.last_recomputed_at,
         (GREATEST(TIMESTAMPDIFF(MICROSECOND, p_now, IF(f.window_anchor = 'rolling', f.next_change_at, NULLIF(f.window_end_at, '9999-12-31 23:59:59.999'))), 0) + 999999)
           DIV 1000000 AS retry_after_seconds,
         f.consumed_amount + f.held_amount AS used_amount, GREATEST(p_requested_amount - f.left_amount + f.held_amount, 0) AS over_by_amount
    FROM (SELECT p_subject_id AS subject_id, h.id AS hold_id, h.amount AS hold_amount, h.usage_event_key, h.reason_code, h.created_at, h.expires_at,
                 CASE WHEN p_moment = 'made' THEN 'pending' WHEN h.status = 'pending' AND h.expires_at <= p_now THEN 'expired' ELSE h.status END AS status,
                 IF(p_moment = 'made', NULL, r.amount) AS committed_amount, IF(p_moment = 'made', NULL, r.resolved_at) AS resolved_at,
                 d.code, d.name, d.entitlement_type, d.enforcement_mode, d.unit, d.scale, d.window_interval, d.window_anchor, d.lock_label,
                 COALESCE(s.granted_amount, b.granted_amount, 0) AS granted_amount,
                 COALESCE(CASE p_moment WHEN 'made' THEN h.consumed_after WHEN 'resolved' THEN r.consumed_after END, b.consumed_amount, 0) AS consumed_amount,
                 COALESCE(CASE p_moment WHEN 'made' THEN h.left_after WHEN 'resolved' THEN r.left_after END, b.left_amount, 0) AS left_amount,
                 COALESCE(CASE p_moment WHEN 'made' THEN h.held_after WHEN 'resolved' THEN r.held_after END, b.held_amount, 0) AS held_amount,
                 COALESCE(CASE p_moment WHEN 'made' THEN h.left_after WHEN 'resolved' THEN r.left_after END < 0
                          OR s.allotment_given_amount > s.allotment_amount, b.over_limit, FALSE) AS over_limit,
                 IF(s.segment_no IS NULL, b.next_change_at, IF(p_moment = 'made', h.next_change_at, r.next_change_at)) AS next_change_at,
                 COALESCE(s.window_start_at, b.window_start_at) AS window_start_at, COALESCE(s.window_end_at, b.window_end_at) AS window_end_at,
                 COALESCE(s.settled_at, b.settled_at) AS last_recomputed_at
            FROM billing_entitlement_definitions AS d
            LEFT JOIN billing_entitlement_balances AS b ON b.subject_id = p_subject_id AND b.definition_id = d.id AND b.history_no = 0
            LEFT JOIN billing_entitlement_holds AS h ON h.id = p_hold_id
            LEFT JOIN billing_entitlement_hold_resolutions AS r ON r.hold_id = h.id
            LEFT JOIN billing_entitlement_settlements AS s
              ON s.subject_id = p_subject_id AND s.definition_id = d.id
             AND s.segment_no = CASE p_moment WHEN 'made' THEN h.segment_no WHEN 'resolved' THEN r.segment_no END
           WHERE d.id = p_definition_id) AS f;
END
