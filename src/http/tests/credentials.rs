//! Authentication and authorization: 401 for every credential that is not good, 403 for every org that is not the caller's.

use actix_web::http::Method;
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::*;
use crate::{
    auth::Role,
    config::{Auth, Http, Secret, Settings},
    http::{Api, in_flight::InFlight},
    telemetry::metrics::Metrics,
};

const DAY: &str = "start=2026-03-01T00:00:00Z&end=2026-03-02T00:00:00Z";

fn signed(secret: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = json!({
        "iss": "issuer", "aud": "audience", "sub": "ann", "exp": get_current_timestamp() + 60,
        "org_ids": [ORG], "roles": ["org_viewer"],
    });
    change(&mut claims);
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

async fn with(authorization: &str) -> super::support::Response {
    call(api_with(None), Method::GET, &usage_path(DAY), &[("authorization", authorization)]).await
}

#[actix_web::test]
async fn a_good_token_is_accepted() {
    assert_eq!(with(&format!("Bearer {}", signed(SECRET, |_| ()))).await.status, 200);
    assert_eq!(with(&format!("bearer {}", signed(SECRET, |_| ()))).await.status, 200);
}

#[actix_web::test]
async fn nothing_is_read_before_authorization() {
    // Its look-up waits for an actor, while the body and the query could be read.
    let key = key_text();
    let path = format!("/analytics/v1/orgs/{OTHER_ORG}/exports?surprise=1");
    let headers = [("x-api-key", key.as_str()), ("content-type", "text/plain")];
    call_with(api_with(None), Method::POST, &path, &headers, "{}").await.problem(403);
}

#[actix_web::test]
async fn a_body_counts_as_its_tenants() {
    let bearer = format!("Bearer {}", token(Role::Producer));
    for (share, expected) in [(100, 400), (1, 429)] {
        let http = Settings::from_variables([].into()).unwrap().http;
        let settings = Http { max_response_bytes: 100, max_response_bytes_per_org: share, ..http };
        let mut api = api_with(None);
        api.gatekeeper.limits.in_flight = InFlight::new(&settings, Metrics::default());
        let headers = [("authorization", bearer.as_str()), ("content-length", "2")];
        call_with(api, Method::POST, "/analytics/v1/events", &headers, "{}").await.problem(expected);
    }
}

#[actix_web::test]
async fn a_missing_credential_is_401() {
    let response = call(api_with(None), Method::GET, &usage_path(DAY), &[]).await;
    response.problem(401);
    assert_eq!(response.header("www-authenticate"), Some("Bearer"));
}

#[actix_web::test]
async fn every_bad_credential_is_401_and_not_repeated() {
    let now = get_current_timestamp();
    let good = signed(SECRET, |_| ());
    let (_, rest) = good.split_once('.').unwrap();
    let (payload, _) = rest.split_once('.').unwrap();
    let bearer = |token: String| format!("Bearer {token}");
    for (what, authorization) in [
        ("empty", "Bearer ".to_owned()),
        ("garbage", bearer("garbage".into())),
        ("basic", "Basic YW5uOnB3".into()),
        ("no scheme", good.clone()),
        ("alg none", bearer(format!("eyJhbGciOiJub25lIn0.{payload}."))),
        ("RS256", bearer(format!("eyJhbGciOiJSUzI1NiJ9.{rest}"))),
        ("wrong secret", bearer(signed("another secret, thirty-two bytes or more", |_| ()))),
        ("wrong audience", bearer(signed(SECRET, |claims| claims["aud"] = json!("elsewhere")))),
        ("no audience", bearer(signed(SECRET, |claims| drop(claims.as_object_mut().unwrap().remove("aud"))))),
        ("wrong issuer", bearer(signed(SECRET, |claims| claims["iss"] = json!("elsewhere")))),
        ("expired", bearer(signed(SECRET, |claims| claims["exp"] = json!(now - 5)))),
        ("no expiry", bearer(signed(SECRET, |claims| drop(claims.as_object_mut().unwrap().remove("exp"))))),
        ("not yet", bearer(signed(SECRET, |claims| claims["nbf"] = json!(now + 60)))),
        ("too long", bearer(signed(SECRET, |claims| claims["pad"] = json!("x".repeat(100_000))))),
    ] {
        let response = with(&authorization).await;
        response.problem(401);
        assert_eq!(response.header("www-authenticate"), Some("Bearer error=\"invalid_token\""), "{what}");
        assert!(!response.text.contains(payload) && !response.text.contains("garbage"), "{what}: {}", response.text);
    }
    let twice = [("authorization", bearer(good.clone())), ("authorization", bearer(good))];
    let twice = twice.each_ref().map(|(name, value)| (*name, value.as_str()));
    let problem = call(api_with(None), Method::GET, &usage_path(DAY), &twice).await.problem(401);
    let one = "exactly one credential is required: Authorization: Bearer … or X-API-Key: …";
    assert_eq!(problem["detail"], one);
    assert_eq!(with("Basic YTpi").await.problem(401)["detail"], one);
}

#[actix_web::test]
async fn a_wrong_header_names_the_right_one() {
    let key = key_text();
    let response = with(&format!("Bearer {key}")).await;
    let problem = response.problem(401);
    assert_eq!(problem["detail"], "an API key belongs in the header X-API-Key, not in Authorization");
    assert!(!response.text.contains("AAAA"), "{}", response.text);
    let token = signed(SECRET, |_| ());
    let response = call(api_with(None), Method::GET, &usage_path(DAY), &[("x-api-key", &token)]).await;
    let detail = response.problem(401)["detail"].as_str().unwrap().to_owned();
    assert_eq!(detail, "a bearer token belongs in the header Authorization, not in X-API-Key");
}

#[actix_web::test]
async fn missing_roles_are_named_for_own_orgs() {
    let send = async |role: Role, org: Uuid, path: &str| {
        let bearer = format!("Bearer {}", token(role));
        let path = format!("/analytics/v1/orgs/{org}/{path}");
        let mut problem = call(api_with(None), Method::GET, &path, &[("authorization", &bearer)]).await.problem(403);
        for of_the_request in ["requestId", "instance"] {
            problem.as_object_mut().unwrap().remove(of_the_request);
        }
        problem
    };
    let own = send(Role::Producer, ORG, "usage").await;
    let expected =
        "one of the roles org_viewer, org_admin, finance, system_admin is needed, and the credential has none of them";
    assert_eq!((&own["type"], &own["detail"]), (&json!("/problems/forbidden"), &json!(expected)));
    let none = Uuid::from_u128(0xDEAD);
    for role in [Role::Producer, Role::OrgViewer] {
        let foreign = send(role, OTHER_ORG, "usage").await;
        assert!(!foreign.to_string().contains("org_"), "{foreign}");
        assert_eq!(foreign, send(role, none, "usage").await, "an org that exists and one that does not");
    }
}

#[actix_web::test]
async fn the_caller_learns_who_it_is() {
    let me = async |name: &str, value: &str| {
        call(api_with(None), Method::GET, "/analytics/v1/me", &[(name, value)]).await.json_of(200)
    };
    for role in Role::ALL {
        let caller = me("authorization", &format!("Bearer {}", token(role))).await;
        assert_eq!((&caller["subject"], &caller["credential"]), (&json!("ann"), &json!("token")));
        assert_eq!((&caller["orgs"], &caller["roles"]), (&json!([ORG]), &json!([role.as_str()])));
        assert_eq!(caller["allOrgs"], role == Role::SystemAdmin);
        let expires: chrono::DateTime<chrono::Utc> = caller["expiresAt"].as_str().unwrap().parse().unwrap();
        assert!((0..=60).contains(&(expires - chrono::Utc::now()).num_seconds()), "{expires}");
        assert!(caller.get("keyId").is_none());
    }
    let key = me("x-api-key", &key_text()).await;
    let expected = json!({
        "subject": format!("api-key/{}", KEY.simple()), "credential": "api_key", "keyId": KEY, "orgs": [ORG],
        "allOrgs": false, "roles": ["org_viewer"], "expiresAt": null,
    });
    assert_eq!(key, expected);
}

#[actix_web::test]
async fn without_a_configured_key_every_token_is_401() {
    let keyless = Auth { hs256_secret: Secret::default(), ..auth_settings() };
    let bearer = format!("Bearer {}", signed(SECRET, |_| ()));
    let state = Api { gatekeeper: gatekeeper(&keyless), ..api_with(None) };
    call(state, Method::GET, &usage_path(DAY), &[("authorization", &bearer)]).await.problem(401);
}

#[actix_web::test]
async fn a_foreign_org_is_403_before_other_checks() {
    for role in Role::ALL.into_iter().filter(|role| *role != Role::SystemAdmin) {
        let bearer = format!("Bearer {}", token(role));
        for org in [OTHER_ORG, Uuid::nil()] {
            for path in ["usage?nonsense=1", "freshness"] {
                let path = format!("/analytics/v1/orgs/{org}/{path}");
                call(api_with(None), Method::GET, &path, &[("authorization", &bearer)]).await.problem(403);
            }
        }
    }
}

#[actix_web::test]
async fn each_role_reads_what_the_contract_says() {
    for (role, usage, freshness) in [
        (Role::OrgViewer, 200, 200),
        (Role::OrgAdmin, 200, 200),
        (Role::Finance, 200, 403),
        (Role::Producer, 403, 403),
        (Role::SystemAdmin, 200, 200),
        (Role::Operator, 403, 403),
    ] {
        let bearer = format!("Bearer {}", token(role));
        for (path, status) in [(usage_path(DAY), usage), (format!("/analytics/v1/orgs/{ORG}/freshness"), freshness)] {
            let response = call(api_with(None), Method::GET, &path, &[("authorization", &bearer)]).await;
            assert_eq!(response.status.as_u16(), status, "{role} {path}");
        }
    }
}
