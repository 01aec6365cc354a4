//! Dead letters: what is sent to the actors, what their results become, and who gets none.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::support::*;
use crate::{actors::serving::error::QueryError, auth::Role};

async fn as_role(role: Role, method: Method, path: &str, body: &'static str) -> Response {
    let bearer = format!("Bearer {}", token(role));
    call_with(api_with(None), method, path, &[("authorization", &bearer)], body).await
}

async fn read(path: &str) -> Response {
    as_role(Role::OrgAdmin, Method::GET, path, "").await
}

async fn replay(id: &str, body: &'static str) -> Response {
    as_role(Role::OrgAdmin, Method::POST, &of_org(&format!("/{id}/replay")), body).await
}

fn of_org(rest: &str) -> String {
    format!("/analytics/v1/orgs/{ORG}/dead-letters{rest}")
}

#[actix_web::test]
async fn pages_are_requested_by_parameters() {
    let all = read(&of_org("")).await.json();
    let query_of = |response: &Value| response["deadLetters"][0]["reasons"][0].as_str().unwrap().to_owned();
    let org = format!("whose: Org({ORG})");
    for part in [org.as_str(), "start: None", "end: None", "state: None", "before: None", "limit: 50"] {
        assert!(query_of(&all).contains(part), "{part} {all}");
    }
    let query = format!(
        "?state=open&limit=200&start=2026-03-01T00:00:00Z&end=2026-03-02T00:00:00Z&cursor={}",
        all["nextCursor"].as_str().unwrap()
    );
    let next = read(&of_org(&query)).await.json();
    let before = format!("before: Some({LETTER})");
    for part in ["Some(2026-03-01T00:00:00Z)", "Some(2026-03-02T00:00:00Z)", "Some(Open)", &before, "limit: 200"] {
        assert!(query_of(&next).contains(part), "{part} {next}");
    }
    assert_eq!(next.get("nextCursor"), None);
}

#[actix_web::test]
async fn each_bad_parameter_is_named() {
    for (query, fields) in [
        ("?start=yesterday&end=2026", vec!["start", "end"]),
        ("?start=2026-03-01T00:00:00Z&end=2026-03-01T00:00:00Z", vec!["end"]),
        ("?state=closed", vec!["state"]),
        ("?limit=0&cursor=7", vec!["limit", "cursor"]),
        ("?limit=201", vec!["limit"]),
        ("?limit=-1", vec!["limit"]),
        ("?limit=5&limit=5", vec!["limit"]),
        ("?page=2", vec!["page"]),
        ("/00000000-0000-0000-0000-000000000007?state=open", vec!["state"]),
    ] {
        assert_eq!(read(&of_org(query)).await.wrong_fields(), fields, "{query}");
    }
    let forced = as_role(Role::OrgAdmin, Method::POST, &of_org(&format!("/{LETTER}/replay?force=1")), "ours").await;
    assert_eq!(forced.wrong_fields(), ["force"]);
}

#[actix_web::test]
async fn a_letter_has_its_message() {
    let letter = read(&of_org(&format!("/{LETTER}"))).await.json();
    assert_eq!(
        (&letter["id"], &letter["payload"], &letter["payloadTruncated"]),
        (&json!(LETTER), &json!("{"), &json!(false))
    );
    for unknown in ["8", "00000000000000000000000000000007", "00000000-0000-0000-0000-000000000008", "seven", "%27"] {
        read(&of_org(&format!("/{unknown}"))).await.problem(404);
    }
}

#[actix_web::test]
async fn a_correction_is_accepted_or_refused() {
    let accepted = replay(&LETTER.to_string(), "ours").await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    assert_eq!(accepted.json(), json!({"id": LETTER, "state": "corrected", "eventId": MODEL}));
    assert_eq!(accepted.header("cache-control"), Some("private, no-store"));
    assert_eq!(replay(&LETTER.to_string(), "wrong").await.wrong_fields(), ["status", "orgId"]);
    assert_eq!(replay(&LETTER.to_string(), "theirs").await.problem(409)["type"], "/problems/already-corrected");
    replay("00000000-0000-0000-0000-000000000008", "ours").await.problem(404);
    let response = as_role(Role::OrgAdmin, Method::GET, &of_org(&format!("/{LETTER}/replay")), "").await;
    response.problem(405);
    assert_eq!(response.header("allow"), Some("POST"));
}

#[actix_web::test]
async fn a_body_over_the_limit_is_413() {
    const LARGE: &str = match std::str::from_utf8(&[b' '; 2000]) {
        Ok(text) => text,
        Err(_) => "",
    };
    replay(&LETTER.to_string(), LARGE).await.problem(413);
}

#[actix_web::test]
async fn each_role_may_what_the_contract_says() {
    for (role, org, unreadable) in [
        (Role::OrgViewer, 403, 403),
        (Role::OrgAdmin, 200, 403),
        (Role::Finance, 403, 403),
        (Role::Producer, 403, 403),
        (Role::SystemAdmin, 200, 200),
        (Role::Operator, 403, 403),
    ] {
        for (path, status) in [
            (of_org(""), org),
            (of_org(&format!("/{LETTER}")), org),
            ("/analytics/v1/dead-letters".to_owned(), unreadable),
            (format!("/analytics/v1/dead-letters/{LETTER}"), unreadable),
        ] {
            assert_eq!(as_role(role, Method::GET, &path, "").await.status.as_u16(), status, "{role} {path}");
        }
        let sent = as_role(role, Method::POST, &of_org(&format!("/{LETTER}/replay")), "ours").await;
        assert_eq!(sent.status.as_u16(), if org == 200 { 202 } else { 403 }, "{role}");
    }
    let foreign = format!("/analytics/v1/orgs/{OTHER_ORG}/dead-letters");
    as_role(Role::OrgAdmin, Method::GET, &foreign, "").await.problem(403);
    assert_eq!(as_role(Role::SystemAdmin, Method::GET, &foreign, "").await.status, 200);
    for id in [&LETTER.to_string(), "8", "seven"] {
        as_role(Role::OrgAdmin, Method::GET, &format!("{foreign}/{id}"), "").await.problem(403);
        as_role(Role::OrgAdmin, Method::POST, &format!("{foreign}/{id}/replay"), "ours").await.problem(403);
    }
    call(api_with(None), Method::GET, "/analytics/v1/dead-letters", &[]).await.problem(401);
}

#[actix_web::test]
async fn without_the_database_a_correction_is_503() {
    let bearer = format!("Bearer {}", token(Role::OrgAdmin));
    let headers = [("authorization", bearer.as_str())];
    let path = of_org(&format!("/{LETTER}/replay"));
    let state = api_with(Some(QueryError::Unavailable));
    let response = call_with(state, Method::POST, &path, &headers, "ours").await;
    response.problem(503);
    assert_eq!(response.header("retry-after"), Some("5"));
    let state =
        crate::http::Api { corrections: crate::actors::supervision::actor_ref::ActorRef::default(), ..api_with(None) };
    call_with(state, Method::POST, &path, &headers, "ours").await.problem(503);
}
