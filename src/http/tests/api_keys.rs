//! API keys: as a credential, and as what an org's administrators keep.

use actix::Actor;
use actix_web::http::Method;
use serde_json::json;
use uuid::Uuid;

use super::support::*;
use crate::{
    actors::serving::error::QueryError,
    auth::{PresentedKey, Role},
};

fn keys_of_org(rest: &str) -> String {
    format!("/analytics/v1/orgs/{ORG}/api-keys{rest}")
}

async fn with(headers: &[(&str, &str)], org: Uuid) -> Response {
    call(api_with(None), Method::GET, &format!("/analytics/v1/orgs/{org}/freshness"), headers).await
}

async fn as_admin(method: Method, path: &str, body: &str) -> Response {
    let bearer = format!("Bearer {}", token(Role::OrgAdmin));
    call_with(api_with(None), method, path, &[("authorization", &bearer)], body).await
}

#[actix_web::test]
async fn a_key_is_for_its_role_and_org() {
    let key = key_text();
    assert_eq!(with(&[("x-api-key", &key)], ORG).await.status, 200);
    with(&[("x-api-key", &key)], OTHER_ORG).await.problem(403);
    let usage = call(api_with(None), Method::GET, &keys_of_org(""), &[("x-api-key", &key)]).await;
    usage.problem(403);
}

#[actix_web::test]
async fn bad_keys_and_several_credentials_are_401() {
    let key = key_text();
    let other = format!("{}B{}", &key[..key.len() - 2], "A");
    let unknown = key.replacen("1e", "1f", 1);
    for wrong in [other.as_str(), unknown.as_str(), "ak_", "nonsense", ""] {
        let response = with(&[("x-api-key", wrong)], ORG).await;
        response.problem(401);
        assert!(wrong.is_empty() || !response.text.contains(wrong), "{}", response.text);
    }
    let bearer = format!("Bearer {}", token(Role::OrgViewer));
    with(&[("x-api-key", &key), ("authorization", &bearer)], ORG).await.problem(401);
    with(&[("x-api-key", &key), ("x-api-key", &key)], ORG).await.problem(401);
    with(&[("authorization", &format!("Bearer {key}"))], ORG).await.problem(401);
}

#[actix_web::test]
async fn a_key_without_lookup_is_not_accepted() {
    let api = api_with(None);
    api.gatekeeper.keys.set(FixedKeys { error: Some(QueryError::Unavailable) }.start().recipient());
    let path = format!("/analytics/v1/orgs/{ORG}/freshness");
    call(api, Method::GET, &path, &[("x-api-key", &key_text())]).await.problem(503);
}

#[actix_web::test]
async fn a_created_key_shows_its_secret_once() {
    let body = json!({"name": "dashboard", "role": "org_viewer"}).to_string();
    let response = as_admin(Method::POST, &keys_of_org(""), &body).await;
    assert_eq!(response.status, 201, "{}", response.text);
    let made = response.json();
    let key = PresentedKey::read(made["key"].as_str().unwrap()).unwrap();
    assert_eq!((made["id"].as_str(), &made["name"]), (Some(key.key_id.to_string().as_str()), &json!("dashboard")));
    assert_eq!(response.header("location"), Some(keys_of_org(&format!("/{}", key.key_id)).as_str()));
    assert_eq!(response.header("cache-control"), Some("private, no-store"));
    let shown = as_admin(Method::GET, &keys_of_org(&format!("/{KEY}")), "").await.json();
    assert_eq!((shown["id"].as_str(), shown.get("key")), (Some(KEY.to_string().as_str()), None));
}

#[actix_web::test]
async fn the_same_request_again_shows_no_second_secret() {
    let body = json!({"name": "dashboard", "role": "org_viewer"}).to_string();
    let again = async |key: &str, body: &str| {
        let bearer = format!("Bearer {}", token(Role::OrgAdmin));
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        call_with(api_with(None), Method::POST, &keys_of_org(""), &headers, body).await
    };
    assert_eq!(again("new", &body).await.status, 201);
    let known = again("known", &body).await;
    assert_eq!(known.header("location"), Some(keys_of_org(&format!("/{KEY}")).as_str()));
    let shown = known.json_of(200);
    assert_eq!((&shown["id"], shown.get("key")), (&json!(KEY), None));
    again("taken", &body).await.problem(422);
    again("ended", &body).await.problem(401);
    assert_eq!(again("no spaces", &body).await.wrong_fields(), ["Idempotency-Key"]);
    let problem = again("new", &json!({"name": "one more", "role": "org_viewer"}).to_string()).await.problem(409);
    assert_eq!(problem["type"], "/problems/too-many-api-keys");
}

