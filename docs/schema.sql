-- The finished tables as MySQL 9.7 shows them, made from migrations/, which says why. For reading: nothing runs this file.

CREATE TABLE `billable_entities` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `entity_type` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'what it is in the application: workspace, user, …',
  `entity_ref` varchar(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the application''s own id of it',
  `workspace_id` bigint unsigned DEFAULT NULL COMMENT 'whose users are told of changes; null: nobody',
  `owner_user_id` varchar(128) DEFAULT NULL COMMENT 'the application''s id of the user who pays',
  `provider_customer_id` varchar(255) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL COMMENT 'the payment provider''s customer',
  `status` enum('active','suspended','closed') NOT NULL DEFAULT 'active',
  `billing_anchor_at` datetime(3) DEFAULT NULL COMMENT 'UTC; start of the first billing period; null: created_at',
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  `updated_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_entities_type_ref` (`entity_type`,`entity_ref`),
  UNIQUE KEY `uq_entities_provider_customer` (`provider_customer_id`),
  KEY `ix_entities_ref` (`entity_ref`),
  KEY `ix_entities_workspace` (`workspace_id`),
  CONSTRAINT `fk_entities_workspace` FOREIGN KEY (`workspace_id`) REFERENCES `workspaces` (`id`),
  CONSTRAINT `ck_entities_ref` CHECK (regexp_like(`entity_ref`,_utf8mb4'^[!-~]{1,128}\\z')),
  CONSTRAINT `ck_entities_type` CHECK (regexp_like(`entity_type`,_utf8mb4'^[a-z][a-z0-9_]{0,31}\\z'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='subjects of entitlements';

CREATE TABLE `billing_api_keys` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `name` varchar(120) NOT NULL COMMENT 'whose it is',
  `role` enum('service','admin') NOT NULL,
  `key_sha256` binary(32) NOT NULL,
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  `last_used_at` datetime(3) DEFAULT NULL COMMENT 'UTC; to the minute',
  `revoked_at` datetime(3) DEFAULT NULL COMMENT 'UTC; refused from then on',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_api_keys_sha256` (`key_sha256`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='callers'' keys';

CREATE TABLE `billing_capabilities` (
  `capability` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'projects.create, annuity.calculate, …',
  `definition_id` int unsigned NOT NULL,
  `amount` bigint NOT NULL COMMENT 'what one use takes, unless the request says an amount',
  `reason_code` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'reason written to the ledger, unless the request says one',
  PRIMARY KEY (`capability`),
  KEY `ix_capabilities_definition` (`definition_id`),
  CONSTRAINT `fk_capabilities_definition` FOREIGN KEY (`definition_id`) REFERENCES `billing_entitlement_definitions` (`id`),
  CONSTRAINT `ck_capabilities_amount` CHECK ((`amount` between 1 and 9007199254740991))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='capability to definition, amount and reason';

CREATE TABLE `billing_entitlement_balances` (
  `subject_type` enum('billable_entity') NOT NULL DEFAULT 'billable_entity',
  `subject_id` bigint unsigned NOT NULL,
  `definition_id` int unsigned NOT NULL,
  `history_no` int unsigned NOT NULL COMMENT '0: the current window; 1, 2, …: ended windows in their order',
  `window_start_at` datetime(3) NOT NULL COMMENT 'UTC; included',
  `window_end_at` datetime(3) NOT NULL COMMENT 'UTC; excluded',
  `segment_no` int unsigned NOT NULL COMMENT 'the open segment: its settlement has this number',
  `settled_at` datetime(3) NOT NULL COMMENT 'UTC; the boundary at which the open segment began',
  `granted_amount` bigint NOT NULL,
  `allotment_amount` bigint NOT NULL COMMENT 'P: aggregate of the active grants that renew; a capacity''s cap, a state''s 0 or 1',
  `allotment_given_amount` bigint NOT NULL COMMENT 'A: what the allotment gave in this window before the open segment',
  `overage_amount` bigint NOT NULL COMMENT 'use that nothing covered, when the open segment began',
  `segment_start_consumed_amount` bigint NOT NULL,
  `segment_start_left_amount` bigint NOT NULL COMMENT 'below 0 while overage is open, or while a count is over its cap',
  `segment_consumed_amount` bigint NOT NULL COMMENT 'used since the open segment began',
  `held_amount` bigint NOT NULL COMMENT 'set aside by pending holds',
  `last_sequence_no` bigint unsigned NOT NULL COMMENT 'number of the newest consumption',
  `returned_sequence_no` bigint unsigned NOT NULL DEFAULT '0' COMMENT 'rolling windows: number of the newest use that has come back',
  `archived_sequence_no` bigint unsigned NOT NULL DEFAULT '0' COMMENT 'the uses up to this number are in the archive; 0: none, and nobody looks there',
  `next_change_at` datetime(3) DEFAULT NULL COMMENT 'UTC; the next boundary; null: the clock changes nothing',
  `failure_count` int unsigned NOT NULL DEFAULT '0' COMMENT 'settlements that failed in a row',
  `last_failure` varchar(255) DEFAULT NULL COMMENT 'what the newest of them said',
  `retry_at` datetime(3) DEFAULT NULL COMMENT 'UTC; set aside until then',
  `consumed_amount` bigint GENERATED ALWAYS AS ((`segment_start_consumed_amount` + `segment_consumed_amount`)) VIRTUAL,
  `left_amount` bigint GENERATED ALWAYS AS ((`segment_start_left_amount` - `segment_consumed_amount`)) VIRTUAL COMMENT 'before holds',
  `effective_amount` bigint GENERATED ALWAYS AS ((`granted_amount` - `consumed_amount`)) VIRTUAL,
  `available_amount` bigint GENERATED ALWAYS AS (greatest((`left_amount` - `held_amount`),0)) VIRTUAL COMMENT 'what a consume may take now',
  `over_limit` tinyint(1) GENERATED ALWAYS AS (((`left_amount` < 0) or (`allotment_given_amount` > `allotment_amount`))) VIRTUAL,
  `due_at` datetime(3) GENERATED ALWAYS AS (greatest(`next_change_at`,coalesce(`retry_at`,`next_change_at`))) STORED COMMENT 'when the scheduler takes it',
  PRIMARY KEY (`subject_id`,`definition_id`,`history_no`),
  KEY `ix_balances_due` (`due_at`),
  KEY `ix_balances_failures` (`failure_count`),
  KEY `ix_balances_definition` (`definition_id`),
  CONSTRAINT `fk_balances_definition` FOREIGN KEY (`definition_id`) REFERENCES `billing_entitlement_definitions` (`id`),
  CONSTRAINT `ck_balances_amounts` CHECK (((`granted_amount` >= 0) and (`allotment_amount` >= 0) and (`allotment_given_amount` >= 0) and (`overage_amount` >= 0) and (`segment_start_consumed_amount` >= 0) and (`segment_consumed_amount` >= 0) and (`held_amount` >= 0))),
  CONSTRAINT `ck_balances_history` CHECK (((`history_no` = 0) or ((`next_change_at` is null) and (`held_amount` = 0)))),
  CONSTRAINT `ck_balances_window` CHECK ((`window_end_at` > `window_start_at`))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='projection: what is granted, used and left';

CREATE TABLE `billing_entitlement_consumption_archive` (
  `subject_type` enum('billable_entity') NOT NULL DEFAULT 'billable_entity',
  `subject_id` bigint unsigned NOT NULL,
  `definition_id` int unsigned NOT NULL,
  `usage_event_key` varchar(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the caller''s key, compared byte for byte',
  `sequence_no` bigint unsigned NOT NULL COMMENT 'number of this use in its balance, without gaps',
  `segment_no` int unsigned NOT NULL COMMENT 'the segment it was posted in, which is closed',
  `amount` bigint NOT NULL,
  `reason_code` varchar(64) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `occurred_at` datetime(3) NOT NULL COMMENT 'UTC; when the caller says it happened, else posted_at',
  `posted_at` datetime(3) NOT NULL COMMENT 'UTC; when it was decided',
  `returns_at` datetime(3) DEFAULT NULL COMMENT 'UTC; rolling windows: when it came back',
  `consumed_after` bigint NOT NULL COMMENT 'consumed_amount with this use',
  `left_after` bigint NOT NULL COMMENT 'left_amount with this use',
  `held_after` bigint NOT NULL COMMENT 'held_amount then',
  `next_change_at` datetime(3) DEFAULT NULL COMMENT 'UTC; the next boundary, as known then',
  `content_sha256` binary(32) NOT NULL COMMENT 'of all items of its request: the same key with other content is a conflict',
  `metadata` json DEFAULT NULL COMMENT 'the caller''s own; the engine never reads it',
  `archived_at` datetime(3) NOT NULL COMMENT 'UTC; when it was moved here',
  PRIMARY KEY (`subject_id`,`definition_id`,`usage_event_key`),
  UNIQUE KEY `uq_consumption_archive_sequence` (`subject_id`,`definition_id`,`sequence_no`),
  CONSTRAINT `ck_consumption_archive_amount` CHECK ((`amount` between 1 and 9007199254740991)),
  CONSTRAINT `ck_consumption_archive_returns` CHECK ((`returns_at` > `posted_at`))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='ledger: uses that were archived';

CREATE TABLE `billing_entitlement_consumptions` (
  `subject_type` enum('billable_entity') NOT NULL DEFAULT 'billable_entity',
  `subject_id` bigint unsigned NOT NULL,
  `definition_id` int unsigned NOT NULL,
  `usage_event_key` varchar(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the caller''s key, compared byte for byte',
  `sequence_no` bigint unsigned NOT NULL COMMENT 'number of this use in its balance, without gaps',
  `segment_no` int unsigned NOT NULL COMMENT 'the segment it was posted in: at its end the grants pay for it',
  `amount` bigint NOT NULL,
  `reason_code` varchar(64) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `occurred_at` datetime(3) NOT NULL COMMENT 'UTC; when the caller says it happened, else posted_at',
  `posted_at` datetime(3) NOT NULL COMMENT 'UTC; when it was decided',
  `returns_at` datetime(3) DEFAULT NULL COMMENT 'UTC; rolling windows: when it comes back, but never before the use that was posted before it',
  `consumed_after` bigint NOT NULL COMMENT 'consumed_amount with this use',
  `left_after` bigint NOT NULL COMMENT 'left_amount with this use',
  `held_after` bigint NOT NULL COMMENT 'held_amount then',
  `next_change_at` datetime(3) DEFAULT NULL COMMENT 'UTC; the next boundary, as known then',
  `content_sha256` binary(32) NOT NULL COMMENT 'of all items of its request: the same key with other content is a conflict',
  `metadata` json DEFAULT NULL COMMENT 'the caller''s own; the engine never reads it',
  PRIMARY KEY (`subject_id`,`definition_id`,`usage_event_key`),
  UNIQUE KEY `uq_consumptions_sequence` (`subject_id`,`definition_id`,`sequence_no`),
  CONSTRAINT `ck_consumptions_amount` CHECK ((`amount` between 1 and 9007199254740991)),
  CONSTRAINT `ck_consumptions_returns` CHECK ((`returns_at` > `posted_at`))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='ledger: uses';

CREATE TABLE `billing_entitlement_definitions` (
  `id` int unsigned NOT NULL AUTO_INCREMENT,
  `code` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'projects.max, ai.credits, …',
  `name` varchar(160) NOT NULL,
  `description` varchar(1000) DEFAULT NULL,
  `entitlement_type` enum('capacity','metered_quota','balance','state') NOT NULL,
  `unit` varchar(32) NOT NULL COMMENT 'what one is: project, calculation, credit',
  `scale` tinyint unsigned NOT NULL DEFAULT '0' COMMENT 'decimals that people see; amounts are whole numbers of the smallest unit',
  `window_interval` enum('day','week','month','year') DEFAULT NULL COMMENT 'metered_quota only',
  `window_anchor` enum('calendar_utc','billing_period','rolling') DEFAULT NULL COMMENT 'metered_quota only',
  `aggregation_mode` enum('sum','max','boolean_any_true') NOT NULL DEFAULT 'sum' COMMENT 'how active allotment grants count together',
  `enforcement_mode` enum('hard_deny','hard_lock_resource','soft_warn') NOT NULL DEFAULT 'hard_deny',
  `lock_label` varchar(64) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL COMMENT 'lockState while over the limit, or while a state is off',
  `resource_code` varchar(64) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL COMMENT 'capacity only: the resource that is counted',
  `is_active` tinyint(1) NOT NULL DEFAULT '1',
  `metadata` json DEFAULT NULL COMMENT 'for people and applications; the engine never reads it',
  `version` int unsigned NOT NULL DEFAULT '1' COMMENT 'grows with each edit: the ETag of the console',
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  `updated_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_definitions_code` (`code`),
  UNIQUE KEY `uq_definitions_resource_code` (`resource_code`),
  CONSTRAINT `ck_definitions_aggregation` CHECK ((((`entitlement_type` = _utf8mb4'state') = (`aggregation_mode` = _utf8mb4'boolean_any_true')) and ((`entitlement_type` <> _utf8mb4'balance') or (`aggregation_mode` = _utf8mb4'sum')))),
  CONSTRAINT `ck_definitions_code` CHECK (regexp_like(`code`,_utf8mb4'^[a-z][a-z0-9_]*([.][a-z0-9_]+)*\\z')),
  CONSTRAINT `ck_definitions_lock_label` CHECK (((`lock_label` is not null) or ((`enforcement_mode` <> _utf8mb4'hard_lock_resource') and (`entitlement_type` <> _utf8mb4'state')))),
  CONSTRAINT `ck_definitions_resource_code` CHECK (((`entitlement_type` = _utf8mb4'capacity') or (`resource_code` is null))),
  CONSTRAINT `ck_definitions_scale` CHECK ((`scale` <= 9)),
  CONSTRAINT `ck_definitions_window` CHECK ((((`entitlement_type` = _utf8mb4'metered_quota') = (`window_interval` is not null)) and ((`entitlement_type` = _utf8mb4'metered_quota') = (`window_anchor` is not null))))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='limits that can be granted and used';

CREATE TABLE `billing_entitlement_grant_balances` (
  `subject_id` bigint unsigned NOT NULL,
  `definition_id` int unsigned NOT NULL,
  `grant_state` enum('pending','active','ended') NOT NULL COMMENT 'in the open segment of its balance',
  `grant_id` bigint unsigned NOT NULL,
  `is_allotment` tinyint(1) NOT NULL COMMENT 'renews in every window, and gives as part of the allotment',
  `priority` tinyint unsigned NOT NULL,
  `effective_at` datetime(3) NOT NULL COMMENT 'UTC; included',
  `expires_at` datetime(3) DEFAULT NULL COMMENT 'UTC; excluded; the grant''s own, which the burn order goes by',
  `ends_at` datetime(3) DEFAULT NULL COMMENT 'UTC; excluded; the earlier of expires_at and the revocation',
  `amount` bigint NOT NULL,
  `given_amount` bigint NOT NULL DEFAULT '0' COMMENT 'all that it gave; 0 for an allotment, which gives as one',
  `given_before_window_amount` bigint NOT NULL DEFAULT '0' COMMENT 'of that, before the current window began; 0 once it ended',
  PRIMARY KEY (`grant_id`),
  KEY `ix_grant_balances_state` (`subject_id`,`definition_id`,`grant_state`),
  CONSTRAINT `fk_grant_balances_grant` FOREIGN KEY (`grant_id`) REFERENCES `billing_entitlement_grants` (`id`),
  CONSTRAINT `ck_grant_balances_given` CHECK (((`given_amount` between 0 and `amount`) and (`given_before_window_amount` between 0 and `given_amount`)))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='projection: what grants have left';

CREATE TABLE `billing_entitlement_grants` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `subject_type` enum('billable_entity') NOT NULL DEFAULT 'billable_entity',
  `subject_id` bigint unsigned NOT NULL,
  `definition_id` int unsigned NOT NULL,
  `grant_kind` enum('plan_base','plan_bonus','addon_timeboxed','topup','promo','manual_adjustment','correction') NOT NULL,
  `amount` bigint NOT NULL COMMENT 'smallest units of the definition',
  `priority` tinyint unsigned NOT NULL DEFAULT '100' COMMENT 'burn order, lowest first',
  `effective_at` datetime(3) NOT NULL COMMENT 'UTC; included',
  `expires_at` datetime(3) DEFAULT NULL COMMENT 'UTC; excluded; null: never',
  `source` enum('operator','plan_assignment','purchase') NOT NULL COMMENT 'what made it',
  `plan_assignment_id` bigint unsigned DEFAULT NULL,
  `purchase_id` bigint unsigned DEFAULT NULL,
  `dedupe_key` varchar(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the same again makes no second grant',
  `content_sha256` binary(32) NOT NULL COMMENT 'of what was asked for: the same key with other content is a conflict',
  `reason` varchar(255) DEFAULT NULL,
  `created_by` varchar(128) NOT NULL COMMENT 'key, provider event or database user that made it',
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_grants_dedupe` (`dedupe_key`),
  KEY `ix_grants_subject` (`subject_id`,`definition_id`),
  KEY `ix_grants_assignment` (`plan_assignment_id`),
  KEY `ix_grants_purchase` (`purchase_id`),
  KEY `ix_grants_definition` (`definition_id`),
  CONSTRAINT `fk_grants_assignment` FOREIGN KEY (`plan_assignment_id`) REFERENCES `billing_plan_assignments` (`id`),
  CONSTRAINT `fk_grants_definition` FOREIGN KEY (`definition_id`) REFERENCES `billing_entitlement_definitions` (`id`),
  CONSTRAINT `fk_grants_purchase` FOREIGN KEY (`purchase_id`) REFERENCES `billing_purchases` (`id`),
  CONSTRAINT `fk_grants_subject` FOREIGN KEY (`subject_id`) REFERENCES `billable_entities` (`id`),
  CONSTRAINT `ck_grants_amount` CHECK ((`amount` between 1 and 9007199254740991)),
  CONSTRAINT `ck_grants_interval` CHECK ((`expires_at` > `effective_at`)),
  CONSTRAINT `ck_grants_source` CHECK ((((`source` = _utf8mb4'plan_assignment') = (`plan_assignment_id` is not null)) and ((`source` = _utf8mb4'purchase') = (`purchase_id` is not null))))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='ledger: grants';

CREATE TABLE `billing_entitlement_hold_resolutions` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT COMMENT 'of one balance in the order of the commits: its lock is held from before',
  `hold_id` bigint unsigned NOT NULL,
  `subject_id` bigint unsigned NOT NULL COMMENT 'the hold''s',
  `definition_id` int unsigned NOT NULL COMMENT 'the hold''s',
  `resolution` enum('committed','released') NOT NULL COMMENT 'an expiry needs no row: the clock tells',
  `amount` bigint NOT NULL COMMENT 'what was used; 0 when released',
  `resolved_at` datetime(3) NOT NULL COMMENT 'UTC',
  `segment_no` int unsigned NOT NULL COMMENT 'the segment it was resolved in',
  `consumed_after` bigint NOT NULL COMMENT 'consumed_amount with this resolution',
  `left_after` bigint NOT NULL COMMENT 'left_amount with this resolution',
  `held_after` bigint NOT NULL COMMENT 'held_amount with this resolution',
  `next_change_at` datetime(3) DEFAULT NULL COMMENT 'UTC; the next boundary, as known then',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_hold_resolutions_hold` (`hold_id`),
  KEY `ix_hold_resolutions_subject` (`subject_id`,`definition_id`),
  CONSTRAINT `fk_hold_resolutions_hold` FOREIGN KEY (`hold_id`) REFERENCES `billing_entitlement_holds` (`id`),
  CONSTRAINT `ck_hold_resolutions_amount` CHECK ((((`resolution` = _utf8mb4'committed') and (`amount` > 0)) or ((`resolution` = _utf8mb4'released') and (`amount` = 0))))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='ledger: how holds ended';

CREATE TABLE `billing_entitlement_holds` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `subject_type` enum('billable_entity') NOT NULL DEFAULT 'billable_entity',
  `subject_id` bigint unsigned NOT NULL,
  `definition_id` int unsigned NOT NULL,
  `usage_event_key` varchar(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `amount` bigint NOT NULL,
  `status` enum('pending','committed','released','expired') NOT NULL DEFAULT 'pending',
  `expires_at` datetime(3) NOT NULL COMMENT 'UTC; counts for nothing from here on',
  `content_sha256` binary(32) NOT NULL COMMENT 'of what was asked for',
  `reason_code` varchar(64) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `metadata` json DEFAULT NULL COMMENT 'the caller''s own; the engine never reads it',
  `segment_no` int unsigned NOT NULL COMMENT 'the segment it was made in',
  `consumed_after` bigint NOT NULL COMMENT 'consumed_amount with this hold',
  `left_after` bigint NOT NULL COMMENT 'left_amount with this hold',
  `held_after` bigint NOT NULL COMMENT 'held_amount with this hold',
  `next_change_at` datetime(3) DEFAULT NULL COMMENT 'UTC; the next boundary, as known then',
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_holds_key` (`subject_id`,`definition_id`,`usage_event_key`),
  KEY `ix_holds_pending` (`subject_id`,`definition_id`,`status`,`expires_at`),
  KEY `ix_holds_subject` (`subject_id`,`definition_id`),
  KEY `ix_holds_definition` (`definition_id`),
  CONSTRAINT `fk_holds_definition` FOREIGN KEY (`definition_id`) REFERENCES `billing_entitlement_definitions` (`id`),
  CONSTRAINT `ck_holds_amount` CHECK ((`amount` between 1 and 9007199254740991)),
  CONSTRAINT `ck_holds_interval` CHECK ((`expires_at` > `created_at`))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='amounts set aside';

CREATE TABLE `billing_entitlement_lock_changes` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT COMMENT 'of one balance in the order of the commits: its lock is held from before',
  `subject_id` bigint unsigned NOT NULL,
  `definition_id` int unsigned NOT NULL,
  `lock_state` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'from here on: none, or the label of its definition',
  `changed_at` datetime(3) NOT NULL COMMENT 'UTC; the boundary, or when the count was written',
  PRIMARY KEY (`id`),
  KEY `ix_lock_changes_subject` (`subject_id`,`definition_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='ledger: locks that came and went';

CREATE TABLE `billing_entitlement_revocations` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT COMMENT 'of one balance in the order of the commits: its lock is held from before',
  `grant_id` bigint unsigned NOT NULL,
  `subject_id` bigint unsigned NOT NULL COMMENT 'the grant''s',
  `definition_id` int unsigned NOT NULL COMMENT 'the grant''s',
  `revoked_at` datetime(3) NOT NULL COMMENT 'UTC; the grant is not active from here on',
  `dedupe_key` varchar(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the same again is a replay',
  `reason` varchar(255) DEFAULT NULL,
  `created_by` varchar(128) NOT NULL,
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_revocations_grant` (`grant_id`),
  UNIQUE KEY `uq_revocations_dedupe` (`dedupe_key`),
  KEY `ix_revocations_subject` (`subject_id`,`definition_id`),
  CONSTRAINT `fk_revocations_grant` FOREIGN KEY (`grant_id`) REFERENCES `billing_entitlement_grants` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='ledger: grants ended early';

CREATE TABLE `billing_entitlement_settlement_grants` (
  `subject_id` bigint unsigned NOT NULL,
  `definition_id` int unsigned NOT NULL,
  `segment_no` int unsigned NOT NULL COMMENT 'of the settlement',
  `grant_id` bigint unsigned NOT NULL,
  `gave_amount` bigint NOT NULL COMMENT 'for the use of the closed segment, or for overage that was open',
  PRIMARY KEY (`subject_id`,`definition_id`,`segment_no`,`grant_id`),
  KEY `ix_settlement_grants_grant` (`grant_id`),
  CONSTRAINT `fk_settlement_grants_grant` FOREIGN KEY (`grant_id`) REFERENCES `billing_entitlement_grants` (`id`),
  CONSTRAINT `ck_settlement_grants_gave` CHECK ((`gave_amount` > 0))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='ledger: what grants gave';

CREATE TABLE `billing_entitlement_settlements` (
  `subject_id` bigint unsigned NOT NULL,
  `definition_id` int unsigned NOT NULL,
  `segment_no` int unsigned NOT NULL COMMENT 'from 1; the segment that it opens',
  `settled_at` datetime(3) NOT NULL COMMENT 'UTC; the boundary itself, not the time of the work',
  `cause` enum('opened','grant','revocation','grant_boundary','hold_expiry','use_return','window_end') NOT NULL COMMENT 'window_end: also where the billing anchor moved',
  `closed_amount` bigint NOT NULL COMMENT 'used in the segment that it closes',
  `closed_allotment_gave` bigint NOT NULL COMMENT 'of that, given by the allotment',
  `closed_grants_gave` bigint NOT NULL COMMENT 'of that, given by once-grants; the rest became overage',
  `overage_paid` bigint NOT NULL COMMENT 'open overage that became covered at this boundary',
  `window_start_at` datetime(3) NOT NULL COMMENT 'UTC; of the segment that it opens',
  `window_end_at` datetime(3) NOT NULL COMMENT 'UTC; excluded',
  `granted_amount` bigint NOT NULL,
  `consumed_amount` bigint NOT NULL,
  `left_amount` bigint NOT NULL,
  `allotment_amount` bigint NOT NULL,
  `allotment_given_amount` bigint NOT NULL,
  `overage_amount` bigint NOT NULL,
  `returned_sequence_no` bigint unsigned NOT NULL DEFAULT '0' COMMENT 'rolling windows: the newest use that had come back',
  `last_sequence_no` bigint unsigned NOT NULL COMMENT 'the last use before it: the segment''s uses come after',
  `recorded_at` datetime(3) NOT NULL COMMENT 'UTC; when the work was done',
  PRIMARY KEY (`subject_id`,`definition_id`,`segment_no`),
  KEY `ix_settlements_recorded` (`recorded_at`),
  CONSTRAINT `ck_settlements_closed` CHECK (((`closed_amount` >= 0) and (`closed_allotment_gave` >= 0) and (`closed_grants_gave` >= 0) and (`overage_paid` >= 0) and ((`closed_allotment_gave` + `closed_grants_gave`) <= `closed_amount`)))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='ledger: boundaries passed';

CREATE TABLE `billing_events` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `provider` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'stripe',
  `provider_event_id` varchar(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `event_type` varchar(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `api_version` varchar(64) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL COMMENT 'of the payload''s shape',
  `payload` mediumblob NOT NULL COMMENT 'the body exactly as sent, 1 MiB at most',
  `outcome` enum('received','applied','ignored','failed') NOT NULL,
  `failure` varchar(1000) DEFAULT NULL COMMENT 'why it could not be applied',
  `ignored_because` varchar(255) DEFAULT NULL COMMENT 'why nothing follows from it',
  `subject_id` bigint unsigned DEFAULT NULL COMMENT 'whom it is about, where that is known',
  `attempts` int unsigned NOT NULL DEFAULT '0',
  `received_at` datetime(3) NOT NULL COMMENT 'UTC',
  `resolved_at` datetime(3) DEFAULT NULL COMMENT 'UTC; when it was applied or ignored',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_events_provider_event` (`provider`,`provider_event_id`),
  KEY `ix_events_outcome` (`outcome`,`id`),
  KEY `ix_events_subject` (`subject_id`,`id`),
  CONSTRAINT `fk_events_subject` FOREIGN KEY (`subject_id`) REFERENCES `billable_entities` (`id`),
  CONSTRAINT `ck_events_failure` CHECK (((`outcome` = _utf8mb4'failed') = (`failure` is not null))),
  CONSTRAINT `ck_events_ignored` CHECK (((`outcome` = _utf8mb4'ignored') = (`ignored_because` is not null))),
  CONSTRAINT `ck_events_payload` CHECK ((length(`payload`) <= 1048576)),
  CONSTRAINT `ck_events_resolved` CHECK (((`outcome` in (_utf8mb4'applied',_utf8mb4'ignored')) = (`resolved_at` is not null)))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='inbox of provider events';

CREATE TABLE `billing_limit_change_counter` (
  `id` tinyint unsigned NOT NULL,
  `last_sequence_no` bigint unsigned NOT NULL,
  PRIMARY KEY (`id`),
  CONSTRAINT `ck_limit_change_counter_one` CHECK ((`id` = 1))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='last outbox number';

CREATE TABLE `billing_limit_changes` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT COMMENT 'given at the insert, so not in the order of the commits',
  `sequence_no` bigint unsigned DEFAULT NULL COMMENT 'given after the commit, without gaps: what readers resume from; null: not yet given',
  `change_source` enum('purchase_grant','plan_grant','consumption','boundary_recompute','manual_refresh') NOT NULL,
  `changes` json NOT NULL COMMENT '[{"subjectId": 7, "codes": ["projects.max"]}, …]',
  `changed_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_limit_changes_sequence` (`sequence_no`),
  CONSTRAINT `ck_limit_changes_changes` CHECK ((json_type(`changes`) = _utf8mb4'ARRAY'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='outbox of changes';

CREATE TABLE `billing_operations` (
  `idempotency_key` varchar(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the caller''s key, compared byte for byte',
  `operation` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'what was asked for: put_plan, assign_plan, …',
  `content_sha256` binary(32) NOT NULL COMMENT 'of what was asked for: the same key with other content is a conflict',
  `result_id` bigint unsigned DEFAULT NULL COMMENT 'what it made or changed; null until it has',
  `created_by` varchar(128) NOT NULL COMMENT 'who asked',
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`idempotency_key`),
  CONSTRAINT `ck_operations_key` CHECK (regexp_like(`idempotency_key`,_utf8mb4'^[!-~]{1,128}\\z'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='keys of operators'' requests';

CREATE TABLE `billing_plan_assignments` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `subject_type` enum('billable_entity') NOT NULL DEFAULT 'billable_entity',
  `subject_id` bigint unsigned NOT NULL,
  `plan_id` int unsigned NOT NULL,
  `quantity` int unsigned NOT NULL DEFAULT '1' COMMENT 'what the plan grants, so many times: seats',
  `status` enum('scheduled','current','ended','cancelled') NOT NULL,
  `effective_at` datetime(3) NOT NULL COMMENT 'UTC; when it became or becomes current',
  `ended_at` datetime(3) DEFAULT NULL COMMENT 'UTC; when it ceased to be current, or was cancelled',
  `period_start_at` datetime(3) DEFAULT NULL COMMENT 'UTC; the paid period, where the provider said one',
  `period_end_at` datetime(3) DEFAULT NULL COMMENT 'UTC; end excluded',
  `provider_subscription_id` varchar(255) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `dedupe_key` varchar(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'what made it: the same again makes no second one',
  `created_by` varchar(128) NOT NULL COMMENT 'who made it',
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  `failure_count` int unsigned NOT NULL DEFAULT '0' COMMENT 'attempts to make a scheduled plan current that failed in a row',
  `last_failure` varchar(255) DEFAULT NULL COMMENT 'what the newest of them said',
  `retry_at` datetime(3) DEFAULT NULL COMMENT 'UTC; set aside until then',
  `current_subject_id` bigint unsigned GENERATED ALWAYS AS (if((`status` = _utf8mb4'current'),`subject_id`,NULL)) VIRTUAL COMMENT 'carries the unique key below',
  `due_at` datetime(3) GENERATED ALWAYS AS (if((`status` = _utf8mb4'scheduled'),greatest(`effective_at`,coalesce(`retry_at`,`effective_at`)),NULL)) STORED COMMENT 'UTC; when the scheduler makes it current',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_assignments_dedupe` (`dedupe_key`),
  UNIQUE KEY `uq_assignments_current` (`current_subject_id`),
  KEY `ix_assignments_subject` (`subject_id`,`effective_at`),
  KEY `ix_assignments_due` (`due_at`),
  KEY `ix_assignments_plan` (`plan_id`),
  CONSTRAINT `fk_assignments_plan` FOREIGN KEY (`plan_id`) REFERENCES `billing_plans` (`id`),
  CONSTRAINT `fk_assignments_subject` FOREIGN KEY (`subject_id`) REFERENCES `billable_entities` (`id`),
  CONSTRAINT `ck_assignments_ended` CHECK (((`status` in (_utf8mb4'ended',_utf8mb4'cancelled')) = (`ended_at` is not null))),
  CONSTRAINT `ck_assignments_period` CHECK ((`period_end_at` > `period_start_at`)),
  CONSTRAINT `ck_assignments_quantity` CHECK ((`quantity` between 1 and 1000000))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='plans of subjects over time';

CREATE TABLE `billing_plan_entitlement_templates` (
  `id` int unsigned NOT NULL AUTO_INCREMENT,
  `plan_id` int unsigned NOT NULL,
  `definition_id` int unsigned NOT NULL,
  `grant_kind` enum('plan_base','plan_bonus') NOT NULL DEFAULT 'plan_base',
  `amount` bigint NOT NULL,
  `effective_policy` enum('on_assignment_current','on_period_paid') NOT NULL DEFAULT 'on_assignment_current',
  `duration_policy` enum('while_current','period_window','fixed_duration') NOT NULL DEFAULT 'while_current',
  `duration_days` int unsigned DEFAULT NULL COMMENT 'days of 24 hours; exactly with fixed_duration',
  `schema_version` int unsigned NOT NULL DEFAULT '1' COMMENT 'of the JSON it was written from',
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_plan_templates_identity` (`plan_id`,`definition_id`,`grant_kind`),
  KEY `ix_plan_templates_definition` (`definition_id`),
  CONSTRAINT `fk_plan_templates_definition` FOREIGN KEY (`definition_id`) REFERENCES `billing_entitlement_definitions` (`id`),
  CONSTRAINT `fk_plan_templates_plan` FOREIGN KEY (`plan_id`) REFERENCES `billing_plans` (`id`),
  CONSTRAINT `ck_plan_templates_amount` CHECK ((`amount` between 1 and 9007199254740991)),
  CONSTRAINT `ck_plan_templates_duration` CHECK (((`duration_policy` = _utf8mb4'fixed_duration') = (`duration_days` is not null))),
  CONSTRAINT `ck_plan_templates_duration_days` CHECK ((`duration_days` between 1 and 36500))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='what plans grant';

CREATE TABLE `billing_plans` (
  `id` int unsigned NOT NULL AUTO_INCREMENT,
  `code` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `name` varchar(160) NOT NULL,
  `archived_at` datetime(3) DEFAULT NULL COMMENT 'UTC; no new assignments from then on',
  `version` int unsigned NOT NULL DEFAULT '1' COMMENT 'grows with each edit: the ETag of the console',
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  `updated_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_plans_code` (`code`),
  CONSTRAINT `ck_plans_code` CHECK (regexp_like(`code`,_ascii'^[a-z][a-z0-9_.-]*\\z'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='plans';

CREATE TABLE `billing_product_entitlement_templates` (
  `id` int unsigned NOT NULL AUTO_INCREMENT,
  `product_id` int unsigned NOT NULL,
  `definition_id` int unsigned NOT NULL,
  `grant_kind` enum('one_off_topup','timeboxed_addon') NOT NULL,
  `amount` bigint NOT NULL,
  `duration_days` int unsigned DEFAULT NULL COMMENT 'days of 24 hours; exactly with timeboxed_addon',
  `metadata` json DEFAULT NULL,
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_product_templates_identity` (`product_id`,`definition_id`,`grant_kind`),
  KEY `ix_product_templates_definition` (`definition_id`),
  CONSTRAINT `fk_product_templates_definition` FOREIGN KEY (`definition_id`) REFERENCES `billing_entitlement_definitions` (`id`),
  CONSTRAINT `fk_product_templates_product` FOREIGN KEY (`product_id`) REFERENCES `billing_products` (`id`),
  CONSTRAINT `ck_product_templates_amount` CHECK ((`amount` between 1 and 9007199254740991)),
  CONSTRAINT `ck_product_templates_duration` CHECK (((`grant_kind` = _utf8mb4'timeboxed_addon') = (`duration_days` is not null))),
  CONSTRAINT `ck_product_templates_duration_days` CHECK ((`duration_days` between 1 and 36500))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='what products grant';

CREATE TABLE `billing_products` (
  `id` int unsigned NOT NULL AUTO_INCREMENT,
  `code` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `name` varchar(160) NOT NULL,
  `archived_at` datetime(3) DEFAULT NULL COMMENT 'UTC; a purchase after that is kept and reported',
  `version` int unsigned NOT NULL DEFAULT '1' COMMENT 'grows with each edit: the ETag of the console',
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  `updated_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_products_code` (`code`),
  CONSTRAINT `ck_products_code` CHECK (regexp_like(`code`,_ascii'^[a-z][a-z0-9_.-]*\\z'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='products';

CREATE TABLE `billing_provider_prices` (
  `provider_price_id` varchar(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'price_…; or prod_…: every price of that product that is not named itself',
  `plan_id` int unsigned DEFAULT NULL,
  `product_id` int unsigned DEFAULT NULL,
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`provider_price_id`),
  KEY `ix_provider_prices_plan` (`plan_id`),
  KEY `ix_provider_prices_product` (`product_id`),
  CONSTRAINT `fk_provider_prices_plan` FOREIGN KEY (`plan_id`) REFERENCES `billing_plans` (`id`),
  CONSTRAINT `fk_provider_prices_product` FOREIGN KEY (`product_id`) REFERENCES `billing_products` (`id`),
  CONSTRAINT `ck_provider_prices_one` CHECK (((`plan_id` is null) <> (`product_id` is null)))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='provider price to plan or product';

CREATE TABLE `billing_provider_subscriptions` (
  `provider` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'stripe',
  `provider_subscription_id` varchar(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'sub_…',
  `subject_id` bigint unsigned NOT NULL,
  `plan_id` int unsigned DEFAULT NULL COMMENT 'null: none of its prices is a plan''s',
  `quantity` int unsigned NOT NULL,
  `status` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'in the provider''s word: active, past_due, …',
  `said_at` datetime(3) NOT NULL COMMENT 'UTC; when the provider made the newest event that was applied',
  `ended_at` datetime(3) DEFAULT NULL COMMENT 'UTC; deleted, and so for ever',
  `updated_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`provider`,`provider_subscription_id`),
  KEY `ix_provider_subscriptions_subject` (`subject_id`),
  KEY `ix_provider_subscriptions_plan` (`plan_id`),
  CONSTRAINT `fk_provider_subscriptions_plan` FOREIGN KEY (`plan_id`) REFERENCES `billing_plans` (`id`),
  CONSTRAINT `fk_provider_subscriptions_subject` FOREIGN KEY (`subject_id`) REFERENCES `billable_entities` (`id`),
  CONSTRAINT `ck_provider_subscriptions_quantity` CHECK ((`quantity` between 1 and 1000000))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='subscriptions at the provider';

CREATE TABLE `billing_purchase_grants` (
  `purchase_id` bigint unsigned NOT NULL,
  `grant_id` bigint unsigned NOT NULL,
  `first_grant_id` bigint unsigned NOT NULL COMMENT 'the grant that the payment made; itself, or what this is the rest of',
  `bought_amount` bigint NOT NULL COMMENT 'what the payment bought: the amount of the first grant',
  PRIMARY KEY (`purchase_id`,`grant_id`),
  KEY `ix_purchase_grants_grant` (`grant_id`),
  KEY `ix_purchase_grants_first` (`first_grant_id`),
  CONSTRAINT `fk_purchase_grants_first` FOREIGN KEY (`first_grant_id`) REFERENCES `billing_entitlement_grants` (`id`),
  CONSTRAINT `fk_purchase_grants_grant` FOREIGN KEY (`grant_id`) REFERENCES `billing_entitlement_grants` (`id`),
  CONSTRAINT `fk_purchase_grants_purchase` FOREIGN KEY (`purchase_id`) REFERENCES `billing_purchases` (`id`),
  CONSTRAINT `ck_purchase_grants_bought` CHECK ((`bought_amount` between 1 and 9007199254740991))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='what purchases granted';

CREATE TABLE `billing_purchase_lines` (
  `purchase_id` bigint unsigned NOT NULL,
  `line_no` smallint unsigned NOT NULL COMMENT 'from 1, in the provider''s order',
  `provider_price_id` varchar(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `plan_id` int unsigned DEFAULT NULL,
  `product_id` int unsigned DEFAULT NULL,
  `quantity` int unsigned NOT NULL,
  PRIMARY KEY (`purchase_id`,`line_no`),
  KEY `ix_purchase_lines_plan` (`plan_id`),
  KEY `ix_purchase_lines_product` (`product_id`),
  CONSTRAINT `fk_purchase_lines_plan` FOREIGN KEY (`plan_id`) REFERENCES `billing_plans` (`id`),
  CONSTRAINT `fk_purchase_lines_product` FOREIGN KEY (`product_id`) REFERENCES `billing_products` (`id`),
  CONSTRAINT `fk_purchase_lines_purchase` FOREIGN KEY (`purchase_id`) REFERENCES `billing_purchases` (`id`),
  CONSTRAINT `ck_purchase_lines_one` CHECK (((`plan_id` is null) or (`product_id` is null))),
  CONSTRAINT `ck_purchase_lines_quantity` CHECK ((`quantity` between 1 and 1000000))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='lines of purchases';

CREATE TABLE `billing_purchase_references` (
  `provider` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'stripe',
  `reference_id` varchar(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'in_…, pi_…, ch_…, cs_…',
  `purchase_id` bigint unsigned DEFAULT NULL COMMENT 'null: see same_as_id',
  `same_as_id` varchar(255) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL COMMENT 'another id of the same payment: in_…',
  PRIMARY KEY (`provider`,`reference_id`),
  KEY `ix_purchase_references_purchase` (`purchase_id`),
  KEY `ix_purchase_references_same_as` (`provider`,`same_as_id`),
  CONSTRAINT `fk_purchase_references_purchase` FOREIGN KEY (`purchase_id`) REFERENCES `billing_purchases` (`id`),
  CONSTRAINT `ck_purchase_references_one` CHECK (((`purchase_id` is null) <> (`same_as_id` is null)))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='the provider''s ids of payments';

CREATE TABLE `billing_purchases` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `subject_type` enum('billable_entity') NOT NULL DEFAULT 'billable_entity',
  `subject_id` bigint unsigned NOT NULL,
  `provider` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `provider_payment_id` varchar(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'invoice or payment: two events of one payment are one purchase',
  `event_id` bigint unsigned DEFAULT NULL COMMENT 'the event that made it; null: bootstrap',
  `status` enum('paid','partially_refunded','refunded','voided') NOT NULL,
  `currency` char(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'ISO 4217, lower case as the provider writes it',
  `paid_minor_units` bigint NOT NULL COMMENT 'money, in the currency''s smallest unit',
  `refunded_minor_units` bigint NOT NULL DEFAULT '0',
  `period_start_at` datetime(3) DEFAULT NULL COMMENT 'UTC; the paid period of a plan',
  `period_end_at` datetime(3) DEFAULT NULL COMMENT 'UTC; end excluded',
  `purchased_at` datetime(3) NOT NULL COMMENT 'UTC',
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  `voided_at` datetime(3) DEFAULT NULL COMMENT 'UTC; when an operator took all of it back',
  `voided_by` varchar(128) DEFAULT NULL COMMENT 'who did',
  `void_reason` varchar(255) DEFAULT NULL COMMENT 'and why',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_purchases_provider_payment` (`provider`,`provider_payment_id`),
  KEY `ix_purchases_subject` (`subject_id`,`id`),
  KEY `ix_purchases_event` (`event_id`),
  CONSTRAINT `fk_purchases_event` FOREIGN KEY (`event_id`) REFERENCES `billing_events` (`id`),
  CONSTRAINT `fk_purchases_subject` FOREIGN KEY (`subject_id`) REFERENCES `billable_entities` (`id`),
  CONSTRAINT `ck_purchases_money` CHECK (((`paid_minor_units` >= 0) and (`refunded_minor_units` between 0 and `paid_minor_units`))),
  CONSTRAINT `ck_purchases_period` CHECK ((`period_end_at` > `period_start_at`)),
  CONSTRAINT `ck_purchases_void` CHECK ((((`status` = _utf8mb4'voided') = (`voided_at` is not null)) and ((`voided_at` is null) = (`voided_by` is null)) and ((`voided_at` is null) = (`void_reason` is null))))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='what was bought';

CREATE TABLE `billing_refunds` (
  `provider` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'stripe',
  `provider_charge_id` varchar(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'ch_…',
  `reference_id` varchar(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'an id of the payment that was charged: pi_…, in_…, else the charge',
  `currency` char(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'ISO 4217, lower case as the provider writes it',
  `refunded_minor_units` bigint NOT NULL COMMENT 'money, in the currency''s smallest unit; never falls',
  `event_id` bigint unsigned NOT NULL COMMENT 'the event that said so last',
  `purchase_id` bigint unsigned DEFAULT NULL COMMENT 'whose grants it took back; null: not heard of yet',
  `updated_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`provider`,`provider_charge_id`),
  KEY `ix_refunds_reference` (`provider`,`reference_id`),
  KEY `ix_refunds_purchase` (`purchase_id`),
  KEY `ix_refunds_event` (`event_id`),
  CONSTRAINT `fk_refunds_event` FOREIGN KEY (`event_id`) REFERENCES `billing_events` (`id`),
  CONSTRAINT `fk_refunds_purchase` FOREIGN KEY (`purchase_id`) REFERENCES `billing_purchases` (`id`),
  CONSTRAINT `ck_refunds_money` CHECK ((`refunded_minor_units` >= 0))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='refunds';

CREATE TABLE `billing_resource_changes` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `subject_type` enum('billable_entity') NOT NULL DEFAULT 'billable_entity',
  `subject_id` bigint unsigned NOT NULL,
  `definition_id` int unsigned NOT NULL,
  `usage_event_key` varchar(128) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL COMMENT 'the caller''s key; null: an absolute count, which needs none',
  `change_kind` enum('consume','hold_commit','release','adapter','repair_recount') NOT NULL,
  `amount` bigint NOT NULL COMMENT 'how many more; below 0: fewer',
  `reason_code` varchar(64) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `occurred_at` datetime(3) NOT NULL COMMENT 'UTC; when the caller says it happened, else posted_at',
  `posted_at` datetime(3) NOT NULL COMMENT 'UTC; when it was decided',
  `segment_no` int unsigned NOT NULL COMMENT 'the segment it was made in; 0: there was no balance yet',
  `consumed_after` bigint NOT NULL COMMENT 'the count with this change',
  `left_after` bigint NOT NULL COMMENT 'left_amount with this change',
  `held_after` bigint NOT NULL COMMENT 'held_amount then',
  `next_change_at` datetime(3) DEFAULT NULL COMMENT 'UTC; the next boundary, as known then',
  `content_sha256` binary(32) DEFAULT NULL COMMENT 'of what was asked for; null: an absolute count',
  `metadata` json DEFAULT NULL COMMENT 'the caller''s own; the engine never reads it',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_resource_changes_key` (`subject_id`,`definition_id`,`usage_event_key`),
  KEY `ix_resource_changes_subject` (`subject_id`,`definition_id`,`id`),
  CONSTRAINT `ck_resource_changes_count` CHECK ((`consumed_after` between 0 and 9007199254740991)),
  CONSTRAINT `ck_resource_changes_key` CHECK ((((`change_kind` in (_utf8mb4'adapter',_utf8mb4'repair_recount')) = (`usage_event_key` is null)) and ((`usage_event_key` is null) = (`content_sha256` is null))))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='ledger: counts of resources over time';

CREATE TABLE `billing_resource_snapshots` (
  `subject_type` enum('billable_entity') NOT NULL DEFAULT 'billable_entity',
  `subject_id` bigint unsigned NOT NULL,
  `definition_id` int unsigned NOT NULL,
  `resource_count` bigint NOT NULL,
  `counted_at` datetime(3) NOT NULL COMMENT 'UTC',
  `counted_by` enum('adapter','hold','release','repair_recount') NOT NULL COMMENT 'what wrote the count',
  PRIMARY KEY (`subject_id`,`definition_id`),
  KEY `ix_snapshots_definition` (`definition_id`),
  CONSTRAINT `fk_snapshots_definition` FOREIGN KEY (`definition_id`) REFERENCES `billing_entitlement_definitions` (`id`),
  CONSTRAINT `ck_snapshots_count` CHECK ((`resource_count` between 0 and 9007199254740991))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='counts of resources';

CREATE TABLE `consumable_routines` (
  `routine` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'Name of the procedure; the stem of its file in sql/',
  `content_sha256` char(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'SHA-256 of the file, lower-case hex',
  `server_sha256` char(64) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL COMMENT 'SHA-256 of what the server kept right after installing; NULL when the installing account could not read it',
  `release_version` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'Release of the program that installed it, such as 0.1.0',
  `installed_at` datetime(3) NOT NULL COMMENT 'When it was installed, UTC',
  `installed_by` varchar(128) NOT NULL COMMENT 'Account that installed it, user@host',
  PRIMARY KEY (`routine`),
  CONSTRAINT `ck_routines_content_sha256` CHECK (regexp_like(`content_sha256`,_utf8mb4'^[0-9a-f]{64}$',_utf8mb4'c')),
  CONSTRAINT `ck_routines_server_sha256` CHECK (regexp_like(`server_sha256`,_utf8mb4'^[0-9a-f]{64}$',_utf8mb4'c'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='The registry of deployed procedures, written by consumable migrate alone';

CREATE TABLE `scaffold_annuity_calculations` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `subject_id` bigint unsigned NOT NULL,
  `usage_event_key` varchar(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the key of the use that paid for it',
  `inputs` json NOT NULL,
  `result` decimal(30,10) NOT NULL,
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_annuity_calculations_key` (`subject_id`,`usage_event_key`),
  KEY `ix_annuity_calculations_subject` (`subject_id`,`id`),
  CONSTRAINT `fk_annuity_calculations_subject` FOREIGN KEY (`subject_id`) REFERENCES `billable_entities` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='example: history of calculations';

CREATE TABLE `scaffold_projects` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `subject_id` bigint unsigned NOT NULL,
  `name` varchar(160) NOT NULL,
  `status` enum('active','archived') NOT NULL DEFAULT 'active',
  `usage_event_key` varchar(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the key of the request that made it',
  `content_sha256` binary(32) NOT NULL COMMENT 'of what that request asked for: the same key with other content is a conflict',
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  `updated_at` datetime(3) NOT NULL COMMENT 'UTC',
  `deleted_at` datetime(3) DEFAULT NULL COMMENT 'UTC; the row stays, as its key must: a late retry would make the project again',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_projects_key` (`subject_id`,`usage_event_key`),
  KEY `ix_projects_subject` (`subject_id`,`status`),
  CONSTRAINT `fk_projects_subject` FOREIGN KEY (`subject_id`) REFERENCES `billable_entities` (`id`),
  CONSTRAINT `ck_projects_deleted` CHECK (((`deleted_at` is null) or (`status` = _utf8mb4'archived')))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='example: projects';

CREATE TABLE `workspaces` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `slug` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'name in URLs, lower case',
  `name` varchar(160) NOT NULL COMMENT 'name that people see',
  `created_at` datetime(3) NOT NULL COMMENT 'UTC',
  `updated_at` datetime(3) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_workspaces_slug` (`slug`),
  CONSTRAINT `ck_workspaces_slug` CHECK (regexp_like(`slug`,_utf8mb4'^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?\\z'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='tenants';
