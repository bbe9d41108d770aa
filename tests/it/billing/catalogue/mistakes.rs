//! Each mistake that can be made, and what is said of it. Nothing is written.

use serde_json::{Value as Json, json};

use super::Kind::{self, Definition, Plan, Product};
use super::{everything, made, put, start};

/// What is sent, and what is said: `path: text`, in the order in which it is told; a code before it that is not `VALIDATION_FAILED`.
async fn tell(kind: Kind, id: Option<u32>, whole: impl Fn(&Json) -> Json, cases: &[(Json, &[&str])]) {
    let (_database, mut session) = start().await;
    let plan = json!({"code": "taken", "name": "Taken", "providerPriceIds": ["price_taken"]});
    made(&mut session, Plan, &plan).await;
    made(&mut session, Product, &json!({"code": "taken", "name": "Taken"})).await;
    let before = everything(&mut session).await;
    for (part, said) in cases {
        let fields = whole(part);
        let edited = put(&mut session, kind, id, &fields, None).await;
        let problems: Vec<_> = edited
            .problems
            .iter()
            .map(|problem| problem.strip_prefix("VALIDATION_FAILED ").unwrap_or(problem))
            .collect();
        assert_eq!(problems, *said, "{fields}");
        assert_eq!(edited.thing.is_some(), id.is_some());
    }
    assert_eq!(everything(&mut session).await, before);
}

#[tokio::test]
#[rustfmt::skip]
async fn of_a_plans_entitlements() {
    let entry = |value: Json| json!([{"code": "ai.credits", "valueJson": value}]);
    tell(Plan, None, |entitlements| json!({"code": "new", "name": "New", "entitlements": entitlements}), &[
        (json!(null), &["entitlements: must be an array of at most 100 entries"]),
        (json!({}), &["entitlements: must be an array of at most 100 entries"]),
        (json!(vec![json!({}); 101]), &["entitlements: must be an array of at most 100 entries"]),
        (json!([7]), &["entitlements[0]: must be an object with code and valueJson"]),
        (json!([null]), &["entitlements[0]: must be an object with code and valueJson"]),
        (json!([{}]), &["entitlements[0].code: must be the code of an entitlement definition", "entitlements[0].valueJson: must be an object with an amount"]),
        (json!([{"code": 7, "valueJson": []}]), &["entitlements[0].code: must be the code of an entitlement definition", "entitlements[0].valueJson: must be an object with an amount"]),
        (json!([{"code": "AI.credits", "valueJson": {"amount": 1}}]), &["UNKNOWN_ENTITLEMENT_CODE entitlements[0].code: no entitlement definition has this code"]),
        (json!([{"code": "ai.credits", "valueJson": {"amount": 1}, "amount": 1}]), &["entitlements[0].amount: is not known here: code, schemaVersion and valueJson are"]),
        (json!([{"code": "ai.credits", "valueJson": {"amount": 1}, "schemaVersion": 2}]), &["entitlements[0].schemaVersion: must be 1: no other version is known"]),
        (json!([{"code": "ai.credits", "valueJson": {"amount": 1}, "schemaVersion": "1"}]), &["entitlements[0].schemaVersion: must be 1: no other version is known"]),
        (entry(json!({})), &["entitlements[0].valueJson: must have a positive whole number as amount, limit or max"]),
        (entry(json!({"amount": 0, "limit": -1, "max": 1.5})), &["entitlements[0].valueJson: must have a positive whole number as amount, limit or max"]),
        (entry(json!({"amount": "5", "limit": true, "max": [5]})), &["entitlements[0].valueJson: must have a positive whole number as amount, limit or max"]),
        (entry(json!({"limit": 9_007_199_254_740_992_u64})), &["entitlements[0].valueJson.limit: must be at most 9007199254740991"]),
        (entry(json!({"max": u64::MAX})), &["entitlements[0].valueJson.max: must be at most 9007199254740991"]),
        (json!([{"code": "workspace.access", "valueJson": {"max": 2}}]), &["entitlements[0].valueJson.max: must be 1: a state is on or off"]),
        (entry(json!({"amount": 1, "Limit": 2})), &["entitlements[0].valueJson.Limit: is not known here: amount, limit, max, grantKind, effectivePolicy, durationPolicy and durationDays are"]),
        (entry(json!({"amount": 1, "grantKind": "topup"})), &["entitlements[0].valueJson.grantKind: must be plan_base or plan_bonus"]),
        (entry(json!({"amount": 1, "grantKind": 1})), &["entitlements[0].valueJson.grantKind: must be plan_base or plan_bonus"]),
        (entry(json!({"amount": 1, "effectivePolicy": "now"})), &["entitlements[0].valueJson.effectivePolicy: must be on_assignment_current or on_period_paid"]),
        (entry(json!({"amount": 1, "durationPolicy": "ever"})), &["entitlements[0].valueJson.durationPolicy: must be while_current, period_window or fixed_duration"]),
        (entry(json!({"amount": 1, "durationPolicy": "fixed_duration"})), &["entitlements[0].valueJson.durationDays: is required with fixed_duration"]),
        (entry(json!({"amount": 1, "durationDays": 30})), &["entitlements[0].valueJson.durationDays: may be given with fixed_duration only"]),
        (entry(json!({"amount": 1, "durationPolicy": "fixed_duration", "durationDays": 0})), &["entitlements[0].valueJson.durationDays: must be a whole number from 1 to 36500"]),
        (entry(json!({"amount": 1, "durationPolicy": "fixed_duration", "durationDays": 36_501})), &["entitlements[0].valueJson.durationDays: must be a whole number from 1 to 36500"]),
        (entry(json!({"amount": 1, "durationPolicy": "fixed_duration", "durationDays": 30.0})), &["entitlements[0].valueJson.durationDays: must be a whole number from 1 to 36500"]),
        (json!([{"code": "ai.credits", "valueJson": {"amount": 1}}, {"code": "projects.max", "valueJson": {"amount": 1}},
                {"code": "ai.credits", "valueJson": {"limit": 2, "grantKind": "plan_base"}}]), &["entitlements[2].code: has the same grantKind in entitlements[0]"]),
        // Whatever is wrong with the fields comes before what is not known.
        (json!([{"code": "no.such", "valueJson": {"amount": 1}}, {"code": "ai.credits", "valueJson": 1}]),
         &["entitlements[1].valueJson: must be an object with an amount", "UNKNOWN_ENTITLEMENT_CODE entitlements[0].code: no entitlement definition has this code"]),
    ]).await;
}