#[actix_web::test]
async fn the_use_of_a_revoked_key_names_it() {
    let books = Books::default();
    let (api, refusals) = books.of(api_with(None));
    let path = format!("/analytics/v1/orgs/{ORG}/freshness");
    let response = call(api, Method::GET, &path, &[("x-api-key", &text_of_key(REVOKED_KEY))]).await;
    assert_eq!(response.problem(401)["detail"], "the credential was not accepted");
    let noted = refusals.take(usize::MAX, true).rows();
    let subject = format!("api-key/{}", REVOKED_KEY.simple());
    assert_eq!((noted[0].action, noted[0].actor.subject.as_deref()), ("authenticate", Some(subject.as_str())));
    assert_eq!((noted[0].org_id, noted[0].target.clone()), (Some(ORG), Some(REVOKED_KEY.to_string())));
    assert_eq!(noted[0].detail.as_deref(), Some("the API key is revoked"));
}

#[actix_web::test]
async fn each_bad_field_and_parameter_is_named() {
    for (body, fields) in [
        ("{}", vec!["name", "role"]),
        (r#"{"name": "n", "role": "system_admin"}"#, vec!["role"]),
        (
            r#"{"name": "n", "role": "finance", "expiresAt": "2020-01-01T00:00:00Z", "id": 1}"#,
            vec!["body", "expiresAt"],
        ),
        ("[", vec!["body"]),
    ] {
        assert_eq!(as_admin(Method::POST, &keys_of_org(""), body).await.wrong_fields(), fields, "{body}");
    }
    for (query, fields) in [("?limit=0&cursor=7", vec!["limit", "cursor"]), ("?state=active", vec!["state"])] {
        assert_eq!(as_admin(Method::GET, &keys_of_org(query), "").await.wrong_fields(), fields);
    }
    let forced = as_admin(Method::POST, &keys_of_org(&format!("/{KEY}/revoke?force=1")), "").await;
    assert_eq!(forced.wrong_fields(), ["force"]);
    let cascade = as_admin(Method::POST, &keys_of_org(&format!("/{KEY}/revoke?cascade=1")), "").await;
    assert_eq!(cascade.wrong_fields(), ["cascade"]);
}

#[actix_web::test]
async fn keys_are_listed_and_revoked() {
    let first = as_admin(Method::GET, &keys_of_org("?limit=7"), "").await.json();
    assert_eq!(first["apiKeys"][0]["name"], format!("{ORG} None 7"));
    let path = keys_of_org(&format!("?cursor={}", first["nextCursor"].as_str().unwrap()));
    let next = as_admin(Method::GET, &path, "").await.json();
    assert_eq!((&next["apiKeys"][0]["name"], next.get("nextCursor")), (&json!(format!("{ORG} Some({KEY}) 50")), None));
    let revoked = as_admin(Method::POST, &keys_of_org(&format!("/{KEY}/revoke")), "").await.json();
    assert_eq!(revoked["state"], "revoked");
    let states = async |query: &str| {
        let revoked = as_admin(Method::POST, &keys_of_org(&format!("/{KEY}/revoke{query}")), "").await.json_of(200);
        (revoked["state"].clone(), revoked["descendants"][0]["state"].clone())
    };
    assert_eq!(states("").await, (json!("revoked"), json!("active")), "what it made is offered");
    assert_eq!(states("?cascade=true").await, (json!("revoked"), json!("revoked")));
    for id in [&LETTER.to_string(), "7"] {
        as_admin(Method::GET, &keys_of_org(&format!("/{id}")), "").await.problem(404);
        as_admin(Method::POST, &keys_of_org(&format!("/{id}/revoke")), "").await.problem(404);
    }
}
