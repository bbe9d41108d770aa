-- billing_export_catalogue_v1: returns the whole catalogue as one document, as it is at one moment.
--
-- Called by    consumable catalog export; people.
-- Transaction  owns it, to read one consistent snapshot. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   none.
-- Results      one row: catalogue (JSON), as billing_read_catalogue_in_tx_v1. Given to billing_apply_catalogue_v1 it changes nothing.
-- Errors       none.
-- Cost         the catalogue.
CREATE PROCEDURE billing_export_catalogue_v1()
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns the catalogue as one document'
BEGIN
  DECLARE v_catalogue JSON;

  SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY;
    CALL billing_read_catalogue_in_tx_v1(v_catalogue);
    COMMIT;
  END;
  SELECT v_catalogue AS catalogue;
END
