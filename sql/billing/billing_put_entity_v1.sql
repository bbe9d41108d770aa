-- billing_put_entity_v1: makes a billable entity, once, and keeps what is known of it up to date.
--
-- Called by    PUT /api/billing/entities/{entityType}/{entityRef}; people.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        the workspace row, if one is named; then the entity row.
-- Idempotency  the type and the reference are the entity's name: the same again is the same entity.
-- Parameters   p_entity_type           1 to 32 of a-z, 0-9 and _, a letter first
--              p_entity_ref            1 to 128 visible ASCII characters
--              p_workspace_slug        null: leave as it is; else made if there is none: 1 to 64 of a-z, 0-9 and -
--              p_workspace_name        null: leave as it is, or the slug for a new workspace; up to 160 characters
--              p_owner_user_id         null: leave as it is; up to 128 characters
--              p_provider_customer_id  null: leave as it is; up to 255 visible ASCII characters, of one entity only
-- Results      one row: the entity, and made (whether it was made by this call).
-- Errors       VALIDATION_FAILED, PROVIDER_CUSTOMER_TAKEN.
-- Cost         two rows.
CREATE PROCEDURE billing_put_entity_v1(
  IN p_entity_type          VARCHAR(32),
  IN p_entity_ref           VARCHAR(128),
  IN p_workspace_slug       VARCHAR(64),
  IN p_workspace_name       VARCHAR(160),
  IN p_owner_user_id        VARCHAR(128),
  IN p_provider_customer_id VARCHAR(255)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes a billable entity once and keeps it up to date'
BEGIN
  DECLARE v_now DATETIME(3) DEFAULT UTC_TIMESTAMP(3);
  DECLARE v_workspace_id, v_entity_id, v_customers_entity_id BIGINT UNSIGNED;
  DECLARE v_made BOOLEAN;

  IF p_entity_type IS NULL OR NOT REGEXP_LIKE(p_entity_type, '^[a-z][a-z0-9_]{0,31}\\z', 'c') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: entityType: must be 1 to 32 of a-z, 0-9 and _, a letter first';
  END IF;
  IF p_entity_ref IS NULL OR NOT REGEXP_LIKE(p_entity_ref, '^[!-~]{1,128}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: entityRef: must be 1 to 128 visible ASCII characters';
  END IF;
  IF NOT REGEXP_LIKE(p_workspace_slug, '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?\\z', 'c') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: workspaceSlug: must be 1 to 64 of a-z, 0-9 and -, no - at its ends';
  END IF;
  IF NOT REGEXP_LIKE(p_provider_customer_id, '^[!-~]{1,255}\\z') THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: providerCustomerId: must be 1 to 255 visible ASCII characters';
  END IF;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    IF p_workspace_slug IS NOT NULL THEN
      INSERT INTO workspaces (slug, name, created_at, updated_at)
      VALUES (p_workspace_slug, COALESCE(p_workspace_name, p_workspace_slug), v_now, v_now)
      ON DUPLICATE KEY UPDATE updated_at = IF(p_workspace_name <> name, v_now, updated_at), name = COALESCE(p_workspace_name, name);
      SELECT w.id INTO v_workspace_id FROM workspaces AS w WHERE w.slug = CONVERT(p_workspace_slug USING ascii) FOR UPDATE;
    END IF;

    SELECT e.id INTO v_customers_entity_id
      FROM billable_entities AS e
     WHERE e.provider_customer_id = CONVERT(p_provider_customer_id USING ascii)
       AND NOT (e.entity_type = CONVERT(p_entity_type USING ascii) AND e.entity_ref = CONVERT(p_entity_ref USING ascii))
       FOR SHARE;
    IF v_customers_entity_id IS NOT NULL THEN
      SIGNAL SQLSTATE '45203' SET MYSQL_ERRNO = 52203, MESSAGE_TEXT = 'PROVIDER_CUSTOMER_TAKEN: another billable entity has this customer';
    END IF;

    INSERT INTO billable_entities (entity_type, entity_ref, workspace_id, owner_user_id, provider_customer_id, created_at, updated_at)
    VALUES (p_entity_type, p_entity_ref, v_workspace_id, p_owner_user_id, p_provider_customer_id, v_now, v_now)
    ON DUPLICATE KEY UPDATE
      updated_at = IF(COALESCE(v_workspace_id, workspace_id) <=> workspace_id AND COALESCE(p_owner_user_id, owner_user_id) <=> owner_user_id
                      AND COALESCE(p_provider_customer_id, provider_customer_id) <=> provider_customer_id, updated_at, v_now),
      workspace_id = COALESCE(v_workspace_id, workspace_id), owner_user_id = COALESCE(p_owner_user_id, owner_user_id),
      provider_customer_id = COALESCE(p_provider_customer_id, provider_customer_id);
    -- 1 row: inserted; 0 or 2: found, as it was or brought up to date.
    SET v_made = ROW_COUNT() = 1;
    SELECT e.id INTO v_entity_id
      FROM billable_entities AS e
     WHERE e.entity_type = CONVERT(p_entity_type USING ascii) AND e.entity_ref = CONVERT(p_entity_ref USING ascii);
    COMMIT;
  END;
  CALL billing_show_entity_in_tx_v1(v_entity_id, v_made);
END
