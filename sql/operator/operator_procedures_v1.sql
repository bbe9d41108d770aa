-- operator_procedures_v1: returns which procedures are installed, of which release, since when and by whom.
--
-- Called by    people; the console.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   none.
-- Results      a row per procedure, by name: routine, release_version, content_sha256, installed_at, installed_by; is_edited, whether the server has it
--              in another form than it was installed in, or as somebody else's: the owner of the procedures sees what is in all that are his. What else differs
--              from a release is found by consumable migrate --check.
-- Errors       none.
-- Cost         the registry, and what the server keeps of each procedure and its parameters.
CREATE PROCEDURE operator_procedures_v1()
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns the installed procedures'
BEGIN
  -- The digest is of the same parts, in the same order, as the deployment records.
  SELECT r.routine, r.release_version, r.content_sha256, r.installed_at, r.installed_by,
         COALESCE(i.ROUTINE_NAME IS NOT NULL AND r.server_sha256 IS NOT NULL
                  AND NOT r.server_sha256 <=> IF(i.ROUTINE_DEFINITION IS NULL, NULL, SHA2(CONCAT_WS('\n',
                        i.ROUTINE_DEFINITION, i.DEFINER, i.SECURITY_TYPE, i.SQL_DATA_ACCESS, i.SQL_MODE, i.ROUTINE_COMMENT,
                        i.CHARACTER_SET_CLIENT, i.COLLATION_CONNECTION, i.DATABASE_COLLATION, p.parameters), 256)), FALSE) AS is_edited
    FROM consumable_routines AS r
    LEFT JOIN information_schema.ROUTINES AS i
      ON i.ROUTINE_SCHEMA = DATABASE() AND i.ROUTINE_TYPE = 'PROCEDURE' AND i.ROUTINE_NAME = CONVERT(r.routine USING utf8mb3)
    LEFT JOIN (SELECT a.SPECIFIC_NAME AS routine,
                      GROUP_CONCAT(a.PARAMETER_MODE, ' ', a.PARAMETER_NAME, ' ', a.DTD_IDENTIFIER, ' ', COALESCE(a.COLLATION_NAME, '') ORDER BY a.ORDINAL_POSITION)
                        AS parameters
                 FROM information_schema.PARAMETERS AS a
                WHERE a.SPECIFIC_SCHEMA = DATABASE()
                GROUP BY a.SPECIFIC_NAME) AS p ON p.routine = i.SPECIFIC_NAME
   ORDER BY r.routine;
END
