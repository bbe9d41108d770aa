-- Ends the bootstrap with the first row that is wrong, if there is one. What names the row stands in front, so that only the end is ever cut off.
DROP PROCEDURE IF EXISTS bootstrap_stop_on;
CREATE PROCEDURE bootstrap_stop_on(
  IN p_problem VARCHAR(1000)
)
  NO SQL
  SQL SECURITY DEFINER
  COMMENT 'Ends the bootstrap if there is a problem'
BEGIN
  DECLARE v_text VARCHAR(128) DEFAULT LEFT(p_problem, 127);
  IF p_problem IS NOT NULL THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = v_text;
  END IF;
END
