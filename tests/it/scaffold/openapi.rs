//! The scaffold's paths in `/openapi.json`.

use crate::openapi::described;
use crate::support::gateway::TestGateway;

#[tokio::test]
async fn the_scaffold_describes_its_paths() {
    let gateway = TestGateway::start().await;
    let described = described(&gateway).await;
    for (path, methods) in [
        ("/api/projects", &["GET", "POST"][..]),
        ("/api/projects/{projectId}", &["DELETE", "GET", "PATCH", "PUT"]),
        ("/api/annuityCalculator", &["POST"]),
        ("/api/history", &["GET"]),
    ] {
        assert!(described[path].iter().eq(methods), "{path}: {:?}", described[path]);
    }
}
