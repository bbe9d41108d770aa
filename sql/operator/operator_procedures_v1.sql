-- operator_procedures_v1: returns which procedures are installed, of which release, since when and by whom.
--
-- Called by    people; the console.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   none.
-- Results      a row per procedure, by name: routine, release_version, content_sha256, installed_at, installed_by. What was edited by hand since then is found by
--              consumable migrate --check.
-- Errors       none.
-- Cost         the registry.
CREATE PROCEDURE operator_procedures_v1()
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns the installed procedures'
BEGIN
  SELECT r.routine, r.release_version, r.content_sha256, r.installed_at, r.installed_by
    FROM consumable_routines AS r
   ORDER BY r.routine;
END
