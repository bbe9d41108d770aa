-- What applications ask for, to begin with: the scaffold's routes use the first three, the gate before all application routes the last.
INSERT IGNORE INTO billing_capabilities (capability, definition_id, amount, reason_code)
SELECT s.capability, d.id, s.amount, s.reason_code
FROM (SELECT 'projects.create' AS capability, 'projects.max' AS code, 1 AS amount, 'project.create' AS reason_code
      UNION ALL SELECT 'projects.unarchive', 'projects.max', 1, 'project.unarchive'
      UNION ALL SELECT 'annuity.calculate', 'annuity.calculations.monthly', 1, 'annuity.calculate'
      UNION ALL SELECT 'application.write', 'workspace.access', 1, 'application.write') AS s
JOIN billing_entitlement_definitions AS d ON d.code = s.code;
