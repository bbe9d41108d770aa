-- What the scaffold's routes ask for.
INSERT IGNORE INTO billing_capabilities (capability, definition_id, amount, reason_code)
SELECT s.capability, d.id, s.amount, s.reason_code
FROM (SELECT 'projects.create' AS capability, 'projects.max' AS code, 1 AS amount, 'project.create' AS reason_code
      UNION ALL SELECT 'projects.unarchive', 'projects.max', 1, 'project.unarchive'
      UNION ALL SELECT 'annuity.calculate', 'annuity.calculations.monthly', 1, 'annuity.calculate') AS s
JOIN billing_entitlement_definitions AS d ON d.code = s.code;
