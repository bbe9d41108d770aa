-- entitlement_hold_v1: sets an amount aside for a while, in one commit.
--
-- Called by    POST /api/billing/holds; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone: there, call entitlement_hold_in_tx_v1.
-- Locks        as entitlement_hold_in_tx_v1.
-- Idempotency  as entitlement_hold_in_tx_v1.
-- Parameters   p_subject_id, p_capability, p_code, p_amount, p_ttl_seconds, p_usage_event_key, p_reason_code, p_metadata  as
--              entitlement_hold_in_tx_v1
-- Results      one row, as entitlement_show_hold_in_tx_v1.
-- Errors       as entitlement_hold_in_tx_v1. A refusal for want of room is the outcome, not an error.
-- Cost         as entitlement_hold_in_tx_v1.
CREATE PROCEDURE entitlement_hold_v1(
  IN p_subject_id      BIGINT UNSIGNED,
  IN p_capability      VARCHAR(64),
  IN p_code            VARCHAR(64),
  IN p_amount          BIGINT,
  IN p_ttl_seconds     INT,
  IN p_usage_event_key VARCHAR(256),
  IN p_reason_code     VARCHAR(128),
  IN p_metadata        JSON
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Sets an amount aside in one commit'
BEGIN
  DECLARE v_definition_id INT UNSIGNED;
  DECLARE v_hold_id BIGINT UNSIGNED;
  DECLARE v_replayed BOOLEAN;
  DECLARE v_problem VARCHAR(128);

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL entitlement_hold_in_tx_v1(p_subject_id, p_capability, p_code, p_amount, p_ttl_seconds, p_usage_event_key, p_reason_code, p_metadata,
                                   v_definition_id, v_hold_id, v_replayed, v_problem);
    COMMIT;
  END;
  CALL entitlement_show_hold_in_tx_v1(v_hold_id, p_subject_id, v_definition_id, 'made', v_replayed, v_problem, p_amount, UTC_TIMESTAMP(3));
END
