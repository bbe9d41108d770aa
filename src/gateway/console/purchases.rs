//! `/api/console/billing/purchases`: what was bought. There is no route that makes one: only a signed event does.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json as value;
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

use super::super::Gateway;
use super::super::caller::Needs;
use super::super::description::shapes::{self, Id, Reason};
use super::super::description::{Description, Operation};
use super::super::request::{Answer, Request, first_of, json, request};
use super::super::views::{Instant, List};
use super::super::wire::{Text, text};
use super::whose;
use crate::error::Code;
use crate::procedures::billing::purchases;

/// The routes of purchases.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let request = request(gateway);
    let list = path!("api" / "console" / "billing" / "purchases")
        .and(request.clone())
        .then(|request: Request| request.answer("GET", list));
    let void = path!("api" / "console" / "billing" / "purchases" / u64 / "void")
        .and(request)
        .then(|purchase_id, request: Request| request.answer("POST", move |request| void(request, purchase_id)));
    first_of([list.boxed(), void.boxed()])
}

/// What the routes take and answer.
pub(super) fn describe(description: &mut Description) {
    let list = Operation::get(
        "listPurchases",
        "/api/console/billing/purchases",
        "What was bought, newest first",
    );
    description.add(
        list.by(Needs::Admin)
            .parameter("query", "billableEntityId", "Only by this one", shapes::of::<Id>())
            .page_by_id()
            .answers::<List<Purchase>>(200, "A page of purchases"),
    );
    let void = Operation::post(
        "voidPurchase",
        "/api/console/billing/purchases/{purchaseId}/void",
        "Takes back what a purchase granted",
    );
    description.add(
        void.by(Needs::Admin)
            .id("purchaseId", 64)
            .once()
            .body::<Void>()
            .example(value!({"reason": "A dispute"}))
            .answers::<PurchaseAnswer>(200, "As it is now")
            .refuses(&[Code::PurchaseNotFound]),
    );
}

/// What was bought by one payment. Money is in the currency's smallest unit.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Purchase {
    id: u64,
    billable_entity_id: u64,
    provider: String,
    provider_payment_id: String,
    event_id: Option<u64>,
    /// `paid`, `partially_refunded`, `refunded`, `voided`.
    status: String,
    currency: String,
    paid_minor_units: i64,
    refunded_minor_units: i64,
    period_start_at: Option<Instant>,
    period_end_at: Option<Instant>,
    purchased_at: Instant,
    created_at: Instant,
    voided_at: Option<Instant>,
    voided_by: Option<String>,
    void_reason: Option<String>,
    lines: Vec<Line>,
    /// Prices of its lines that nobody in the catalogue bears: nothing was granted for them.
    unknown_price_ids: Vec<String>,
    grants: Vec<Grant>,
    refunds: Vec<Refund>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PurchaseLine)]
struct Line {
    line_no: u16,
    provider_price_id: String,
    plan_code: Option<String>,
    product_code: Option<String>,
    quantity: u32,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PurchaseGrant)]
struct Grant {
    id: u64,
    /// The grant that the payment made: itself, or what this is the rest of after a refund.
    first_grant_id: u64,
    bought_amount: i64,
    code: String,
    kind: String,
    amount: i64,
    effective_at: Instant,
    expires_at: Option<Instant>,
    revoked_at: Option<Instant>,
    state: String,
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Refund {
    provider_charge_id: String,
    currency: String,
    refunded_minor_units: i64,
    updated_at: Instant,
}

impl From<purchases::Purchase> for Purchase {
    fn from(row: purchases::Purchase) -> Self {
        let head = row.head;
        let is_unknown = |line: &&purchases::PurchaseLine| line.plan_code.is_none() && line.product_code.is_none();
        let unknown = row.lines.iter().filter(is_unknown);
        Purchase {
            unknown_price_ids: unknown.map(|line| line.provider_price_id.clone()).collect(),
            id: head.id,
            billable_entity_id: head.subject_id,
            provider: head.provider,
            provider_payment_id: head.provider_payment_id,
            event_id: head.event_id,
            status: head.status,
            currency: head.currency,
            paid_minor_units: head.paid_minor_units,
            refunded_minor_units: head.refunded_minor_units,
            period_start_at: head.period_start_at.map(Instant),
            period_end_at: head.period_end_at.map(Instant),
            purchased_at: Instant(head.purchased_at),
            created_at: Instant(head.created_at),
            voided_at: head.voided_at.map(Instant),
            voided_by: head.voided_by,
            void_reason: head.void_reason,
            lines: row.lines.into_iter().map(Line::from).collect(),
            grants: row.grants.into_iter().map(Grant::from).collect(),
            refunds: row.refunds.into_iter().map(Refund::from).collect(),
        }
    }
}

impl From<purchases::PurchaseLine> for Line {
    fn from(row: purchases::PurchaseLine) -> Self {
        Line {
            line_no: row.line_no,
            provider_price_id: row.provider_price_id,
            plan_code: row.plan_code,
            product_code: row.product_code,
            quantity: row.quantity,
        }
    }
}

impl From<purchases::PurchaseGrant> for Grant {
    fn from(row: purchases::PurchaseGrant) -> Self {
        Grant {
            id: row.grant_id,
            first_grant_id: row.first_grant_id,
            bought_amount: row.bought_amount,
            code: row.code,
            kind: row.grant_kind,
            amount: row.amount,
            effective_at: Instant(row.effective_at),
            expires_at: row.expires_at.map(Instant),
            revoked_at: row.revoked_at.map(Instant),
            state: row.grant_state,
            reason: row.reason,
        }
    }
}

impl From<purchases::Refund> for Refund {
    fn from(row: purchases::Refund) -> Self {
        Refund {
            provider_charge_id: row.provider_charge_id,
            currency: row.currency,
            refunded_minor_units: row.refunded_minor_units,
            updated_at: Instant(row.updated_at),
        }
    }
}

async fn list(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let page = request.page()?;
    let subject_id = whose(&request)?;
    let database = &request.gateway.database;
    let rows = purchases::list_purchases(database, subject_id, page.after, page.limit + 1).await?;
    let list: List<Purchase> = List::new(rows, page.limit, |purchase| purchase.head.id.to_string());
    Ok(json(StatusCode::OK, &list))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Void {
    #[schema(value_type = Reason)]
    reason: Option<Text<255>>,
}

#[derive(Serialize, ToSchema)]
struct PurchaseAnswer {
    purchase: Purchase,
}

async fn void(mut request: Request, purchase_id: u64) -> Answer {
    let caller = request.caller(Needs::Admin).await?;
    let body: Void = request.json().await?;
    let purchase = purchases::void_purchase(
        &request.gateway.database,
        purchase_id,
        request.idempotency_key()?.as_deref(),
        text(&body.reason),
        &caller.signature(),
    )
    .await?;
    request.gateway.relay.written();
    let purchase = purchase.into();
    Ok(json(StatusCode::OK, &PurchaseAnswer { purchase }))
}
