-- billing_shape_plans_in_tx_v1: gives plans with their prices and entitlements, all of one moment.
--
-- Called by    billing_show_plans_in_tx_v1, billing_read_catalogue_in_tx_v1.
-- Transaction  reads in the caller's, or in none: it is one statement.
-- Locks        none.
-- Idempotency  reads only.
-- Parameters   p_plan_id   one plan; null: all
--              p_after_id  only plans with a greater id; null: from the first
--              p_limit     plans at most
--              p_shapes    out: array, by id, of {id, code, name, archived, archivedAt, version, providerPriceIds, entitlements, createdAt, updatedAt};
--                prices sorted, entitlements by code and grantKind, in the form that billing_read_plan_entitlements_in_tx_v1 reads
-- Results      none.
-- Errors       none.
-- Cost         the plans, with their prices and templates.
CREATE PROCEDURE billing_shape_plans_in_tx_v1(
  IN  p_plan_id  INT UNSIGNED,
  IN  p_after_id BIGINT UNSIGNED,
  IN  p_limit    INT UNSIGNED,
  OUT p_shapes   JSON
)
  READS SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Gives plans with what they grant, as JSON'
BEGIN
  SELECT COALESCE(JSON_ARRAYAGG(JSON_OBJECT(
           'id', s.id, 'code', s.code, 'name', s.name, 'archived', CAST(IF(s.archived_at IS NULL, 'false', 'true') AS JSON), 'archivedAt', s.archived_at,
           'version', s.version, 'providerPriceIds', COALESCE(g.prices, JSON_ARRAY()), 'entitlements', COALESCE(t.entitlements, JSON_ARRAY()),
           'createdAt', s.created_at, 'updatedAt', s.updated_at)), JSON_ARRAY())
    INTO p_shapes
    FROM (SELECT p.id, p.code, p.name, p.archived_at, p.version, p.created_at, p.updated_at
            FROM billing_plans AS p
           WHERE p.id > COALESCE(p_after_id, 0) AND p.id BETWEEN COALESCE(p_plan_id, 0) AND COALESCE(p_plan_id, 4294967295)
           ORDER BY p.id
           LIMIT p_limit) AS s
    LEFT JOIN LATERAL (
           SELECT JSON_ARRAYAGG(o.provider_price_id) AS prices
             FROM (SELECT x.provider_price_id FROM billing_provider_prices AS x WHERE x.plan_id = s.id ORDER BY x.provider_price_id LIMIT 100) AS o) AS g ON TRUE
    LEFT JOIN LATERAL (
           SELECT JSON_ARRAYAGG(JSON_OBJECT('code', o.code, 'schemaVersion', o.schema_version, 'valueJson',
                    JSON_MERGE_PATCH(JSON_OBJECT('amount', o.amount, 'grantKind', o.grant_kind, 'effectivePolicy', o.effective_policy, 'durationPolicy', o.duration_policy),
                                     JSON_OBJECT('durationDays', o.duration_days)))) AS entitlements
             FROM (SELECT d.code, x.schema_version, x.amount, x.grant_kind, x.effective_policy, x.duration_policy, x.duration_days
                     FROM billing_plan_entitlement_templates AS x
                     JOIN billing_entitlement_definitions AS d ON d.id = x.definition_id
                    WHERE x.plan_id = s.id
                    ORDER BY d.code, x.grant_kind
                    LIMIT 1000) AS o) AS t ON TRUE;
END
