-- entitlement_limitations_batch_v1: says what each of several subjects may use now, as far as nothing of it is due.
--
-- Called by    the gateway, for all who ask at the same time: a call costs much more than a subject in it; people.
-- Transaction  none.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_requests  JSON array, 1 to 100 of {"subjectId": 7, "heldOnly": true}; heldOnly: only definitions that were ever granted to the subject or
--                          used by it; not said: every active one
-- Results      a row per request whose subject is there: request_no (from 1), and the entity as billing_show_entity_in_tx_v1; then as
--              entitlement_show_limitations_in_tx_v1. Of a request with a row that is_due nothing is to be told: what entitlement_limitations_v1 says
--              counts, which settles first. So a subject that cannot be settled stands in nobody's way.
-- Errors       VALIDATION_FAILED.
-- Cost         per request the subject, its current balances and the definitions, by primary key.
CREATE PROCEDURE entitlement_limitations_batch_v1(
  IN p_requests JSON
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Says what several subjects may use now'
BEGIN
  DECLARE v_now DATETIME(3) DEFAULT UTC_TIMESTAMP(3);

  IF COALESCE(JSON_TYPE(p_requests) <> 'ARRAY' OR JSON_LENGTH(p_requests) NOT BETWEEN 1 AND 100, TRUE) THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: requests: must be an array of 1 to 100 requests';
  END IF;
  SELECT r.request_no, e.id, e.entity_type, e.entity_ref, e.workspace_id, w.slug AS workspace_slug, w.name AS workspace_name, e.owner_user_id,
         e.provider_customer_id, e.status, e.created_at, e.updated_at, FALSE AS made
    FROM JSON_TABLE(p_requests, '$[*]' COLUMNS (request_no FOR ORDINALITY, subject_id BIGINT UNSIGNED PATH '$.subjectId')) AS r
    STRAIGHT_JOIN billable_entities AS e FORCE INDEX (PRIMARY) ON e.id = r.subject_id
    LEFT JOIN workspaces AS w ON w.id = e.workspace_id
   ORDER BY r.request_no;
  CALL entitlement_show_limitations_in_tx_v1(p_requests, NULL, v_now);
END