#[tokio::test]
#[rustfmt::skip]
async fn of_a_products_entitlements() {
    let entry = |fields: Json| {
        let mut entry = json!({"code": "ai.credits", "amount": 5, "grantKind": "one_off_topup"});
        entry.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!([entry])
    };
    tell(Product, None, |entitlements| json!({"code": "new", "name": "New", "entitlements": entitlements}), &[
        (json!("x"), &["entitlements: must be an array of at most 100 entries"]),
        (json!([[]]), &["entitlements[0]: must be an object with code, amount and grantKind"]),
        (json!([{}]), &["entitlements[0].code: must be the code of an entitlement definition", "entitlements[0].amount: must be a whole number from 1 to 9007199254740991",
                        "entitlements[0].grantKind: must be one_off_topup or timeboxed_addon"]),
        (entry(json!({"code": "no.such"})), &["UNKNOWN_ENTITLEMENT_CODE entitlements[0].code: no entitlement definition has this code"]),
        (entry(json!({"amount": 0})), &["entitlements[0].amount: must be a whole number from 1 to 9007199254740991"]),
        (entry(json!({"amount": 5.0})), &["entitlements[0].amount: must be a whole number from 1 to 9007199254740991"]),
        (entry(json!({"amount": 9_007_199_254_740_992_u64})), &["entitlements[0].amount: must be a whole number from 1 to 9007199254740991"]),
        (entry(json!({"code": "workspace.access", "amount": 2})), &["entitlements[0].amount: must be 1: a state is on or off"]),
        (entry(json!({"grantKind": "plan_base"})), &["entitlements[0].grantKind: must be one_off_topup or timeboxed_addon"]),
        (entry(json!({"durationDays": 1})), &["entitlements[0].durationDays: may be given with timeboxed_addon only"]),
        (entry(json!({"grantKind": "timeboxed_addon"})), &["entitlements[0].durationDays: is required with timeboxed_addon"]),
        (entry(json!({"grantKind": "timeboxed_addon", "durationDays": null})), &["entitlements[0].durationDays: is required with timeboxed_addon"]),
        (entry(json!({"grantKind": "timeboxed_addon", "durationDays": 36_501})), &["entitlements[0].durationDays: must be a whole number from 1 to 36500"]),
        (entry(json!({"grantKind": "timeboxed_addon", "durationDays": "60"})), &["entitlements[0].durationDays: must be a whole number from 1 to 36500"]),
        (entry(json!({"metadataJson": [1]})), &["entitlements[0].metadataJson: must be an object of up to 2048 bytes"]),
        (entry(json!({"metadataJson": {"a": "x".repeat(2_048)}})), &["entitlements[0].metadataJson: must be an object of up to 2048 bytes"]),
        (entry(json!({"valueJson": {}})), &["entitlements[0].valueJson: is not known here: code, amount, grantKind, durationDays and metadataJson are"]),
        (json!([{"code": "ai.credits", "amount": 1, "grantKind": "one_off_topup"}, {"code": "ai.credits", "amount": 2, "grantKind": "one_off_topup"}]),
         &["entitlements[1].code: has the same grantKind in entitlements[0]"]),
    ]).await;
}

