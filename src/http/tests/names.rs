//! Names for people: which ids may have them, and how they are listed.

use actix_web::http::Method;
use serde_json::json;

use super::support::*;
use crate::auth::Role::{OrgAdmin, OrgViewer};

async fn put(rest: &str, body: &str) -> Response {
    let bearer = format!("Bearer {}", token(OrgAdmin));
    let path = format!("/analytics/v1/orgs/{ORG}/names/{rest}");
    call_with(api_with(None), Method::PUT, &path, &[("authorization", &bearer)], body).await
}

async fn get(rest: &str) -> Response {
    let bearer = format!("Bearer {}", token(OrgViewer));
    let path = format!("/analytics/v1/orgs/{ORG}/names{rest}");
    call_with(api_with(None), Method::GET, &path, &[("authorization", &bearer)], "").await
}

#[actix_web::test]
async fn an_id_may_be_any_text() {
    for (path, id) in [
        ("clientId/key-17", "key-17"),
        ("clientId/a%2Fb", "a/b"),
        ("clientId/100%25%2B1", "100%+1"),
        ("meta.team%22/%F0%9F%99%82%20x", "🙂 x"),
        ("actorId/9B2F7C1E-0D4A-4F6B-8A57-3F1C2D5E6A70", "9b2f7c1e-0d4a-4f6b-8a57-3f1c2d5e6a70"),
    ] {
        let response = put(path, r#"{"name": "Web shop"}"#).await;
        assert_eq!(response.status.as_u16(), 200, "{path}: {}", response.text);
        assert_eq!((&response.json()["id"], &response.json()["name"]), (&json!(id), &json!("Web shop")), "{path}");
    }
}

#[actix_web::test]
async fn the_record_of_a_name_has_no_person() {
    let by = |response: Response| response.json()["updatedBy"].clone();
    assert_eq!(by(put("clientId/web", r#"{"name": "Web"}"#).await), "ann name.set clientId/web");
    let person = "actorId/9b2f7c1e-0d4a-4f6b-8a57-3f1c2d5e6a70";
    assert_eq!(by(put(person, r#"{"name": "Ann"}"#).await), "ann name.set actorId");
}

#[actix_web::test]
async fn wrong_names_and_ids_are_refused() {
    for (path, body, field) in [
        ("status/error", r#"{"name": "a"}"#, "dimension"),
        ("modelId/gpt", r#"{"name": "a"}"#, "id"),
        ("orgId/00000000-0000-0000-0000-00000000000b", r#"{"name": "a"}"#, "id"),
        ("clientId/web", "{}", "name"),
        ("clientId/web", r#"{"name": "a", "id": "b"}"#, "body"),
        ("clientId/web", r#"{"name": "a", "name": "b"}"#, "body"),
    ] {
        let problem = put(path, body).await.problem(400);
        assert_eq!(problem["errors"][0]["field"], field, "{path} {body}: {problem}");
    }
    let problem = put("clientId/web", r#"{"name": "one more"}"#).await.problem(409);
    assert_eq!(problem["type"], "/problems/too-many-names");
    put("clientId/", r#"{"name": "a"}"#).await.problem(404);
}

#[actix_web::test]
async fn names_are_listed_page_by_page() {
    let first = get("?dimension=meta.team&limit=7").await.json();
    assert_eq!(first["names"][0]["name"], r#"Some("meta.team") None 7"#);
    let cursor = first["nextCursor"].as_str().unwrap();
    let last = get(&format!("?cursor={cursor}")).await.json();
    assert_eq!(last["names"][0]["name"], r#"None Some(("clientId", "a/b")) 100"#);
    assert_eq!(last["nextCursor"], json!(null));
    assert_eq!(get("?cursor=x").await.problem(400)["errors"][0]["field"], "cursor");
    assert_eq!(get("?dimension=team").await.problem(400)["errors"][0]["field"], "dimension");
    assert_eq!(get("/clientId/none").await.problem(404)["detail"], "no name is set for this id");
    assert_eq!(get("/clientId/web").await.json()["name"], "Web shop");
}
