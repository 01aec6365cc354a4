//! The contract's table of who may do what, for every route there is: a route without a row here fails.

use actix_web::http::Method;
use serde_json::json;
use uuid::Uuid;

use super::support::*;
use crate::{
    auth::Role::{self, Finance, Operator, OrgAdmin, OrgViewer, Producer, SystemAdmin},
    http::routes,
};

const NOBODY: Uuid = Uuid::from_u128(0xDEAD);

/// What the contract allows each role. System administrators may do everything to every org.
const TABLE: &[(&str, &str, Who)] = &[
    ("GET", "/analytics/v1/me", Who::AnyRole),
    ("GET", "/analytics/v1/orgs/{orgId}/usage", Who::OfOrg(&[OrgViewer, OrgAdmin, Finance])),
    ("GET", "/analytics/v1/orgs/{orgId}/reliability", Who::OfOrg(&[OrgViewer, OrgAdmin])),
    ("GET", "/analytics/v1/orgs/{orgId}/ledger", Who::OfOrg(&[OrgViewer, OrgAdmin, Finance])),
    ("GET", "/analytics/v1/orgs/{orgId}/revisions", Who::OfOrg(&[OrgViewer, OrgAdmin, Finance])),
    ("GET", "/analytics/v1/summary", Who::SystemAdmin),
    ("GET", "/analytics/v1/orgs/{orgId}/freshness", Who::OfOrg(&[OrgViewer, OrgAdmin])),
    ("GET", "/analytics/v1/orgs/{orgId}/dead-letters", Who::OfOrg(&[OrgAdmin])),
    ("GET", "/analytics/v1/orgs/{orgId}/dead-letters/{id}", Who::OfOrg(&[OrgAdmin])),
    ("POST", "/analytics/v1/orgs/{orgId}/dead-letters/{id}/replay", Who::OfOrg(&[OrgAdmin])),
    ("GET", "/analytics/v1/dead-letters", Who::SystemAdmin),
    ("GET", "/analytics/v1/dead-letters/{id}", Who::SystemAdmin),
    ("POST", "/analytics/v1/events", Who::OfOrg(&[Producer])),
    ("POST", "/analytics/v1/events/validate", Who::OfOrg(&[OrgAdmin, Producer])),
    ("GET", "/analytics/v1/orgs/{orgId}/events/{eventId}", Who::OfOrg(&[OrgViewer, OrgAdmin])),
    ("GET", "/analytics/v1/orgs/{orgId}/api-keys", Who::OfOrg(&[OrgAdmin])),
    ("POST", "/analytics/v1/orgs/{orgId}/api-keys", Who::OfOrg(&[OrgAdmin])),
    ("GET", "/analytics/v1/orgs/{orgId}/api-keys/{keyId}", Who::OfOrg(&[OrgAdmin])),
    ("POST", "/analytics/v1/orgs/{orgId}/api-keys/{keyId}/revoke", Who::OfOrg(&[OrgAdmin])),
    ("GET", "/analytics/v1/orgs/{orgId}/attribution", Who::OfOrg(&[OrgViewer, OrgAdmin, Finance])),
    ("GET", "/analytics/v1/orgs/{orgId}/attribution/dimensions", Who::OfOrg(&[OrgViewer, OrgAdmin, Finance])),
    ("GET", "/analytics/v1/orgs/{orgId}/attribution/values", Who::OfOrg(&[OrgViewer, OrgAdmin, Finance])),
    ("GET", "/analytics/v1/orgs/{orgId}/names", Who::OfOrg(&[OrgViewer, OrgAdmin, Finance])),
    ("GET", "/analytics/v1/orgs/{orgId}/names/{dimension}/{id}", Who::OfOrg(&[OrgViewer, OrgAdmin, Finance])),
    ("PUT", "/analytics/v1/orgs/{orgId}/names/{dimension}/{id}", Who::OfOrg(&[OrgAdmin])),
    ("DELETE", "/analytics/v1/orgs/{orgId}/names/{dimension}/{id}", Who::OfOrg(&[OrgAdmin])),
    ("GET", "/analytics/v1/audit", Who::SystemAdmin),
    ("GET", "/analytics/v1/orgs/{orgId}/exports", Who::OfOrg(&[OrgAdmin, Finance])),
    ("POST", "/analytics/v1/orgs/{orgId}/exports", Who::OfOrg(&[OrgAdmin, Finance])),
    ("GET", "/analytics/v1/orgs/{orgId}/exports/{jobId}", Who::OfOrg(&[OrgAdmin, Finance])),
    ("GET", "/analytics/v1/orgs/{orgId}/exports/{jobId}/download", Who::OfOrg(&[OrgAdmin, Finance])),
    ("POST", "/analytics/v1/orgs/{orgId}/exports/{jobId}/verify", Who::OfOrg(&[OrgAdmin, Finance])),
    ("POST", "/analytics/v1/orgs/{orgId}/exports/{jobId}/cancel", Who::OfOrg(&[OrgAdmin, Finance])),
    // For clients with a signed link.
    ("GET", "/analytics/v1/downloads/{key}", Who::Anybody),
    ("GET", "/openapi.json", Who::Anybody),
];

