-- entitlement_consume_v1: decides requests to use something, and books those that fit, in one commit.
--
-- Called by    the gateway; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone: there, call entitlement_consume_in_tx_v1.
-- Locks        as entitlement_consume_in_tx_v1.
-- Idempotency  as entitlement_consume_in_tx_v1.
-- Parameters   p_requests  as entitlement_consume_in_tx_v1
-- Results      as entitlement_consume_in_tx_v1. A refused request leaves nothing; the others of the call stay.
-- Errors       as entitlement_consume_in_tx_v1.
-- Cost         as entitlement_consume_in_tx_v1.
CREATE PROCEDURE entitlement_consume_v1(
  IN p_requests JSON
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Decides and books uses in one commit'
BEGIN
  DECLARE v_not_accepted INT UNSIGNED;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL entitlement_consume_in_tx_v1(p_requests, v_not_accepted);
    COMMIT;
  END;
END
