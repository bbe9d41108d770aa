//! `/` and `/console/…`: the console in a browser. Files that are compiled into the program, as they are in `src/console/`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::filters::path::Tail;
use warp::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply, Response};

use super::Gateway;
use super::problem::{Problem, Transport};
use super::request::{Answer, Request, first_of, request};

static PAGE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/console/page");

/// The client that the page stands on; the rest of its folder is its tests.
const CLIENT: &[(&str, &str)] = &[
    ("client/cache.js", include_str!("../console/client/cache.js")),
    ("client/changes.js", include_str!("../console/client/changes.js")),
    ("client/consumable.js", include_str!("../console/client/consumable.js")),
    ("client/events.js", include_str!("../console/client/events.js")),
    ("client/transport.js", include_str!("../console/client/transport.js")),
];

/// What `/` answers with.
const INDEX: &str = "page/index.html";

/// Nothing of the page comes from elsewhere, nor goes there, and no page of others shows it inside itself. The chart sets its own places as styles
/// of its elements, by the program, which needs no permission.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

/// The kinds of files there are.
const TYPES: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain; charset=utf-8"),
];

struct File {
    text: &'static str,
    content_type: HeaderValue,
    etag: HeaderValue,
}

static FILES: LazyLock<HashMap<String, File>> = LazyLock::new(|| {
    let mut files = HashMap::new();
    let mut add = |name: String, text: &'static str| {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        let known = TYPES.iter().find(|(known, _)| Some(*known) == ending);
        let digest = Sha256::digest(text);
        let tag: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let file = File {
            text,
            content_type: HeaderValue::from_static(known.map_or("text/plain; charset=utf-8", |(_, kind)| *kind)),
            etag: HeaderValue::from_str(&format!("\"{tag}\"")).expect("digits in quotes are visible ASCII"),
        };
        files.insert(name, file);
    };
    for (name, text) in CLIENT {
        add((*name).to_owned(), text);
    }
    for file in PAGE.files().chain(PAGE.dirs().flat_map(Dir::files)) {
        if let (Some(name), Some(text)) = (file.path().to_str(), file.contents_utf8()) {
            add(format!("page/{name}"), text);
        }
    }
    files
});

/// The routes of the family.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let request = request(gateway);
    let index = warp::path::end()
        .and(request.clone())
        .then(|request: Request| request.show(|request| file(request, INDEX.to_owned())));
    let others =
        warp::path("console")
            .and(warp::path::tail())
            .and(request)
            .then(|tail: Tail, request: Request| async move {
                let name = tail.as_str().to_owned();
                match FILES.contains_key(&name) {
                    true => request.show(|request| file(request, name)).await,
                    false => super::request::not_found(),
                }
            });
    first_of([index.boxed(), others.boxed()])
}

async fn file(request: Request, name: String) -> Answer {
    let Some(file) = FILES.get(&name) else {
        return Err(Problem::transport(Transport::NotFound, ""));
    };
    // A browser asks each time whether the file is still the one it has: the next release's page is never half an old one.
    let known = request.header("if-none-match").ok().flatten();
    let is_known = known.is_some_and(|tags| {
        tags.split(',')
            .any(|tag| tag.trim().trim_start_matches("W/") == file.etag)
    });
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => file.text.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, file.etag.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if !is_known {
        headers.insert(CONTENT_TYPE, file.content_type.clone());
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_known_type() {
        for (name, file) in FILES.iter() {
            let ending = name.rsplit_once('.').map(|(_, ending)| ending);
            assert!(TYPES.iter().any(|(known, _)| Some(*known) == ending), "{name}");
            assert!(!file.text.is_empty(), "{name}");
        }
        assert!(FILES.contains_key(INDEX) && FILES.contains_key("client/consumable.js"));
    }
}
