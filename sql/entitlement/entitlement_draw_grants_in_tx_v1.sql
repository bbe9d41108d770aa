-- entitlement_draw_grants_in_tx_v1: takes an amount from a balance's active once-grants, in burn order, and writes down what each gave.
--
-- Called by    entitlement_settle_in_tx_v1, which holds the balance row's lock.
-- Transaction  needs the caller's.
-- Locks        the balance's active grant balances.
-- Idempotency  none of its own: a settlement happens once.
-- Parameters   p_subject_id, p_definition_id  the balance
--              p_segment_no  number of the settlement that takes
--              p_amount      what to take, in smallest units, 0 or more
--              p_gave        out: what the grants had of it, p_amount at most
-- Results      none.
-- Errors       none.
-- Cost         one row read per active grant; two written per grant that gave.
--
-- Burn order is total and published (docs/domain.md, Grants): priority, then expires_at with null last, then effective_at, then id.
CREATE PROCEDURE entitlement_draw_grants_in_tx_v1(
  IN  p_subject_id    BIGINT UNSIGNED,
  IN  p_definition_id INT UNSIGNED,
  IN  p_segment_no    INT UNSIGNED,
  IN  p_amount        BIGINT,
  OUT p_gave          BIGINT
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Takes an amount from active once-grants in burn order'
BEGIN
  DECLARE v_gifts JSON;

  SELECT COALESCE(SUM(LEAST(r.rest, p_amount - r.rest_before)), 0),
         JSON_ARRAYAGG(JSON_ARRAY(r.grant_id, LEAST(r.rest, p_amount - r.rest_before)))
    INTO p_gave, v_gifts
    FROM (SELECT g.grant_id,
                 g.amount - g.given_amount AS rest,
                 COALESCE(SUM(g.amount - g.given_amount) OVER (
                   ORDER BY g.priority, g.expires_at IS NULL, g.expires_at, g.effective_at, g.grant_id
                   ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS rest_before
            FROM billing_entitlement_grant_balances AS g FORCE INDEX (ix_grant_balances_state)
           WHERE g.subject_id = p_subject_id AND g.definition_id = p_definition_id
             AND g.grant_state = 'active' AND NOT g.is_allotment
             FOR UPDATE) AS r
   WHERE r.rest > 0 AND r.rest_before < p_amount;

  IF v_gifts IS NOT NULL THEN
    INSERT INTO billing_entitlement_settlement_grants (subject_id, definition_id, segment_no, grant_id, gave_amount)
    SELECT p_subject_id, p_definition_id, p_segment_no, j.grant_id, j.gave_amount
      FROM JSON_TABLE(v_gifts, '$[*]' COLUMNS (grant_id BIGINT UNSIGNED PATH '$[0]', gave_amount BIGINT PATH '$[1]')) AS j;

    UPDATE JSON_TABLE(v_gifts, '$[*]' COLUMNS (grant_id BIGINT UNSIGNED PATH '$[0]', gave_amount BIGINT PATH '$[1]')) AS j
      STRAIGHT_JOIN billing_entitlement_grant_balances AS g FORCE INDEX (PRIMARY) ON g.grant_id = j.grant_id
       SET g.given_amount = g.given_amount + j.gave_amount;
  END IF;
END
