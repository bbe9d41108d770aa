-- billing_confirm_purchase_v1: books by hand a payment that no event told of, and grants what its products promise, in one commit.
--
-- Called by    people. No route leads here: over HTTP only a signed event makes a purchase.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone: there, call billing_confirm_purchase_in_tx_v1.
-- Locks        as billing_confirm_purchase_in_tx_v1.
-- Idempotency  provider and payment: the same again grants nothing again.
-- Parameters   p_subject_id           who bought
--              p_provider             stripe
--              p_provider_payment_id  the provider's id of the invoice, else of the payment
--              p_currency             ISO 4217, lower case
--              p_paid_minor_units     money, in the currency's smallest unit, 0 or more
--              p_lines                JSON array of {lineNo, priceId, quantity}; plans among them are assigned by billing_assign_plan_v1
--              p_purchased_at         UTC; null: now
--              p_created_by           who; null: the database user
-- Results      as billing_show_purchases_in_tx_v1.
-- Errors       as billing_confirm_purchase_in_tx_v1 and billing_take_back_in_tx_v1.
-- Cost         as billing_confirm_purchase_in_tx_v1.
CREATE PROCEDURE billing_confirm_purchase_v1(
  IN p_subject_id          BIGINT UNSIGNED,
  IN p_provider            VARCHAR(32),
  IN p_provider_payment_id VARCHAR(255),
  IN p_currency            VARCHAR(3),
  IN p_paid_minor_units    BIGINT,
  IN p_lines               JSON,
  IN p_purchased_at        DATETIME(3),
  IN p_created_by          VARCHAR(128)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Books a payment by hand'
BEGIN
  DECLARE v_created_by VARCHAR(128) DEFAULT COALESCE(p_created_by, USER());
  DECLARE v_purchase_id BIGINT UNSIGNED;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    CALL billing_confirm_purchase_in_tx_v1(p_subject_id, p_provider, JSON_ARRAY(p_provider_payment_id), NULL, p_currency, p_paid_minor_units, p_lines,
                                           NULL, NULL, p_purchased_at, v_created_by, v_purchase_id);
    CALL billing_take_back_in_tx_v1(v_purchase_id, v_created_by);
    COMMIT;
  END;
  CALL billing_show_purchases_in_tx_v1(JSON_ARRAY(v_purchase_id));
END
