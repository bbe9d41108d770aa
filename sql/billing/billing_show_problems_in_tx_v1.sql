-- billing_show_problems_in_tx_v1: returns all that is wrong with what an operator wants to save.
--
-- Called by    every procedure of the catalogue that writes.
-- Transaction  reads in the caller's, or in none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_problems  null: nothing; else an array of [path, text, code of sql/errors.csv]
-- Results      a row per problem, at most 100: code, path, problem. The code of the first row is the code of all: VALIDATION_FAILED, where there is one.
-- Errors       none.
-- Cost         the rows that it returns.
CREATE PROCEDURE billing_show_problems_in_tx_v1(
  IN p_problems JSON
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns what is wrong with an edit'
BEGIN
  SELECT j.code, j.path, j.problem
    FROM JSON_TABLE(COALESCE(p_problems, JSON_ARRAY()), '$[*]' COLUMNS (
           place FOR ORDINALITY, path VARCHAR(255) PATH '$[0]', problem VARCHAR(255) PATH '$[1]', code VARCHAR(64) PATH '$[2]')) AS j
   ORDER BY j.code <> 'VALIDATION_FAILED', j.place
   LIMIT 100;
END
