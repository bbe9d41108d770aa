//! `/api/console/billing/products`: products, and what they grant.

use std::sync::Arc;

use serde::Serialize;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

use super::super::Gateway;
use super::super::caller::Needs;
use super::super::problem::Problem;
use super::super::request::{Answer, Request, json, request};
use super::super::views::List;
use super::super::wire::Fields;
use super::catalogue::{ItemView, edited, expected_version, tagged};
use crate::procedures::billing::catalogue::{self, EditFields, Item};

/// The routes of products.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let request = request(gateway);
    let products = path!("api" / "console" / "billing" / "products")
        .and(request.clone())
        .then(|request: Request| async move {
            match request.method().as_str() {
                "GET" => request.answer("GET", list).await,
                "POST" => request.answer("POST", make).await,
                _ => Problem::method("GET, POST").into_response(),
            }
        });
    let product = path!("api" / "console" / "billing" / "products" / u32)
        .and(request)
        .then(|product_id, request: Request| async move {
            match request.method().as_str() {
                "GET" => request.answer("GET", |request| find(request, product_id)).await,
                "PATCH" => request.answer("PATCH", |request| edit(request, product_id)).await,
                _ => Problem::method("GET, PATCH").into_response(),
            }
        });
    products.or(product).unify().boxed()
}

#[derive(Serialize)]
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

async fn make(mut request: Request) -> Answer {
    let caller = request.caller(Needs::Admin).await?;
    let fields: Fields = request.json().await?;
    let idempotency_key = request.idempotency_key()?;
    let edit = EditFields {
        id: None,
        fields: &fields.0,
        expected_version: None,
        idempotency_key: idempotency_key.as_deref(),
        created_by: &caller.signature(),
    };
    edited(catalogue::put_product(&request.gateway.database, edit).await?, answer)
}

async fn edit(mut request: Request, product_id: u32) -> Answer {
    let caller = request.caller(Needs::Admin).await?;
    let expected_version = expected_version(&request)?;
    let fields: Fields = request.json().await?;
    let idempotency_key = request.idempotency_key()?;
    let edit = EditFields {
        id: Some(product_id),
        fields: &fields.0,
        expected_version,
        idempotency_key: idempotency_key.as_deref(),
        created_by: &caller.signature(),
    };
    edited(catalogue::put_product(&request.gateway.database, edit).await?, answer)
}