#[tokio::test]
#[rustfmt::skip]
async fn of_what_plans_and_products_have_in_common() {
    for kind in [Plan, Product] {
        let name = if kind == Plan { "plan" } else { "product" };
        let taken = format!("CODE_TAKEN code: belongs to another {name}");
        tell(kind, None, Json::clone, &[
            (json!({}), &["code: is required", "name: is required"]),
            (json!({"code": "taken", "name": "x"}), &[taken.as_str()]),
            (json!({"code": "a b", "name": " "}), &["code: must be 1 to 64 of a-z, 0-9, _, . and -, a letter first", "name: must be 1 to 160 characters, not only blanks"]),
            (json!({"code": null, "name": null}), &["code: must be 1 to 64 of a-z, 0-9, _, . and -, a letter first", "name: must be 1 to 160 characters, not only blanks"]),
            (json!({"code": "c".repeat(65), "name": "ü".repeat(161)}), &["code: must be 1 to 64 of a-z, 0-9, _, . and -, a letter first", "name: must be 1 to 160 characters, not only blanks"]),
            (json!({"code": "new\n", "name": "x"}), &["code: must be 1 to 64 of a-z, 0-9, _, . and -, a letter first"]),
            (json!({"code": "new", "name": "x", "archived": null}), &["archived: must be true or false"]),
            (json!({"code": "new", "name": "x", "archivedAt": null}), &["archivedAt: is not known here: code, name, archived, providerPriceIds and entitlements are"]),
            (json!({"code": "new", "name": "x", "providerPriceIds": "price"}), &["providerPriceIds: must be an array of at most 100 ids"]),
            (json!({"code": "new", "name": "x", "providerPriceIds": vec!["p"; 101]}), &["providerPriceIds: must be an array of at most 100 ids"]),
            (json!({"code": "new", "name": "x", "providerPriceIds": ["", "p".repeat(256), null]}),
             &["providerPriceIds[0]: must be 1 to 255 visible ASCII characters", "providerPriceIds[1]: must be 1 to 255 visible ASCII characters",
               "providerPriceIds[2]: must be 1 to 255 visible ASCII characters"]),
            (json!({"code": "new", "name": "x", "providerPriceIds": ["a", "b", "a", "a"]}),
             &["providerPriceIds[2]: is providerPriceIds[0] already", "providerPriceIds[3]: is providerPriceIds[0] already"]),
            (json!({"code": "new", "name": "x", "providerPriceIds": ["price_new", "price_taken"]}), &["PRICE_TAKEN providerPriceIds[1]: belongs to the plan taken"]),
        ]).await;
        tell(kind, Some(1), Json::clone, &[
            (json!({"code": "other"}), &["code: cannot be changed: the keys of grants are made from it"]),
            (json!({"code": "Taken"}), &["code: cannot be changed: the keys of grants are made from it"]),
            (json!({"name": null}), &["name: must be 1 to 160 characters, not only blanks"]),
            (json!({"entitlements": null}), &["entitlements: must be an array of at most 100 entries"]),
        ]).await;
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn of_a_definition() {
    let whole = |base: Json| move |fields: &Json| {
        let mut whole = base.clone();
        whole.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        whole
    };
    let known = "is not known here: code, name, description, entitlementType, unit, scale, windowInterval, windowAnchor, aggregationMode, enforcementMode, lockLabel, \
                 resourceCode, isActive and metadata are";
    let unknown = format!("id: {known}");
    tell(Definition, None, Json::clone, &[
        (json!({}), &["code: is required", "name: is required", "entitlementType: is required", "unit: is required"]),
        (json!({"code": 1, "name": 2, "entitlementType": [], "unit": true}), &["code: must be a text", "entitlementType: must be a text", "name: must be a text", "unit: must be a text"]),
    ]).await;
    tell(Definition, None, whole(json!({"code": "new.one", "name": "New", "entitlementType": "balance", "unit": "x"})), &[
        (json!({"id": 7}), &[unknown.as_str()]),
        (json!({"code": "ai.credits"}), &["CODE_TAKEN code: belongs to another definition"]),
        (json!({"code": "a..b"}), &["code: must be 1 to 64 of a-z, 0-9, _ and . between parts, a letter first"]),
        (json!({"code": "a".repeat(65)}), &["code: must be 1 to 64 of a-z, 0-9, _ and . between parts, a letter first"]),
        (json!({"name": "n".repeat(161)}), &["name: must be 1 to 160 characters, not only blanks"]),
        (json!({"description": "d".repeat(1_001)}), &["description: must be at most 1000 characters"]),
        (json!({"entitlementType": "credits"}), &["entitlementType: must be capacity, metered_quota, balance or state"]),
        (json!({"unit": " "}), &["unit: must be 1 to 32 characters, not only blanks"]),
        (json!({"scale": 10}), &["scale: must be a whole number from 0 to 9"]),
        (json!({"scale": null}), &["scale: must be a whole number from 0 to 9"]),
        (json!({"windowInterval": "day", "windowAnchor": "rolling"}), &["windowInterval: may be given for a metered_quota only", "windowAnchor: may be given for a metered_quota only"]),
        (json!({"aggregationMode": "max"}), &["aggregationMode: must be sum for a balance"]),
        (json!({"aggregationMode": "boolean_any_true"}), &["aggregationMode: may be boolean_any_true for a state only"]),
        (json!({"aggregationMode": "avg"}), &["aggregationMode: must be sum, max or boolean_any_true"]),
        (json!({"enforcementMode": "deny"}), &["enforcementMode: must be hard_deny, hard_lock_resource or soft_warn"]),
        (json!({"enforcementMode": "hard_lock_resource"}), &["lockLabel: is required with hard_lock_resource"]),
        (json!({"lockLabel": "over it"}), &["lockLabel: must be 1 to 64 visible ASCII characters"]),
        (json!({"lockLabel": "none"}), &["lockLabel: must not be none, which says that nothing is locked"]),
        (json!({"resourceCode": "things"}), &["resourceCode: may be given for a capacity only"]),
        (json!({"isActive": "yes"}), &["isActive: must be true or false"]),
        (json!({"metadata": "x"}), &["metadata: must be an object of up to 2048 bytes"]),
        (json!({"metadata": {"a": "x".repeat(2_048)}}), &["metadata: must be an object of up to 2048 bytes"]),
    ]).await;
    tell(Definition, None, whole(json!({"code": "new.one", "name": "New", "entitlementType": "metered_quota", "unit": "x"})), &[
        (json!({}), &["windowInterval: is required for a metered_quota"]),
        (json!({"windowInterval": "hour", "windowAnchor": "utc"}), &["windowInterval: must be day, week, month or year", "windowAnchor: must be calendar_utc, billing_period or rolling"]),
        (json!({"windowInterval": "day", "windowAnchor": null}), &["windowAnchor: is required for a metered_quota"]),
    ]).await;
    tell(Definition, None, whole(json!({"code": "new.one", "name": "New", "entitlementType": "state", "unit": "x"})), &[
        (json!({}), &["lockLabel: is required for a state"]),
        (json!({"lockLabel": "off", "aggregationMode": "sum"}), &["aggregationMode: must be boolean_any_true for a state"]),
    ]).await;
    tell(Definition, None, whole(json!({"code": "new.one", "name": "New", "entitlementType": "capacity", "unit": "x"})), &[
        (json!({"resourceCode": "projects"}), &["CODE_TAKEN resourceCode: belongs to another definition"]),
        (json!({"resourceCode": "a/b"}), &["resourceCode: must be 1 to 64 of a-z, 0-9, _, . and -, a letter first"]),
    ]).await;
    let fixed = |field: &str| format!("{field}: cannot be changed: grants and balances stand on it");
    let fixed = ["code", "entitlementType", "windowInterval", "windowAnchor", "aggregationMode", "resourceCode"].map(fixed);
    tell(Definition, Some(2), Json::clone, &[
        (json!({"code": "other"}), &[fixed[0].as_str()]),
        (json!({"entitlementType": "balance"}), &[fixed[1].as_str()]),
        (json!({"windowInterval": ""}), &[fixed[2].as_str()]),
        (json!({"windowAnchor": "rolling"}), &[fixed[3].as_str()]),
        (json!({"aggregationMode": "max"}), &[fixed[4].as_str()]),
        (json!({"resourceCode": "things"}), &[fixed[5].as_str()]),
        (json!({"unit": "", "name": null}), &["name: is required", "unit: must be 1 to 32 characters, not only blanks"]),
        (json!({"enforcementMode": "hard_lock_resource"}), &["lockLabel: is required with hard_lock_resource"]),
    ]).await;
}
