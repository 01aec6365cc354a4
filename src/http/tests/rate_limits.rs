//! Rate limits: counted by credential and by org, after the caller is known and before anything is done.

use actix_web::{http::Method, test, web};
use serde_json::json;
use uuid::Uuid;

use super::support::*;
use crate::{
    auth::{self, Caller, Credential, Role},
    config::RateLimit,
    http::{Api, Gatekeeper, api, client_address::TrustedProxies, limits::Limits},
};

/// At once, and then nothing for the rest of the test.
fn limited(org_burst: u32, credential_burst: u32) -> Gatekeeper {
    let settings = RateLimit {
        org_per_second: 1,
        org_burst,
        credential_per_second: 1,
        credential_burst,
        refused_per_second: 1,
        refused_burst: 3,
    };
    Gatekeeper { limits: Limits::of_rates(&settings), ..gatekeeper(&auth_settings()) }
}

fn token_of(subject: &str, org_ids: &[Uuid], role: Role) -> String {
    let (subject, org_ids) = (subject.to_owned(), org_ids.to_vec());
    let caller = Caller { subject, org_ids, roles: vec![role], credential: Credential::Token, expires_at: None };
    auth::issue(&auth_settings(), &caller, std::time::Duration::from_secs(60)).unwrap()
}

async fn send(gatekeeper: &Gatekeeper, method: Method, path: &str, token: &str, body: &str) -> Response {
    let api = Api { gatekeeper: gatekeeper.clone(), ..api_with(None) };
    call_with(api, method, path, &[("authorization", &format!("Bearer {token}"))], body).await
}

async fn freshness(gatekeeper: &Gatekeeper, org: Uuid, token: &str) -> u16 {
    let path = format!("/analytics/v1/orgs/{org}/freshness");
    send(gatekeeper, Method::GET, &path, token, "").await.status.as_u16()
}

#[actix_web::test]
async fn a_credential_over_its_rate_is_429() {
    let gatekeeper = limited(100, 3);
    let ann = token_of("ann", &[ORG, OTHER_ORG], Role::OrgViewer);
    for org in [ORG, OTHER_ORG, ORG] {
        assert_eq!(freshness(&gatekeeper, org, &ann).await, 200);
    }
    let path = format!("/analytics/v1/orgs/{ORG}/freshness");
    let response = send(&gatekeeper, Method::GET, &path, &ann, "").await;
    assert_eq!(response.problem(429)["type"], "/problems/rate-limited");
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(freshness(&gatekeeper, ORG, &token_of("bob", &[ORG], Role::OrgViewer)).await, 200);
    let key = key_text();
    let api = Api { gatekeeper: gatekeeper.clone(), ..api_with(None) };
    assert_eq!(call(api, Method::GET, &path, &[("x-api-key", &key)]).await.status, 200);
}

#[actix_web::test]
async fn an_org_over_its_rate_is_429() {
    let gatekeeper = limited(2, 100);
    for (subject, status) in [("ann", 200), ("bob", 200), ("eve", 429)] {
        assert_eq!(freshness(&gatekeeper, ORG, &token_of(subject, &[ORG], Role::OrgViewer)).await, status, "{subject}");
    }
    assert_eq!(freshness(&gatekeeper, OTHER_ORG, &token_of("ann", &[OTHER_ORG], Role::OrgViewer)).await, 200);
    let body = json!({"orgId": ORG}).to_string();
    let producer = token_of("gateway", &[ORG], Role::Producer);
    send(&gatekeeper, Method::POST, "/analytics/v1/events/validate", &producer, &body).await.problem(429);
}

#[actix_web::test]
async fn unauthorized_requests_use_up_no_limit() {
    let gatekeeper = limited(1, 1);
    let books = Books::default();
    gatekeeper.audit.set(actix::Actor::start(books.clone()).recipient());
    let stranger = token_of("eve", &[OTHER_ORG], Role::OrgViewer);
    for _ in 0..5 {
        assert_eq!(freshness(&gatekeeper, ORG, &stranger).await, 403);
        assert_eq!(freshness(&gatekeeper, ORG, "no.such.token").await, 401);
    }
    let admin = token_of("root", &[], Role::SystemAdmin);
    assert_eq!(freshness(&gatekeeper, ORG, &admin).await, 200);
    assert_eq!(freshness(&gatekeeper, ORG, &admin).await, 429);
    assert_eq!(books.take().len(), 1);
}

/// From an address behind a proxy, with an API key or a token.
async fn from(gatekeeper: &Gatekeeper, address: &str, credential: (&str, &str)) -> Response {
    let state = Api { gatekeeper: gatekeeper.clone(), ..api_with(None) };
    let app = test::init_service(api(web::Data::new(state))).await;
    let path = format!("/analytics/v1/orgs/{ORG}/freshness");
    let request = test::TestRequest::get().uri(&path).peer_addr("127.0.0.1:1".parse().unwrap());
    let request = request.append_header(("x-forwarded-for", address)).append_header(credential);
    read(test::call_service(&app, request.to_request()).await).await
}

#[actix_web::test]
async fn bad_credentials_are_limited_by_address() {
    let proxies = TrustedProxies::new(&["127.0.0.1/32".parse().unwrap()]);
    let gatekeeper = Gatekeeper { proxies, ..limited(100, 100) };
    let bad = [("authorization", "Bearer wrong"), ("x-api-key", "wrong"), ("x-other", "none")];
    for credential in bad {
        from(&gatekeeper, "10.0.0.1", credential).await.problem(401);
    }
    for credential in bad {
        let response = from(&gatekeeper, "10.0.0.1", credential).await;
        assert_eq!(response.problem(429)["type"], "/problems/rate-limited");
        assert_eq!(response.header("retry-after"), Some("1"));
    }
    let recorded: u64 = gatekeeper.backlog.take(100, true).rows().iter().map(|row| row.count).sum();
    assert!(recorded <= 2, "what is beyond the limit leaves no record, but {recorded}");
    let good = format!("Bearer {}", token_of("ann", &[ORG], Role::OrgViewer));
    assert_eq!(from(&gatekeeper, "10.0.0.1", ("authorization", &good)).await.status, 200);
    from(&gatekeeper, "10.0.0.2", bad[0]).await.problem(401);
}
