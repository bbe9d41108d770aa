-- Makes the grants of current assignments and of paid purchases, with the keys and the content that the runtime would give them, and their balances, due at
-- once: how much is granted is not worked out here, whoever looks at a balance first settles it.
DROP PROCEDURE IF EXISTS bootstrap_write_grants;
CREATE PROCEDURE bootstrap_write_grants(
  IN p_now DATETIME(3)
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Makes the grants of assignments and purchases'
BEGIN
  DECLARE v_end_of_time DATETIME(3) DEFAULT '9999-12-31 23:59:59.999';
  DECLARE v_problem VARCHAR(1000);

  DROP TEMPORARY TABLE IF EXISTS bootstrap_grants;
  CREATE TEMPORARY TABLE bootstrap_grants (
    grant_no           INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    place              VARCHAR(64) NOT NULL,
    subject_id         BIGINT UNSIGNED NOT NULL,
    definition_id      INT UNSIGNED NOT NULL,
    code               VARCHAR(64) NOT NULL,
    grant_kind         VARCHAR(32) NOT NULL,
    is_allotment       BOOLEAN NOT NULL,
    is_active          BOOLEAN NOT NULL,
    bought_amount      DECIMAL(40, 0) NOT NULL,
    amount             DECIMAL(40, 0) NOT NULL,
    effective_at       DATETIME(3) NOT NULL,
    is_ending          BOOLEAN NOT NULL,
    expires_at         DATETIME(3) NULL,
    source             VARCHAR(32) NOT NULL,
    plan_assignment_id BIGINT UNSIGNED NULL,
    purchase_id        BIGINT UNSIGNED NULL,
    dedupe_key         VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    content_sha256     BINARY(32) NULL,
    grant_id           BIGINT UNSIGNED NULL,
    UNIQUE (dedupe_key)
  ) ENGINE = InnoDB;

  -- Plans. A current assignment that has a period counts as paid for it. A grant of a period bears the period in its key, so that the next one is another.
  INSERT INTO bootstrap_grants
    (place, subject_id, definition_id, code, grant_kind, is_allotment, is_active, bought_amount, amount, effective_at, is_ending, expires_at, source, plan_assignment_id, dedupe_key)
  SELECT CONCAT('billing_plan_assignments ', g.id), g.subject_id, g.definition_id, g.code, g.grant_kind, g.is_allotment, g.is_active, g.amount, g.amount, g.effective_at,
         g.duration_policy <> 'while_current',
         CASE g.duration_policy
           WHEN 'period_window' THEN g.period_end_at
           WHEN 'fixed_duration' THEN CASE WHEN g.duration_days < TIMESTAMPDIFF(DAY, g.effective_at, v_end_of_time) THEN g.effective_at + INTERVAL g.duration_days DAY END
         END,
         'plan_assignment', g.id,
         CONCAT('assignment:', g.id, ':', g.plan_code, ':', g.code, ':', g.grant_kind,
                IF(g.is_of_period, CONCAT(':', LEFT(DATE_FORMAT(g.period_start_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z'), ''))
    FROM (SELECT a.id, a.subject_id, a.period_start_at, a.period_end_at, p.code AS plan_code, t.definition_id, d.code, t.grant_kind, t.duration_policy, t.duration_days,
                 d.entitlement_type <> 'balance' AS is_allotment, d.is_active,
                 CAST(t.amount AS DECIMAL(40, 0)) * IF(d.entitlement_type = 'state', 1, a.quantity) AS amount,
                 t.duration_policy = 'period_window' OR (t.effective_policy = 'on_period_paid' AND t.duration_policy = 'fixed_duration') AS is_of_period,
                 -- What a paid period gives for some days begins with the period; all else not before the assignment.
                 CASE WHEN t.effective_policy = 'on_period_paid' AND t.duration_policy = 'fixed_duration' THEN a.period_start_at
                      WHEN t.effective_policy = 'on_period_paid' OR t.duration_policy = 'period_window' THEN GREATEST(a.period_start_at, a.effective_at)
                      ELSE a.effective_at END AS effective_at
            FROM billing_plan_assignments AS a
            JOIN billing_plans AS p ON p.id = a.plan_id
            JOIN billing_plan_entitlement_templates AS t ON t.plan_id = a.plan_id
            JOIN billing_entitlement_definitions AS d ON d.id = t.definition_id
           WHERE a.status = 'current') AS g
   WHERE g.effective_at IS NOT NULL
   ORDER BY g.id, g.definition_id, g.grant_kind;

  -- Purchases. The quantities of a product's lines add up. Of what was paid back in part, the same part of what was bought is gone, rounded in the customer's favour.
  INSERT INTO bootstrap_grants
    (place, subject_id, definition_id, code, grant_kind, is_allotment, is_active, bought_amount, amount, effective_at, is_ending, expires_at, source, purchase_id, dedupe_key)
  SELECT CONCAT('billing_purchases ', g.id), g.subject_id, g.definition_id, g.code, IF(g.grant_kind = 'one_off_topup', 'topup', 'addon_timeboxed'), g.is_allotment, g.is_active,
         g.bought_amount, g.bought_amount - IF(g.refunded_minor_units > 0, g.bought_amount * g.refunded_minor_units DIV g.paid_minor_units, 0), g.purchased_at,
         g.duration_days IS NOT NULL,
         IF(g.duration_days < TIMESTAMPDIFF(DAY, g.purchased_at, v_end_of_time), g.purchased_at + INTERVAL g.duration_days DAY, NULL),
         'purchase', g.id, CONCAT('purchase:', g.id, ':', g.product_code, ':', g.code, ':', g.grant_kind)
    FROM (SELECT u.id, u.subject_id, u.purchased_at, u.paid_minor_units, u.refunded_minor_units, q.code AS product_code, t.definition_id, d.code, t.grant_kind,
                 t.duration_days,
                 d.entitlement_type IN ('capacity', 'state') OR COALESCE(d.window_anchor = 'rolling', FALSE)
                   OR (d.entitlement_type = 'metered_quota' AND t.grant_kind = 'timeboxed_addon') AS is_allotment, d.is_active,
                 CAST(t.amount AS DECIMAL(40, 0)) * IF(d.entitlement_type = 'state', 1, l.quantity) AS bought_amount
            FROM billing_purchases AS u
            JOIN (SELECT n.purchase_id, n.product_id, SUM(n.quantity) AS quantity
                    FROM billing_purchase_lines AS n
                   WHERE n.product_id IS NOT NULL
                   GROUP BY n.purchase_id, n.product_id) AS l ON l.purchase_id = u.id
            JOIN billing_products AS q ON q.id = l.product_id
            JOIN billing_product_entitlement_templates AS t ON t.product_id = q.id
            JOIN billing_entitlement_definitions AS d ON d.id = t.definition_id
           WHERE u.status IN ('paid', 'partially_refunded')) AS g
   ORDER BY g.id, g.definition_id, g.product_code, g.grant_kind;

  SELECT CONCAT('BOOTSTRAP_EXPIRES_BEFORE_START: ', g.place,
                IF(g.expires_at IS NULL, ': no instant is so late as the end', CONCAT(': ends ', g.expires_at, ', not after the start')), ' of ', g.code)
    INTO v_problem
    FROM bootstrap_grants AS g
   WHERE g.is_ending AND (g.expires_at IS NULL OR g.expires_at <= g.effective_at)
   ORDER BY g.grant_no
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);

  -- What is over grants nothing any more, nor does what was paid back.
  DELETE FROM bootstrap_grants WHERE expires_at <= p_now OR amount = 0;

  -- The runtime makes no grants of a definition that was put out of use.
  SELECT CONCAT('BOOTSTRAP_INACTIVE_CODE: ', g.place, ': definition ', g.code, ' is not active') INTO v_problem
    FROM bootstrap_grants AS g
   WHERE NOT g.is_active
   ORDER BY g.grant_no
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);
  SELECT CONCAT('BOOTSTRAP_AMOUNT_TOO_LARGE: ', g.place, ': more than 9007199254740991 of ', g.code) INTO v_problem
    FROM bootstrap_grants AS g
   WHERE g.bought_amount > 9007199254740991
   ORDER BY g.grant_no
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);
  SELECT CONCAT('BOOTSTRAP_AMOUNT_TOO_LARGE: billable_entities ', x.subject_id, ': all grants together are more than 9007199254740991 of ', x.code) INTO v_problem
    FROM (SELECT g.subject_id, g.code, SUM(g.amount) AS amount FROM bootstrap_grants AS g GROUP BY g.subject_id, g.code) AS x
   WHERE x.amount > 9007199254740991
   ORDER BY x.subject_id, x.code
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);

  -- The content as entitlement_grant_in_tx_v1 writes it: what comes with this key again is a replay.
  UPDATE bootstrap_grants AS g
     SET g.content_sha256 = UNHEX(SHA2(JSON_ARRAY(g.subject_id, g.code, CAST(g.amount AS SIGNED), g.grant_kind, g.effective_at, g.expires_at, 100, g.source,
                                                  g.plan_assignment_id, g.purchase_id, NULL), 256));
  SELECT CONCAT('BOOTSTRAP_KEY_COLLISION: ', g.place, ': billing_entitlement_grants ', x.id, ' has its key ', g.dedupe_key) INTO v_problem
    FROM bootstrap_grants AS g
    JOIN billing_entitlement_grants AS x ON x.dedupe_key = g.dedupe_key
   WHERE x.content_sha256 <> g.content_sha256
   ORDER BY g.grant_no
   LIMIT 1;
  CALL bootstrap_stop_on(v_problem);

  INSERT INTO billing_entitlement_grants
    (subject_id, definition_id, grant_kind, amount, priority, effective_at, expires_at, source, plan_assignment_id, purchase_id, dedupe_key, content_sha256,
     reason, created_by, created_at)
  SELECT g.subject_id, g.definition_id, g.grant_kind, g.amount, 100, g.effective_at, g.expires_at, g.source, g.plan_assignment_id, g.purchase_id, g.dedupe_key,
         g.content_sha256, NULL, 'bootstrap', p_now
    FROM bootstrap_grants AS g
    LEFT JOIN billing_entitlement_grants AS x ON x.dedupe_key = g.dedupe_key
   WHERE x.id IS NULL
   ORDER BY g.grant_no;
  UPDATE bootstrap_grants AS g
    JOIN billing_entitlement_grants AS x ON x.dedupe_key = g.dedupe_key
     SET g.grant_id = x.id;
  INSERT INTO billing_purchase_grants (purchase_id, grant_id, first_grant_id, bought_amount)
  SELECT g.purchase_id, g.grant_id, g.grant_id, g.bought_amount
    FROM bootstrap_grants AS g
    LEFT JOIN billing_purchase_grants AS x ON x.purchase_id = g.purchase_id AND x.grant_id = g.grant_id
   WHERE g.purchase_id IS NOT NULL AND x.grant_id IS NULL
   ORDER BY g.grant_no;
  INSERT INTO billing_entitlement_grant_balances
    (subject_id, definition_id, grant_state, grant_id, is_allotment, priority, effective_at, expires_at, ends_at, amount)
  SELECT g.subject_id, g.definition_id, 'pending', g.grant_id, g.is_allotment, 100, g.effective_at, g.expires_at, g.expires_at, g.amount
    FROM bootstrap_grants AS g
    LEFT JOIN billing_entitlement_grant_balances AS x ON x.grant_id = g.grant_id
   WHERE x.grant_id IS NULL
   ORDER BY g.grant_no;
  -- Segment 0 is one that has not begun: the first settlement opens the balance, in the window of that moment.
  INSERT INTO billing_entitlement_balances
    (subject_id, definition_id, history_no, window_start_at, window_end_at, segment_no, settled_at, granted_amount, allotment_amount, allotment_given_amount,
     overage_amount, segment_start_consumed_amount, segment_start_left_amount, segment_consumed_amount, held_amount, last_sequence_no, next_change_at)
  SELECT n.subject_id, n.definition_id, 0, '1970-01-01 00:00:00.000', v_end_of_time, 0, p_now, 0, 0, 0, 0, 0, 0, 0, 0, 0, p_now
    FROM (SELECT DISTINCT g.subject_id, g.definition_id FROM bootstrap_grants AS g) AS n
    LEFT JOIN billing_entitlement_balances AS x ON x.subject_id = n.subject_id AND x.definition_id = n.definition_id AND x.history_no = 0
   WHERE x.subject_id IS NULL
   ORDER BY n.subject_id, n.definition_id;

  -- By these a later event finds the purchase it is about.
  INSERT INTO billing_purchase_references (provider, reference_id, purchase_id)
  SELECT u.provider, u.provider_payment_id, u.id
    FROM billing_purchases AS u
    LEFT JOIN billing_purchase_references AS x ON x.provider = u.provider AND x.reference_id = u.provider_payment_id
   WHERE x.purchase_id IS NULL
   ORDER BY u.id;
  -- Billing periods count from the paid one, as when a plan is assigned.
  UPDATE billable_entities AS e
    JOIN billing_plan_assignments AS a ON a.subject_id = e.id AND a.status = 'current'
     SET e.billing_anchor_at = a.period_start_at
   WHERE e.billing_anchor_at IS NULL AND a.period_start_at IS NOT NULL;
END
