//! Events that come by HTTP: which orgs, which bodies, and the response to each.

use actix_web::http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::*;
use crate::auth::Role;

const EVENTS: &str = "/analytics/v1/events";
const VALIDATE: &str = "/analytics/v1/events/validate";

fn event(org: Uuid) -> Value {
    json!({
        "eventId": Uuid::from_u128(2), "orgId": org, "modelId": MODEL, "occurredAt": "2026-03-02T11:59:59Z",
        "status": "success", "latencyMs": 12, "inputTokens": 3, "outputTokens": 4, "costEstimateCents": 0.25,
    })
}

async fn post(path: &str, body: &str) -> Response {
    post_as(Role::Producer, path, &[], body).await
}

async fn post_as(role: Role, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let bearer = format!("Bearer {}", token(role));
    let headers = [&[("authorization", bearer.as_str())], headers].concat();
    call_with(api_with(None), Method::POST, path, &headers, body).await
}

#[actix_web::test]
async fn an_invalid_event_names_every_broken_rule() {
    let response = post(VALIDATE, &event(ORG).to_string()).await;
    assert_eq!((response.status.as_u16(), response.text.as_str()), (204, ""));
    let mut wrong = event(ORG);
    wrong["status"] = json!("Hunter22");
    wrong["latencyMs"] = json!(-1);
    let response = post(VALIDATE, &wrong.to_string()).await;
    assert_eq!(response.wrong_fields(), ["status", "latencyMs"]);
    assert!(!response.text.contains("Hunter22"));
    for body in ["[]", "{", "nonsense", &json!([event(ORG)]).to_string()] {
        assert_eq!(post(VALIDATE, body).await.wrong_fields(), ["body"], "{body}");
    }
    assert_eq!(post(VALIDATE, "{}").await.wrong_fields().len(), 9);
    assert_eq!(post(&format!("{VALIDATE}?dry=1"), "{}").await.wrong_fields(), ["dry"]);
}

#[actix_web::test]
async fn one_or_many_events_are_accepted() {
    let one = post(EVENTS, &event(ORG).to_string()).await;
    assert_eq!((one.status.as_u16(), one.json()), (202, json!({"accepted": 1, "rejected": 0})));
    let many = post(EVENTS, &json!([event(ORG), {"orgId": ORG}]).to_string()).await;
    assert_eq!(many.status.as_u16(), 202);
    let many = many.json();
    assert_eq!((&many["accepted"], &many["rejected"]), (&json!(1), &json!(1)));
    assert_eq!(many["results"][0], json!({"index": 0, "status": "accepted", "eventId": Uuid::from_u128(2)}));
    assert_eq!((&many["results"][1]["index"], &many["results"][1]["status"]), (&json!(1), &json!("rejected")));
    assert_eq!(many["results"][1]["errors"].as_array().unwrap().len(), 8);
    let none = post(EVENTS, r#"[{}, 7]"#).await;
    let fields = none.wrong_fields();
    assert_eq!((fields[0].as_str(), fields.last().map(String::as_str)), ("[0].eventId", Some("[1].message")));
    let off = post(EVENTS, &json!(vec![event(ORG); 2]).to_string().replace("}]", "},1,2,3,4,5]")).await;
    let problem = off.problem(404);
    assert_eq!(problem["type"], "/problems/not-enabled");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("ingest.enabled") && !detail.contains("export"), "{detail}");
}

#[actix_web::test]
async fn a_foreign_event_refuses_the_whole_request() {
    for body in [event(OTHER_ORG), json!([event(ORG), event(OTHER_ORG)]), json!([event(Uuid::nil())])] {
        for path in [EVENTS, VALIDATE] {
            post(path, &body.to_string()).await.problem(403);
        }
    }
    // The name of the org is checked however it is written, and before the rest of the event.
    let hidden = format!(r#"{{"\u006frgId":"{OTHER_ORG}"}}"#);
    post(EVENTS, &hidden).await.problem(403);
    // One that is there twice is none: the event is rejected whole.
    let twice = format!(r#"{{"orgId":"{ORG}","orgId":"{OTHER_ORG}"}}"#);
    assert!(post(EVENTS, &twice).await.wrong_fields().contains(&"orgId".to_owned()));
    for role in [Role::OrgViewer, Role::OrgAdmin, Role::Finance, Role::Operator] {
        post_as(role, EVENTS, &[], &event(ORG).to_string()).await.problem(403);
    }
}

#[actix_web::test]
async fn wrong_media_types_are_415() {
    let body = event(ORG).to_string();
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-type", ""),
        ("content-encoding", "gzip"),
    ] {
        post_as(Role::Producer, EVENTS, &[(name, value)], &body).await.problem(415);
    }
    for value in ["application/json; charset=utf-8", "APPLICATION/JSON"] {
        let response = post_as(Role::Producer, EVENTS, &[("content-type", value)], &body).await;
        assert_eq!(response.status.as_u16(), 202, "{value}");
    }
    post(EVENTS, &format!("[{}]", " ".repeat(2000))).await.problem(413);
    let letter = format!("/analytics/v1/orgs/{ORG}/dead-letters/{LETTER}/replay");
    post_as(Role::OrgAdmin, &letter, &[("content-type", "text/plain")], &body).await.problem(415);
}
