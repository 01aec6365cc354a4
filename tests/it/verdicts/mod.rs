//! One verdict: the stream, `POST /events`, `POST /events/validate` and the published schema, as two real validators read it,
//! take the same messages for events.

mod cases;

use std::{collections::BTreeSet, path::Path, process::Command};

use analytics_service::auth::Role;
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::Utc;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Service, World, local_folder, not_run, output_of, settled};
use cases::{Case, ORG, cases};

const EVENTS: &str = "/analytics/v1/events";

#[tokio::test]
async fn stream_and_api_judge_every_message_alike() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__INGEST__ENABLED", "true");
    world.set("ANALYTICS__RATE_LIMIT__ORG_PER_SECOND", "0");
    world.set("ANALYTICS__RATE_LIMIT__CREDENTIAL_PER_SECOND", "0");
    let service = world.serve().await;
    let cases = cases(Utc::now());
    assert!(cases.len() >= 200, "{}", cases.len());
    world.send(cases.iter().map(|case| case.body.clone())).await;
    let mut conn = world.connect().await;
    settled(&mut conn, i64::try_from(cases.len()).unwrap()).await;
    let rejected: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT payload_sha256 FROM analytics.dead_letters").fetch_all(&mut conn).await.unwrap();
    let rejected: BTreeSet<Vec<u8>> = rejected.into_iter().collect();
    let token = service.token(&[ORG, uuid::Uuid::nil(), uuid::Uuid::max()], &[Role::Producer]);
    let mut wrong = Vec::new();
    for Case { name, body, is_event, .. } in &cases {
        let by_stream = !rejected.contains(&Sha256::digest(body).to_vec());
        let by_validate = post(&service, &format!("{EVENTS}/validate"), &token, body, 204).await;
        let by_publish = post(&service, EVENTS, &token, body, 202).await;
        // There an array is several events.
        let by_publish = by_publish && !body.starts_with(b"[");
        if [by_stream, by_validate, by_publish] != [*is_event; 3] {
            wrong.push(format!(
                "{name}: stream {by_stream}, validate {by_validate}, publish {by_publish}, not {is_event}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn post(service: &Service, path: &str, token: &str, body: &[u8], yes: u16) -> bool {
    let (status, answer) = service.post(path, token, body.to_vec()).await;
    assert!(status == yes || status == 400, "{status} {answer}");
    status == yes
}

#[tokio::test]
async fn python_validator_reads_the_schema_as_the_service() {
    let program = local_folder().join("tools/bin/python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/verdicts/validate.py");
    let ready = Command::new(&program).args(["-c", "import jsonschema, rfc3339_validator"]).output();
    if !ready.is_ok_and(|output| output.status.success()) {
        return not_run("PyPI's jsonschema is not there (make test installs it)");
    }
    let mut command = Command::new(program);
    command.arg(script);
    compare(command).await;
}

#[tokio::test]
async fn node_validator_reads_the_schema_as_the_service() {
    let modules = local_folder().join("node/node_modules");
    let node = Command::new("node").arg("--version").output();
    if !node.is_ok_and(|output| output.status.success()) || !modules.join("ajv").exists() {
        return not_run("node or npm's ajv is not there (make test installs ajv where node is)");
    }
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/verdicts/validate.cjs"));
    compare(command).await;
}

/// Has a validator judge all messages, but for those of which a schema cannot say what the service does.
async fn compare(mut command: Command) {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let compared: Vec<Case> = cases(Utc::now()).into_iter().filter(|case| case.left_out.is_none()).collect();
    assert!(compared.len() >= 180, "{}", compared.len());
    let lines = compared.iter().map(|case| STANDARD.encode(&case.body) + "\n").collect();
    command.arg(file("schema.json", schema().to_string())).arg(file("messages", lines));
    let output = output_of(command).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let verdicts: Vec<bool> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(verdicts.len(), compared.len());
    let wrong: Vec<&str> = compared
        .iter()
        .zip(verdicts)
        .filter(|(case, verdict)| case.is_event != *verdict)
        .map(|(case, _)| case.name.as_str())
        .collect();
    assert!(wrong.is_empty(), "judged otherwise than by the service: {}", wrong.join(", "));
}

/// The schema of an event, as `analytics-service openapi` prints it.
fn schema() -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_analytics-service")).arg("openapi").output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let schemas = &document["components"]["schemas"];
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/Event",
        "$defs": {"Event": schemas["Event"], "Status": schemas["Status"]},
    });
    serde_json::from_str(&schema.to_string().replace("#/components/schemas/", "#/$defs/")).unwrap()
}
