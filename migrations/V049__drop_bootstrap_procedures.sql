-- The bootstrap's procedures have done their work.
DROP PROCEDURE IF EXISTS bootstrap_run;
DROP PROCEDURE IF EXISTS bootstrap_check_references;
DROP PROCEDURE IF EXISTS bootstrap_read_entries;
DROP PROCEDURE IF EXISTS bootstrap_write_templates;
DROP PROCEDURE IF EXISTS bootstrap_write_grants;
DROP PROCEDURE IF EXISTS bootstrap_drop_input;
DROP PROCEDURE IF EXISTS bootstrap_stop_on;
