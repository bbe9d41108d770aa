-- The bootstrap: templates, grants and balances from data that came from elsewhere, in one transaction. On an empty database there is nothing to do.
DROP PROCEDURE IF EXISTS bootstrap_run;
CREATE PROCEDURE bootstrap_run()
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Bootstraps data that came from elsewhere'
BEGIN
  DECLARE v_columns INT UNSIGNED;
  DECLARE v_rows BIGINT UNSIGNED;
  DECLARE v_now DATETIME(3);

  -- refinery opens a transaction around each file.
  COMMIT;
  SELECT COUNT(*) INTO v_columns
    FROM information_schema.COLUMNS AS c
   WHERE c.TABLE_SCHEMA = DATABASE()
     AND ((c.TABLE_NAME = 'billing_plans' AND c.COLUMN_NAME = 'entitlements') OR (c.TABLE_NAME = 'billing_products' AND c.COLUMN_NAME = 'metadata_json'));
  -- Where they are gone, they have been read.
  IF v_columns = 2 THEN
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
    BEGIN
      DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
      START TRANSACTION;
      -- Nobody loads more while it reads: what was checked is what is granted from.
      SELECT COUNT(*) INTO v_rows FROM billing_plans AS p FOR SHARE;
      SELECT COUNT(*) INTO v_rows FROM billing_products AS q FOR SHARE;
      SELECT COUNT(*) INTO v_rows FROM billing_bootstrap_entitlements AS b FOR SHARE;
      SELECT COUNT(*) INTO v_rows FROM billable_entities AS e FOR UPDATE;
      SELECT COUNT(*) INTO v_rows FROM billing_plan_assignments AS a FOR SHARE;
      SELECT COUNT(*) INTO v_rows FROM billing_purchases AS u FOR SHARE;
      SELECT COUNT(*) INTO v_rows FROM billing_purchase_lines AS l FOR SHARE;
      SET v_now = UTC_TIMESTAMP(3);
      CALL bootstrap_check_references();
      CALL bootstrap_read_entries();
      CALL bootstrap_write_templates(v_now);
      CALL bootstrap_write_grants(v_now);
      COMMIT;
    END;
    DROP TEMPORARY TABLE bootstrap_sets;
    DROP TEMPORARY TABLE bootstrap_entries;
    DROP TEMPORARY TABLE bootstrap_grants;
  END IF;
END
