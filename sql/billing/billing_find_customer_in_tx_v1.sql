-- billing_find_customer_in_tx_v1: finds whom an event of the provider is about, takes his place in line, and remembers his customer.
--
-- Called by    billing_apply_checkout_in_tx_v1, billing_apply_invoice_in_tx_v1, billing_apply_subscription_in_tx_v1.
-- Transaction  needs the caller's.
-- Locks        as billing_lock_subject_in_tx_v1.
-- Idempotency  the same again finds the same subject.
-- Parameters   p_customer             the provider's customer; null: the event names none
--              p_client_reference_id  what the application gave a checkout session: an entity's reference; null: nothing
--              p_entity_type          of both references; null: workspace
--              p_entity_ref           an entity's reference in the metadata; null: none
--              p_subject_id           out: who has this customer, else who has the reference; null: nobody
-- Results      none.
-- Errors       EVENT_NOT_APPLIED, and as billing_lock_subject_in_tx_v1.
-- Cost         one row, and the subject's balances, read.
CREATE PROCEDURE billing_find_customer_in_tx_v1(
  IN  p_customer            VARCHAR(255),
  IN  p_client_reference_id VARCHAR(255),
  IN  p_entity_type         VARCHAR(255),
  IN  p_entity_ref          VARCHAR(255),
  OUT p_subject_id          BIGINT UNSIGNED
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Finds whom an event is about'
BEGIN
  DECLARE v_by_customer BOOLEAN;
  DECLARE v_customer VARCHAR(255);

  SET p_subject_id = NULL;
  SELECT e.id INTO p_subject_id FROM billable_entities AS e WHERE e.provider_customer_id = CONVERT(p_customer USING ascii);
  SET v_by_customer = p_subject_id IS NOT NULL;
  IF p_subject_id IS NULL THEN
    SELECT e.id INTO p_subject_id
      FROM billable_entities AS e
     WHERE e.entity_type = CONVERT(COALESCE(p_entity_type, 'workspace') USING ascii) AND e.entity_ref = CONVERT(p_client_reference_id USING ascii);
  END IF;
  IF p_subject_id IS NULL THEN
    SELECT e.id INTO p_subject_id
      FROM billable_entities AS e
     WHERE e.entity_type = CONVERT(COALESCE(p_entity_type, 'workspace') USING ascii) AND e.entity_ref = CONVERT(p_entity_ref USING ascii);
  END IF;

  IF p_subject_id IS NOT NULL THEN
    CALL billing_lock_subject_in_tx_v1(p_subject_id);
    SELECT e.provider_customer_id INTO v_customer FROM billable_entities AS e WHERE e.id = p_subject_id FOR UPDATE;
    IF v_by_customer AND NOT v_customer <=> CONVERT(p_customer USING ascii) THEN
      SIGNAL SQLSTATE '45902' SET MYSQL_ERRNO = 52902, MESSAGE_TEXT = 'EVENT_NOT_APPLIED: the customer was given to another billable entity just now';
    END IF;
    IF v_customer IS NULL AND p_customer IS NOT NULL THEN
      UPDATE billable_entities AS e SET e.provider_customer_id = p_customer, e.updated_at = UTC_TIMESTAMP(3) WHERE e.id = p_subject_id;
    END IF;
  END IF;
END
