-- billing_find_purchase_in_tx_v1: finds the purchase that has one of these ids, and waits for one that is being made.
--
-- Called by    billing_confirm_purchase_in_tx_v1, billing_apply_refund_in_tx_v1, billing_apply_invoice_payment_in_tx_v1.
-- Transaction  needs the caller's.
-- Locks        the rows of these ids, shared.
-- Idempotency  reads only.
-- Parameters   p_provider     stripe
--              p_references   JSON array of ids: invoice, payment intent, charge, checkout session
--              p_purchase_id  out: null: there is none
--              p_subject_id   out: whose it is
-- Results      none.
-- Errors       EVENT_NOT_APPLIED: they are of two purchases.
-- Cost         two rows for each id.
CREATE PROCEDURE billing_find_purchase_in_tx_v1(
  IN  p_provider    VARCHAR(32),
  IN  p_references  JSON,
  OUT p_purchase_id BIGINT UNSIGNED,
  OUT p_subject_id  BIGINT UNSIGNED
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Finds the purchase that has one of these ids'
BEGIN
  DECLARE v_purchases INT UNSIGNED;

  SET p_purchase_id = NULL, p_subject_id = NULL;
  -- An id that is another one's name leads there.
  SELECT COUNT(DISTINCT COALESCE(r.purchase_id, s.purchase_id)), MIN(COALESCE(r.purchase_id, s.purchase_id))
    INTO v_purchases, p_purchase_id
    FROM JSON_TABLE(p_references, '$[*]' COLUMNS (reference_id VARCHAR(255) PATH '$')) AS j
    STRAIGHT_JOIN billing_purchase_references AS r FORCE INDEX (PRIMARY)
       ON r.provider = CONVERT(p_provider USING ascii) AND r.reference_id = CONVERT(j.reference_id USING ascii)
    LEFT JOIN billing_purchase_references AS s FORCE INDEX (PRIMARY) ON s.provider = r.provider AND s.reference_id = r.same_as_id
     FOR SHARE OF r, s;
  IF v_purchases > 1 THEN
    SIGNAL SQLSTATE '45902' SET MYSQL_ERRNO = 52902, MESSAGE_TEXT = 'EVENT_NOT_APPLIED: it names ids of two purchases';
  END IF;
  SELECT p.subject_id INTO p_subject_id FROM billing_purchases AS p WHERE p.id = p_purchase_id;
END
