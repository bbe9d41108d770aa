-- The definitions that every installation begins with; the console makes more. Ids are not fixed: codes are the names.
INSERT IGNORE INTO billing_entitlement_definitions
  (code, name, description, entitlement_type, unit, scale, window_interval, window_anchor, aggregation_mode, enforcement_mode, lock_label, resource_code, created_at, updated_at)
VALUES
  ('projects.max', 'Projects', 'How many projects may be active at once', 'capacity', 'project', 0, NULL, NULL, 'sum', 'hard_lock_resource', 'projects_locked_over_cap', 'projects', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)),
  ('annuity.calculations.monthly', 'Annuity calculations', 'Annuity calculations in a calendar month', 'metered_quota', 'calculation', 0, 'month', 'calendar_utc', 'sum', 'hard_deny', NULL, NULL, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)),
  ('ai.credits', 'AI credits', 'Prepaid credits, used up once', 'balance', 'credit', 0, NULL, NULL, 'sum', 'hard_deny', NULL, NULL, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)),
  ('workspace.access', 'Workspace access', 'Whether the workspace may be written to', 'state', 'access', 0, NULL, NULL, 'boolean_any_true', 'hard_deny', 'workspace_expired', NULL, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3));
