-- entitlement_verify_v1: compares every projected number with the ledger. No rows is the proof.
--
-- Called by    consumable verify; people; every test of concurrency and of faults.
-- Transaction  owns it: one consistent snapshot, read only. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        none: no writer waits for it.
-- Idempotency  reads only.
-- Parameters   p_subject_id  one billable entity; null: all
-- Results      a row per difference, as entitlement_verify_range_in_tx_v1, which says what is compared.
-- Errors       none.
-- Cost         every use, grant, settlement and hold of the subjects, once.
CREATE PROCEDURE entitlement_verify_v1(
  IN p_subject_id BIGINT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Compares every projected number with the ledger'
BEGIN
  SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY;
    CALL entitlement_verify_range_in_tx_v1(COALESCE(p_subject_id, 0), COALESCE(p_subject_id, 18446744073709551615));
    COMMIT;
  END;
END
