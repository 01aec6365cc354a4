//! What each route records, against the one table of what is audited: a route without a row here fails.

use crate::{
    domain::audit::acts::{Recorded, recorded},
    http::routes::{self, Access},
};

/// What a route records beside the use of its permission.
const OWN_ACTS: &[(&str, &str, &str)] = &[
    ("POST", "/analytics/v1/orgs/{orgId}/api-keys", "api_key.create"),
    ("POST", "/analytics/v1/orgs/{orgId}/api-keys/{keyId}/revoke", "api_key.revoke"),
    ("PUT", "/analytics/v1/orgs/{orgId}/names/{dimension}/{id}", "name.set"),
    ("DELETE", "/analytics/v1/orgs/{orgId}/names/{dimension}/{id}", "name.delete"),
    ("POST", "/analytics/v1/orgs/{orgId}/dead-letters/{id}/replay", "dead_letter.correct"),
    ("POST", "/analytics/v1/orgs/{orgId}/exports", "export.create"),
    ("POST", "/analytics/v1/orgs/{orgId}/exports/{jobId}/cancel", "export.cancel"),
    ("GET", "/analytics/v1/orgs/{orgId}/exports/{jobId}/download", "export.download"),
    ("GET", "/analytics/v1/downloads/{key}", "export.fetch"),
    ("POST", "/ops/actors/{name:[a-z0-9/-]+}/restart", "actor.restart"),
    ("POST", "/ops/actors/{name:[a-z0-9/-]+}/drill", "actor.drill"),
];

/// What may be read or checked by anybody, or with any credential, and belongs to no org.
const UNRECORDED: &[(&str, &str)] = &[
    ("GET", "/analytics/v1/me"),
    ("GET", "/openapi.json"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/ops/actors"),
    ("GET", "/ops/partitions"),
    ("GET", "/ops/supervision"),
    ("GET", "/ops/data-life"),
    ("GET", "/ops/me"),
];

#[test]
fn every_route_records_what_the_table_says() {
    let all: Vec<_> = routes::rest().into_iter().chain(routes::operations_port()).collect();
    for route in &all {
        let what = format!("{} {}", route.method, route.path);
        let own: Vec<&str> = OWN_ACTS
            .iter()
            .filter(|(method, path, _)| *method == route.method.as_str() && *path == route.path)
            .map(|(.., action)| *action)
            .collect();
        for action in &own {
            assert!(matches!(recorded(action), Some(Recorded::Always | Recorded::Afterwards)), "{what}: {action}");
        }
        let unrecorded = UNRECORDED.contains(&(route.method.as_str(), route.path));
        match route.access {
            Access::Org(permission) | Access::Body(permission) => {
                assert_eq!(recorded(permission.action()), Some(Recorded::OutsideOwnOrgs), "{what}");
            }
            Access::Anywhere(permission) => {
                assert_eq!(recorded(permission.action()), Some(Recorded::Always), "{what}");
            }
            Access::Operator => assert!(!own.is_empty() && recorded("actors.operate").is_some(), "{what}"),
            Access::Open | Access::Authenticated => assert_ne!(own.is_empty(), !unrecorded, "{what}"),
        }
        // Every change is recorded, but for what only checks or has a ledger of its own.
        let checks = ["/analytics/v1/events", "/analytics/v1/events/validate"].contains(&route.path)
            || route.path.ends_with("/verify");
        assert!(route.method == "GET" || !own.is_empty() || checks, "{what}: who did it?");
    }
    let known = |method: &str, path: &str| all.iter().any(|route| route.method == method && route.path == path);
    assert!(OWN_ACTS.iter().all(|(method, path, _)| known(method, path)));
    assert!(UNRECORDED.iter().all(|(method, path)| known(method, path)));
}
