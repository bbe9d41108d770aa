//! By which of the provider's ids the catalogue knows what is sold.

use mysql_async::prelude::Queryable;

use crate::support::shop::{Event, Shop, VERSIONS};

#[tokio::test]
async fn a_product_of_the_provider_stands_for_its_prices_that_are_not_named() {
    for version in VERSIONS {
        let mut shop = Shop::open().await;
        shop.session
            .query_drop(
                "UPDATE billing_provider_prices SET provider_price_id = REPLACE(provider_price_id, 'price_', 'prod_')
                  WHERE provider_price_id IN ('price_basic', 'price_pack')",
            )
            .await
            .unwrap();
        let product = |event: Event, lines: &str, line: usize, name: &str| {
            let parts = match (version == VERSIONS[0], lines) {
                (true, "lines") => "pricing/price_details",
                _ => "price",
            };
            event.with(&format!("/{lines}/data/{line}/{parts}/product"), name)
        };
        let subscription = Event::of(version, "customer.subscription.updated");
        let subscription = product(subscription, "items", 0, "prod_basic");
        shop.applies(&subscription).await;
        let mut invoice = Event::of(version, "invoice.paid");
        for (line, name) in ["prod_basic", "prod_pack"].into_iter().enumerate() {
            invoice = product(invoice, "lines", line, name);
        }
        shop.applies(&invoice).await;
        assert_eq!(shop.available().await, [120, 1050, 8], "{version}");
        // A price that is named goes before its product.
        let session = Event::of(version, "checkout.session.completed.line_items")
            .with("/line_items/data/0/price/product", "prod_pack")
            .with("/line_items/data/1/price/product", "prod_pack");
        shop.applies(&session).await;
        assert_eq!(
            shop.available().await,
            [330, 1150, 14],
            "2 packs and 1 extra, {version}"
        );
        shop.end().await;
    }
}
