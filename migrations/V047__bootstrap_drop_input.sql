-- Takes away what the bootstrap read. Each as far as it is still there: a run that was killed between two of them runs again.
DROP PROCEDURE IF EXISTS bootstrap_drop_input;
CREATE PROCEDURE bootstrap_drop_input()
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Takes away what the bootstrap read'
BEGIN
  DECLARE v_columns INT UNSIGNED;

  SELECT COUNT(*) INTO v_columns
    FROM information_schema.COLUMNS AS c
   WHERE c.TABLE_SCHEMA = DATABASE() AND c.TABLE_NAME = 'billing_plans' AND c.COLUMN_NAME = 'entitlements';
  IF v_columns > 0 THEN
    ALTER TABLE billing_plans DROP COLUMN entitlements;
  END IF;
  SELECT COUNT(*) INTO v_columns
    FROM information_schema.COLUMNS AS c
   WHERE c.TABLE_SCHEMA = DATABASE() AND c.TABLE_NAME = 'billing_products' AND c.COLUMN_NAME = 'metadata_json';
  IF v_columns > 0 THEN
    ALTER TABLE billing_products DROP COLUMN metadata_json;
  END IF;
  DROP TABLE IF EXISTS billing_bootstrap_entitlements;
END
