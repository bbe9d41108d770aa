-- entitlement_recount_v1: writes how many of a resource a subject has, by an absolute recount, in one commit.
--
-- Called by    PUT /api/billing/resources/{resourceCode}; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone: there, call entitlement_set_count_in_tx_v1.
-- Locks        as entitlement_set_count_in_tx_v1.
-- Idempotency  absolute: the same count again writes nothing.
-- Parameters   p_subject_id     billable entity
--              p_resource_code  the resource
--              p_count          0 to 2^53-1
-- Results      the limitation, as entitlement_limitations_v1.
-- Errors       as entitlement_set_count_in_tx_v1.
-- Cost         as entitlement_set_count_in_tx_v1.
CREATE PROCEDURE entitlement_recount_v1(
  IN p_subject_id    BIGINT UNSIGNED,
  IN p_resource_code VARCHAR(64),
  IN p_count         BIGINT
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Writes the count of a resource in one commit'
BEGIN
  DECLARE v_definition_id INT UNSIGNED;
  DECLARE v_code VARCHAR(64);

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL entitlement_set_count_in_tx_v1(p_subject_id, p_resource_code, p_count, 'repair_recount', v_definition_id);
    COMMIT;
  END;
  SELECT d.code INTO v_code FROM billing_entitlement_definitions AS d WHERE d.id = v_definition_id;
  CALL entitlement_show_limitations_in_tx_v1(JSON_ARRAY(JSON_OBJECT('subjectId', p_subject_id)), v_code, UTC_TIMESTAMP(3));
END
