-- entitlement_release_hold_v1: gives back all that a hold set aside, in one commit.
--
-- Called by    POST /api/billing/holds/{id}/release; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone: there, call entitlement_resolve_hold_in_tx_v1.
-- Locks        as entitlement_resolve_hold_in_tx_v1.
-- Idempotency  as entitlement_resolve_hold_in_tx_v1.
-- Parameters   p_hold_id  the hold
-- Results      one row, as entitlement_show_hold_in_tx_v1.
-- Errors       as entitlement_resolve_hold_in_tx_v1.
-- Cost         as entitlement_resolve_hold_in_tx_v1.
CREATE PROCEDURE entitlement_release_hold_v1(
  IN p_hold_id BIGINT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Gives back a hold in one commit'
BEGIN
  DECLARE v_subject_id BIGINT UNSIGNED;
  DECLARE v_definition_id INT UNSIGNED;
  DECLARE v_replayed BOOLEAN;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL entitlement_resolve_hold_in_tx_v1(p_hold_id, 'released', NULL, v_replayed);
    COMMIT;
  END;
  SELECT h.subject_id, h.definition_id INTO v_subject_id, v_definition_id FROM billing_entitlement_holds AS h WHERE h.id = p_hold_id;
  CALL entitlement_show_hold_in_tx_v1(p_hold_id, v_subject_id, v_definition_id, 'resolved', v_replayed, NULL, 0, UTC_TIMESTAMP(3));
END
