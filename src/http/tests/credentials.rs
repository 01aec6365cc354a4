//! Who is let in: 401 for every credential that is not good, 403 for every org that is not the caller's.

use actix_web::http::Method;
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::*;
use crate::{
    auth::Role,
    config::{Auth, Secret},
    http::Api,
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

async fn with(authorization: &str) -> super::support::Answer {
    call(api_with(None), Method::GET, &usage_path(DAY), &[("authorization", authorization)]).await
}

#[actix_web::test]
async fn a_good_token_is_let_in() {
    assert_eq!(with(&format!("Bearer {}", signed(SECRET, |_| ()))).await.status, 200);
    assert_eq!(with(&format!("bearer {}", signed(SECRET, |_| ()))).await.status, 200);
}

#[actix_web::test]
async fn no_credential_is_401_and_says_which_kind_is_wanted() {
    let answer = call(api_with(None), Method::GET, &usage_path(DAY), &[]).await;
    answer.problem(401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
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
        let answer = with(&authorization).await;
        answer.problem(401);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer error=\"invalid_token\""), "{what}");
        assert!(!answer.text.contains(payload) && !answer.text.contains("garbage"), "{what}: {}", answer.text);
    }
    let twice = [("authorization", bearer(good.clone())), ("authorization", bearer(good))];
    let twice = twice.each_ref().map(|(name, value)| (*name, value.as_str()));
    call(api_with(None), Method::GET, &usage_path(DAY), &twice).await.problem(401);
}

#[actix_web::test]
async fn without_a_configured_key_every_token_is_401() {
    let keyless = Auth { hs256_secret: Secret::default(), ..auth_settings() };
    let bearer = format!("Bearer {}", signed(SECRET, |_| ()));
    let state = Api { gatekeeper: gatekeeper(&keyless), ..api_with(None) };
    call(state, Method::GET, &usage_path(DAY), &[("authorization", &bearer)]).await.problem(401);
}

#[actix_web::test]
async fn an_org_that_is_not_the_callers_is_403_before_anything_else_is_looked_at() {
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
            let answer = call(api_with(None), Method::GET, &path, &[("authorization", &bearer)]).await;
            assert_eq!(answer.status.as_u16(), status, "{role} {path}");
        }
    }
}
