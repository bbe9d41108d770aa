-- billing_list_purchases_v1: returns a page of purchases, newest first.
--
-- Called by    the console's GET purchases; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_subject_id  whose; null: everybody's
--              p_before_id   only purchases before this one; null: from the newest
--              p_limit       purchases at most, 1 to 1,000
-- Results      as billing_show_purchases_in_tx_v1.
-- Errors       VALIDATION_FAILED.
-- Cost         the page's rows, by an index.
CREATE PROCEDURE billing_list_purchases_v1(
  IN p_subject_id BIGINT UNSIGNED,
  IN p_before_id  BIGINT UNSIGNED,
  IN p_limit      INT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Returns a page of purchases'
BEGIN
  DECLARE v_before_id BIGINT UNSIGNED DEFAULT COALESCE(p_before_id, 18446744073709551615);
  DECLARE v_page JSON;

  IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 1000 THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: limit: must be a whole number from 1 to 1000';
  END IF;
  IF p_subject_id IS NOT NULL THEN
    SELECT JSON_ARRAYAGG(t.id) INTO v_page
      FROM (SELECT p.id FROM billing_purchases AS p FORCE INDEX (ix_purchases_subject)
             WHERE p.subject_id = p_subject_id AND p.id < v_before_id ORDER BY p.id DESC LIMIT p_limit) AS t;
  ELSE
    SELECT JSON_ARRAYAGG(t.id) INTO v_page
      FROM (SELECT p.id FROM billing_purchases AS p FORCE INDEX (PRIMARY) WHERE p.id < v_before_id ORDER BY p.id DESC LIMIT p_limit) AS t;
  END IF;
  CALL billing_show_purchases_in_tx_v1(COALESCE(v_page, JSON_ARRAY()));
END
