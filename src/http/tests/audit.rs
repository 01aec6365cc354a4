//! What is recorded, and that nothing is done which must be recorded and cannot be.

use actix_web::http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::*;
use crate::{
    actors::serving::error::QueryError,
    auth::Role,
    domain::audit::{AuditEvent, CredentialKind, Outcome},
};

fn freshness_of(org: Uuid) -> String {
    format!("/analytics/v1/orgs/{org}/freshness")
}

/// A query actor that would make it 500: it is not reached where the response is another one.
const REACHED: u16 = 500;

async fn send(books: &Books, role: Role, method: Method, path: &str, body: &str) -> (Response, Vec<AuditEvent>) {
    let (api, refusals) = books.of(api_with(Some(QueryError::Broken)));
    let bearer = format!("Bearer {}", token(role));
    let headers = [("authorization", bearer.as_str()), ("x-request-id", "request-7")];
    let response = call_with(api, method, path, &headers, body).await;
    (response, refusals.take(usize::MAX, true).rows())
}

#[actix_web::test]
async fn foreign_acts_are_recorded_first_or_not_done() {
    for (org, recorded) in [(ORG, 0), (OTHER_ORG, 1)] {
        let books = Books::default();
        let (response, _) = send(&books, Role::SystemAdmin, Method::GET, &freshness_of(org), "").await;
        assert_eq!(response.status, REACHED);
        let events = books.take();
        assert_eq!(events.len(), recorded, "{org}");
        if let [event] = events.as_slice() {
            assert_eq!((event.action, event.outcome, event.org_id), ("freshness.read", Outcome::Allowed, Some(org)));
            let actor = &event.actor;
            assert_eq!((actor.subject.as_deref(), actor.credential), (Some("ann"), CredentialKind::Token));
            assert_eq!((&actor.roles[..], actor.request_id.as_deref()), (&["system_admin"][..], Some("request-7")));
        }
    }
    let away = Books { away: true, ..Books::default() };
    let (response, _) = send(&away, Role::SystemAdmin, Method::GET, &freshness_of(OTHER_ORG), "").await;
    response.problem(503);
    // What it does to its own orgs is not recorded.
    let (response, _) = send(&away, Role::SystemAdmin, Method::GET, &freshness_of(ORG), "").await;
    assert_eq!(response.status, REACHED);
    let (response, _) = send(&away, Role::OrgViewer, Method::GET, &freshness_of(ORG), "").await;
    assert_eq!(response.status, REACHED);
}

#[actix_web::test]
async fn acts_on_no_org_are_always_recorded() {
    for (path, action) in [
        ("/analytics/v1/dead-letters", "unreadable.read"),
        ("/analytics/v1/dead-letters/00000000-0000-0000-0000-000000000009", "unreadable.read"),
        ("/analytics/v1/audit", "audit.read"),
    ] {
        let books = Books::default();
        send(&books, Role::SystemAdmin, Method::GET, path, "").await;
        let events = books.take();
        assert_eq!(events.iter().map(|event| (event.action, event.org_id)).collect::<Vec<_>>(), [(action, None)]);
        let away = Books { away: true, ..Books::default() };
        send(&away, Role::SystemAdmin, Method::GET, path, "").await.0.problem(503);
    }
}

#[actix_web::test]
async fn events_of_foreign_orgs_are_recorded_first() {
    let body = json!([{"orgId": ORG}, {"orgId": OTHER_ORG}, {"orgId": OTHER_ORG}, {"orgId": MODEL}]).to_string();
    let books = Books::default();
    let (response, _) = send(&books, Role::SystemAdmin, Method::POST, "/analytics/v1/events", &body).await;
    response.problem(400);
    let mut orgs: Vec<_> = books.take().iter().map(|event| event.org_id.unwrap()).collect();
    orgs.sort_unstable();
    assert_eq!(orgs, [OTHER_ORG, MODEL]);
    let away = Books { away: true, ..Books::default() };
    send(&away, Role::SystemAdmin, Method::POST, "/analytics/v1/events", &body).await.0.problem(503);
}

