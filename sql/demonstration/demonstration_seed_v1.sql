-- demonstration_seed_v1: makes the demonstration: workspace acme on a plan, a product to buy, and credits to use.
--
-- Called by    consumable dev, unless --no-seed; the examples of sql/README.md and docs/operating.md.
-- Transaction  owns it. Inside an open one it refuses (error 1568) and leaves that one alone.
-- Locks        the plan row, so that two that seed at once make one demonstration; then as billing_assign_plan_in_tx_v1.
-- Idempotency  what is there already stays as it is.
-- Parameters   none.
-- Results      one row: the billable entity, as billing_show_entity_in_tx_v1.
-- Errors       none.
-- Cost         about thirty rows, once.
CREATE PROCEDURE demonstration_seed_v1()
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes the demonstration workspace acme'
BEGIN
  DECLARE v_now DATETIME(3) DEFAULT UTC_TIMESTAMP(3);
  DECLARE v_entity_id, v_assignment_id, v_grant_id BIGINT UNSIGNED;
  DECLARE v_plan_id, v_product_id INT UNSIGNED;
  DECLARE v_changed, v_replayed BOOLEAN;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    INSERT INTO billing_plans (code, name, created_at, updated_at) VALUES ('starter', 'Starter', v_now, v_now)
    ON DUPLICATE KEY UPDATE code = code;
    SELECT p.id INTO v_plan_id FROM billing_plans AS p WHERE p.code = 'starter' FOR UPDATE;
    INSERT INTO billing_plan_entitlement_templates (plan_id, definition_id, grant_kind, amount, created_at)
    SELECT v_plan_id, d.id, 'plan_base', IF(d.code = 'projects.max', 5, 100), v_now
      FROM billing_entitlement_definitions AS d
     WHERE d.code IN ('projects.max', 'annuity.calculations.monthly')
    ON DUPLICATE KEY UPDATE plan_id = VALUES(plan_id);

    INSERT INTO billing_products (code, name, created_at, updated_at) VALUES ('extra_projects_pack_2m', 'Extra projects pack, two months', v_now, v_now)
    ON DUPLICATE KEY UPDATE code = code;
    SELECT p.id INTO v_product_id FROM billing_products AS p WHERE p.code = 'extra_projects_pack_2m';
    INSERT INTO billing_product_entitlement_templates (product_id, definition_id, grant_kind, amount, duration_days, created_at)
    SELECT v_product_id, d.id, 'timeboxed_addon', IF(d.code = 'projects.max', 3, 50), 60, v_now
      FROM billing_entitlement_definitions AS d
     WHERE d.code IN ('projects.max', 'annuity.calculations.monthly')
    ON DUPLICATE KEY UPDATE product_id = VALUES(product_id);

    INSERT INTO billing_provider_prices (provider_price_id, plan_id, product_id, created_at)
    VALUES ('price_starter', v_plan_id, NULL, v_now), ('price_extra_projects_pack_2m', NULL, v_product_id, v_now)
    ON DUPLICATE KEY UPDATE provider_price_id = VALUES(provider_price_id);

    INSERT INTO workspaces (slug, name, created_at, updated_at) VALUES ('acme', 'Acme', v_now, v_now)
    ON DUPLICATE KEY UPDATE slug = slug;
    INSERT INTO billable_entities (entity_type, entity_ref, workspace_id, created_at, updated_at)
    SELECT 'workspace', 'acme', w.id, v_now, v_now FROM workspaces AS w WHERE w.slug = 'acme'
    ON DUPLICATE KEY UPDATE entity_ref = VALUES(entity_ref);
    SELECT e.id INTO v_entity_id FROM billable_entities AS e WHERE e.entity_type = 'workspace' AND e.entity_ref = 'acme';

    CALL billing_assign_plan_in_tx_v1(v_entity_id, v_plan_id, 1, NULL, NULL, NULL, NULL, 'scaffold:acme', 'consumable dev', v_assignment_id, v_changed);
    CALL entitlement_grant_in_tx_v1(v_entity_id, 'ai.credits', 1000, 'promo', NULL, NULL, NULL, 'operator', NULL, NULL,
      'operator:scaffold:acme:ai.credits', 'Demonstration', 'consumable dev', v_grant_id, v_replayed);
    COMMIT;
  END;
  CALL billing_show_entity_in_tx_v1(v_entity_id, FALSE);
END
