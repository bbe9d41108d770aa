//! `/` and `/console/…`: the console's own files.

use std::collections::BTreeSet;

use reqwest::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS,
};
use reqwest::{Method, Response};

use crate::law::{files, read};
use crate::support::gateway::{TestGateway, refusal};

async fn get(gateway: &TestGateway, path: &str) -> Response {
    gateway.request(Method::GET, path).send().await.unwrap()
}

/// A header's text.
fn header(response: &Response, name: reqwest::header::HeaderName) -> String {
    response.headers()[name].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_page_is_there_and_lets_nothing_else_in() {
    let gateway = TestGateway::start().await;
    let page = get(&gateway, "/").await;
    assert_eq!(page.status(), 200);
    assert_eq!(header(&page, CONTENT_TYPE), "text/html; charset=utf-8");
    assert_eq!(header(&page, CACHE_CONTROL), "no-cache");
    assert_eq!(header(&page, X_CONTENT_TYPE_OPTIONS), "nosniff");
    let policy = header(&page, CONTENT_SECURITY_POLICY);
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    assert!(
        policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let tag = header(&page, ETAG);
    let text = page.text().await.unwrap();
    for inline in ["<script>", "<style", " style=", " onclick="] {
        assert!(!text.contains(inline), "{inline}");
    }

    for tags in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
        let request = gateway.request(Method::GET, "/").header("If-None-Match", &tags);
        let unchanged = request.send().await.unwrap();
        assert_eq!(
            (unchanged.status().as_u16(), header(&unchanged, ETAG)),
            (304, tag.clone())
        );
        assert_eq!(unchanged.text().await.unwrap(), "");
    }
    let changed = gateway.request(Method::GET, "/").header("If-None-Match", "\"other\"");
    assert_eq!(changed.send().await.unwrap().status(), 200);

    // As monitors look.
    let head = gateway.request(Method::HEAD, "/").send().await.unwrap();
    assert_eq!((head.status().as_u16(), header(&head, ETAG)), (200, tag));
    assert_eq!(header(&head, CONTENT_LENGTH), text.len().to_string());
    let post = gateway.request(Method::POST, "/").send().await.unwrap();
    assert_eq!(
        (post.status().as_u16(), header(&post, ALLOW)),
        (405, "GET, HEAD".into())
    );
}

#[tokio::test]
async fn every_file_that_is_named_is_served_as_what_it_is() {
    let gateway = TestGateway::start().await;
    let mut open = vec!["/".to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(path) = open.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let response = get(&gateway, &path).await;
        assert_eq!(response.status(), 200, "{path}");
        let content_type = header(&response, CONTENT_TYPE);
        let kind = match path.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(content_type, kind, "{path}");
        let text = response.text().await.unwrap();
        open.extend(
            text.split('"')
                .filter(|part| part.starts_with("/console/"))
                .map(str::to_owned),
        );
        let folder = path.rsplit_once('/').unwrap().0;
        for module in text.split(" from '").skip(1).filter_map(|rest| rest.split('\'').next()) {
            if let Some(file) = module.strip_prefix("./") {
                open.push(format!("{folder}/{file}"));
            } else if let Some(file) = module.strip_prefix("../client/") {
                open.push(format!("/console/client/{file}"));
            }
        }
    }
    let served = files("src/console/page", &["html", "css", "js", "svg"]);
    for file in served {
        let path = file.replacen("src", "", 1);
        let path = if path == "/console/page/index.html" { "/" } else { &path };
        assert!(seen.contains(path), "nothing names {file}");
        assert!(read(&file).lines().count() <= 400, "{file} is longer than 400 lines");
    }
    assert!(seen.contains("/console/client/consumable.js"));
}

#[tokio::test]
async fn another_path_is_answered_as_ever() {
    let gateway = TestGateway::start().await;
    for path in [
        "/console",
        "/console/",
        "/console/page",
        "/console/page/none.js",
        "/console/client/test/gateway.test.js",
        "/console/page//index.html",
        "/index.html",
        "/favicon.ico",
    ] {
        let refused = refusal(gateway.request(Method::GET, path)).await;
        assert_eq!((refused.0, refused.1.as_str()), (404, "NOT_FOUND"), "{path}");
    }
    for path in ["/", "/console/page/main.js"] {
        let refused = refusal(gateway.request(Method::POST, path)).await;
        assert_eq!((refused.0, refused.1.as_str()), (405, "METHOD_NOT_ALLOWED"), "{path}");
    }
}