#[actix_web::test]
async fn refusals_do_not_depend_on_the_log() {
    let away = Books { away: true, ..Books::default() };
    let (response, noted) = send(&away, Role::Finance, Method::GET, &freshness_of(ORG), "").await;
    response.problem(403);
    let seen = |event: &AuditEvent| (event.action, event.outcome, event.org_id, event.actor.subject.clone());
    let ann = Some("ann".to_owned());
    assert_eq!(seen(&noted[0]), ("freshness.read", Outcome::Denied, Some(ORG), ann.clone()));
    let (_, noted) = send(&away, Role::OrgViewer, Method::GET, &freshness_of(OTHER_ORG), "").await;
    assert_eq!(seen(&noted[0]), ("freshness.read", Outcome::Denied, Some(OTHER_ORG), ann.clone()));
    let (_, noted) = send(&away, Role::Operator, Method::GET, "/analytics/v1/audit", "").await;
    assert_eq!(seen(&noted[0]), ("audit.read", Outcome::Denied, None, ann));
    let (api, refusals) = away.of(api_with(None));
    let secret = "hunter22.hunter22.hunter22";
    let bearer = format!("Bearer {secret}");
    call(api, Method::GET, &freshness_of(ORG), &[("authorization", &bearer)]).await.problem(401);
    let noted = refusals.take(usize::MAX, true).rows();
    assert_eq!(seen(&noted[0]), ("authenticate", Outcome::Denied, None, None));
    assert_eq!(noted[0].detail.as_deref(), Some("the token cannot be read"));
    assert!(!format!("{noted:?}").contains("hunter22"));
    let (api, refusals) = away.of(api_with(None));
    call(api, Method::GET, &freshness_of(ORG), &[]).await.problem(401);
    assert!(refusals.take(usize::MAX, true).is_empty(), "who shows nothing has not tried");
}

#[actix_web::test]
async fn pages_are_requested_by_parameters() {
    let read = async |query: &str| {
        let bearer = format!("Bearer {}", token(Role::SystemAdmin));
        let path = format!("/analytics/v1/audit{query}");
        call(api_with(None), Method::GET, &path, &[("authorization", &bearer)]).await
    };
    let all = read("").await.json();
    let query_of = |response: &Value| response["events"][0]["detail"].as_str().unwrap().to_owned();
    assert!(query_of(&all).contains("outcome: None, before: None, limit: 50"), "{all}");
    let query = format!(
        "?start=2026-03-01T00:00:00Z&end=2026-03-02T00:00:00Z&orgId={ORG}&action=usage.read&subject=bob&outcome=denied\
         &limit=500&cursor={}",
        all["nextCursor"].as_str().unwrap()
    );
    let next = read(&query).await.json();
    let before = format!("before: Some({LETTER})");
    for part in [
        "Some(2026-03-01T00:00:00Z)",
        "Some(2026-03-02T00:00:00Z)",
        &format!("Some({ORG})"),
        r#"Some("usage.read")"#,
        r#"Some("bob")"#,
        "Some(Denied)",
        &before,
        "limit: 500",
    ] {
        assert!(query_of(&next).contains(part), "{part} {next}");
    }
    assert_eq!(next.get("nextCursor"), None);
    for (query, fields) in [
        ("?start=yesterday&end=2026&orgId=7", vec!["start", "end", "orgId"]),
        ("?action=Read&subject=&outcome=maybe", vec!["action", "subject", "outcome"]),
        ("?subject=a%00b", vec!["subject"]),
        ("?limit=501&cursor=7&page=2", vec!["page", "limit", "cursor"]),
    ] {
        assert_eq!(read(query).await.wrong_fields(), fields, "{query}");
    }
}