#[derive(Clone, Copy, Debug)]
enum Who {
    Anybody,
    /// Whoever has a credential: nothing of an org is returned.
    AnyRole,
    /// These of the org that is requested, and system administrators of any.
    OfOrg(&'static [Role]),
    SystemAdmin,
}

impl Who {
    fn includes(self, role: Role) -> bool {
        match self {
            Self::Anybody | Self::AnyRole => true,
            Self::OfOrg(roles) => role == SystemAdmin || roles.contains(&role),
            Self::SystemAdmin => role == SystemAdmin,
        }
    }

    /// What a caller with a credential for [`ORG`] gets from a request for this org.
    fn lets_in(self, role: Role, org: Uuid) -> bool {
        let confined = matches!(self, Self::OfOrg(_)) && org != ORG && role != SystemAdmin;
        self.includes(role) && !confined
    }
}

fn row(method: &Method, path: &str) -> Who {
    let found: Vec<_> = TABLE.iter().filter(|row| row.0 == method.as_str() && row.1 == path).collect();
    assert_eq!(found.len(), 1, "{method} {path} must have one row in the table of who may");
    found[0].2
}

/// Calls a route about an org.
pub async fn send(method: &Method, path: &str, org: Uuid, headers: &[(&str, &str)]) -> Response {
    let path = path
        .replace("{orgId}", &org.to_string())
        .replace("{dimension}", "clientId")
        .replace("{id}", &LETTER.to_string())
        .replace("{eventId}", &LETTER.to_string())
        .replace("{keyId}", &KEY.to_string())
        .replace("{jobId}", &LETTER.to_string())
        .replace("{key}", "file.csv?expires=1772449200&signature=good");
    assert!(!path.contains('{'), "{path}: what stands for its parameter?");
    let body = match *method {
        Method::POST | Method::PUT => json!({"orgId": org}).to_string(),
        _ => String::new(),
    };
    call_with(api_with(None), method.clone(), &path, headers, &body).await
}

#[actix_web::test]
async fn every_route_authorizes_the_contracts_roles() {
    for route in routes::rest() {
        let who = row(&route.method, route.path);
        for role in Role::ALL {
            let bearer = format!("Bearer {}", token(role));
            for org in [ORG, OTHER_ORG, NOBODY] {
                let response = send(&route.method, route.path, org, &[("authorization", &bearer)]).await;
                let what = format!("{} {} {role} {org}: {}", route.method, route.path, response.text);
                if who.lets_in(role, org) {
                    // Authorized, it may still learn what is wrong with its query.
                    assert!(matches!(response.status.as_u16(), 200..=302 | 400 | 404 | 409), "{what}");
                } else {
                    // The same for an org that there is and one that there is not.
                    response.problem(403);
                }
            }
        }
    }
    assert_eq!(TABLE.len(), routes::rest().len(), "a row of the table has no route");
}

#[actix_web::test]
async fn only_public_routes_need_no_credential() {
    let forged = format!("Bearer {}x", token(OrgAdmin));
    for route in routes::rest() {
        let who = row(&route.method, route.path);
        for headers in [
            &[][..],
            &[("authorization", "Bearer nonsense")],
            &[("authorization", forged.as_str())],
            &[("authorization", "Basic YTpi")],
            &[("authorization", "Bearer ")],
        ] {
            let response = send(&route.method, route.path, ORG, headers).await;
            match who {
                Who::Anybody => assert_eq!(response.status.as_u16(), 200, "{}", route.path),
                _ => drop(response.problem(401)),
            }
        }
    }
}

#[test]
fn only_reads_are_open_on_the_operations_port() {
    for route in routes::operations_port() {
        let expected = match (&route.method, route.path) {
            (_, "/ops/me") => Role::ALL.to_vec(),
            (&Method::GET, _) => vec![],
            _ => vec![Operator],
        };
        assert_eq!(route.access.roles(), expected, "{} {}", route.method, route.path);
    }
}
