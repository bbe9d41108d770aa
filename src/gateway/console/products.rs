//! `/api/console/billing/products`: products, and what they grant.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json as value};
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

use super::super::Gateway;
use super::super::caller::Needs;
use super::super::description::shapes::{self, Amount, Days};
use super::super::description::{Description, Operation};
use super::super::problem::Problem;
use super::super::request::{Answer, Request, first_of, json, request};
use super::super::views::List;
use super::catalogue::{ItemView, REFUSALS, Written, edited, item_schema, tagged};
use crate::error::Code;
use crate::procedures::billing::catalogue::{self, Item};

/// The routes of products.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let request = request(gateway);
    let products = path!("api" / "console" / "billing" / "products")
        .and(request.clone())
        .then(|request: Request| async move {
            match request.method().as_str() {
                "GET" => request.answer("GET", list).await,
                "POST" => request.answer("POST", |request| write(request, None)).await,
                _ => Problem::method("GET, POST").into_response(),
            }
        });
    let product = path!("api" / "console" / "billing" / "products" / u32)
        .and(request)
        .then(|product_id, request: Request| async move {
            match request.method().as_str() {
                "GET" => request.answer("GET", |request| find(request, product_id)).await,
                "PATCH" => {
                    request
                        .answer("PATCH", |request| write(request, Some(product_id)))
                        .await
                }
                _ => Problem::method("GET, PATCH").into_response(),
            }
        });
    first_of([products.boxed(), product.boxed()])
}

/// What the routes take and answer.
pub(super) fn describe(description: &mut Description) {
    let list = Operation::get(
        "listProducts",
        "/api/console/billing/products",
        "Products, by their ids",
    );
    description.add(
        list.by(Needs::Admin)
            .page_by_id()
            .answers::<List<ItemView>>(200, "A page of products"),
    );
    let make = Operation::post(
        "makeProduct",
        "/api/console/billing/products",
        "Makes a product, with its prices and what it grants",
    );
    let credits = value!({"code": "ai.credits", "amount": 500, "grantKind": "one_off_topup"});
    description.add(
        make.by(Needs::Admin)
            .once()
            .content(schema(true))
            .example(value!({"code": "credits_500", "name": "500 credits", "entitlements": [credits]}))
            .makes::<ProductAnswer>()
            .tagged()
            .refuses(REFUSALS),
    );
    let find = Operation::get("findProduct", "/api/console/billing/products/{productId}", "A product");
    description.add(
        find.by(Needs::Admin)
            .id("productId", 32)
            .answers::<ProductAnswer>(200, "With its version")
            .tagged()
            .refuses(&[Code::ProductNotFound]),
    );
    let edit = Operation::patch(
        "editProduct",
        "/api/console/billing/products/{productId}",
        "Changes what is given of a product",
    );
    description.add(
        edit.by(Needs::Admin)
            .id("productId", 32)
            .once()
            .of_version()
            .content(schema(false))
            .example(value!({"name": "500 credits"}))
            .answers::<ProductAnswer>(200, "As it is now")
            .tagged()
            .refuses(REFUSALS)
            .refuses(&[Code::ProductNotFound]),
    );
}

/// The schema of a product as it is written: what a payment grants for good, or for some days.
fn schema(is_new: bool) -> Value {
    let entitlement = |kind: &str, days: Value, required: &[&str]| {
        let fields = value!({
            "code": {"type": "string", "maxLength": 64},
            "amount": shapes::of::<Amount>(),
            "grantKind": {"const": kind},
            "durationDays": days,
            "metadataJson": {"type": ["object", "null"]},
        });
        shapes::object(fields, required)
    };
    let entitlements = value!({"oneOf": [
        entitlement("one_off_topup", value!({"type": "null"}), &["code", "amount", "grantKind"]),
        entitlement("timeboxed_addon", shapes::of::<Days>(), &["code", "amount", "grantKind", "durationDays"]),
    ]});
    item_schema(entitlements, is_new)
}

#[derive(Serialize, ToSchema)]
struct ProductAnswer {
    product: ItemView,
}

fn answer(product: Item) -> ProductAnswer {
    ProductAnswer {
        product: product.into(),
    }
}

async fn list(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let page = request.page()?;
    let products = catalogue::list_products(&request.gateway.database, page.after, page.limit + 1).await?;
    let products: List<ItemView> = List::new(products, page.limit, |product| product.id.to_string());
    Ok(json(StatusCode::OK, &products))
}

async fn find(request: Request, product_id: u32) -> Answer {
    request.caller(Needs::Admin).await?;
    let product = catalogue::find_product(&request.gateway.database, product_id).await?;
    Ok(tagged(StatusCode::OK, product, answer))
}

async fn write(mut request: Request, product_id: Option<u32>) -> Answer {
    let written = Written::of(&mut request, product_id).await?;
    let outcome = catalogue::put_product(&request.gateway.database, written.edit()).await?;
    edited(outcome, answer)
}
