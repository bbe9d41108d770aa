-- entitlement_give_back_v1: gives back some of a capacity's resource, in one commit.
--
-- Called by    POST /api/billing/resources/{resourceCode}/release; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone: there, call entitlement_give_back_in_tx_v1.
-- Locks        as entitlement_give_back_in_tx_v1.
-- Idempotency  as entitlement_give_back_in_tx_v1.
-- Parameters   p_subject_id, p_resource_code, p_amount, p_usage_event_key  as entitlement_give_back_in_tx_v1
-- Results      the limitation as it is now, as entitlement_limitations_v1.
-- Errors       as entitlement_give_back_in_tx_v1.
-- Cost         as entitlement_give_back_in_tx_v1.
CREATE PROCEDURE entitlement_give_back_v1(
  IN p_subject_id      BIGINT UNSIGNED,
  IN p_resource_code   VARCHAR(64),
  IN p_amount          BIGINT,
  IN p_usage_event_key VARCHAR(256)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Gives back some of a resource in one commit'
BEGIN
  DECLARE v_definition_id INT UNSIGNED;
  DECLARE v_replayed BOOLEAN;
  DECLARE v_code VARCHAR(64);

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL entitlement_give_back_in_tx_v1(p_subject_id, p_resource_code, p_amount, p_usage_event_key, v_definition_id, v_replayed);
    COMMIT;
  END;
  SELECT d.code INTO v_code FROM billing_entitlement_definitions AS d WHERE d.id = v_definition_id;
  CALL entitlement_show_limitations_in_tx_v1(JSON_ARRAY(JSON_OBJECT('subjectId', p_subject_id)), v_code, UTC_TIMESTAMP(3));
END
