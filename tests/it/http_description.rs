//! The API against its own description, by schemathesis: whatever is asked, no answer is a failure of the service, and
//! each is one that the description has, of the form that it says.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use analytics_service::auth::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{LocalStore, Service, World, eventually, not_run, output_of, scale, sent, settled};

/// `make test` installs it.
fn schemathesis() -> Option<PathBuf> {
    let local = std::env::var("ANALYTICS_LOCAL_DIR")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join(".local"), PathBuf::from);
    let program = local.join("tools/bin/schemathesis");
    if program.exists() {
        return Some(program);
    }
    not_run(&format!("{} is not there (make test installs it)", program.display()));
    None
}

/// What the tester cannot know: which organisation, letter, key and export there are, and what time it is.
struct Subject {
    org: Uuid,
    letter: String,
    key: String,
    job: String,
}

impl Subject {
    /// The description, with the one organisation and the present time in its events.
    fn narrow(&self, mut document: Value) -> Value {
        let event = &mut document["components"]["schemas"]["Event"]["properties"];
        event["orgId"]["const"] = json!(self.org);
        event["occurredAt"]["enum"] = json!([chrono::Utc::now()]);
        document
    }

    fn settings(&self) -> String {
        format!(
            "[parameters]\n\"path.orgId\" = \"{}\"\n\"path.id\" = \"{}\"\n\"path.keyId\" = \"{}\"\n\
             \"path.jobId\" = \"{}\"\n\"path.dimension\" = \"clientId\"\n\"path.key\" = \"analytics/exports/{}/{}.csv\"\n",
            self.org, self.letter, self.key, self.job, self.org, self.job
        )
    }
}

/// Requests everything that the description has.
async fn examine(program: &Path, service: &Service, subject: &Subject, roles: &[Role]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let document = service.get("/openapi.json", "").await.1;
    assert_eq!(document["openapi"], "3.1.0");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let description = file("openapi.json", &subject.narrow(document).to_string());
    let mut command = Command::new(program);
    command
        .current_dir(directory.path())
        .arg("--config-file")
        .arg(file("schemathesis.toml", &subject.settings()))
        .arg("run")
        .arg(description)
        .args(["--url", &format!("http://{}", service.api)])
        .args(["--header", &format!("Authorization: Bearer {}", service.token(&[subject.org], roles))])
        .args(["--max-examples", &(30 * scale()).to_string(), "--seed", "20261125"])
        .args(["--no-color", "--continue-on-failure", "--request-timeout", "10"])
        // A value of the right form can be a wrong one: a cursor that was never given out, an end before the start.
        .args(["--exclude-checks", "positive_data_acceptance"]);
    output_of(command).await
}

#[tokio::test]
async fn every_response_is_described() {
    let Some(program) = schemathesis() else { return };
    let mut world = World::new(1).await;
    world.set("ANALYTICS__INGEST__ENABLED", "true");
    // It asks much, and a part of it without a credential.
    for limit in ["ORG", "CREDENTIAL", "REFUSED"] {
        world.set(&format!("ANALYTICS__RATE_LIMIT__{limit}_PER_SECOND"), "0");
    }
    let files = LocalStore::new();
    world.set_all(files.variables());
    let service = world.serve().await;
    let report = world.publish(&["--events", "500", "--orgs", "1", "--models", "3", "--invalid", "0.1"]).await;
    let mut conn = world.connect().await;
    settled(&mut conn, sent(&report)).await;
    let org: Uuid = report["orgs"][0]["orgId"].as_str().unwrap().parse().unwrap();
    let admin = service.token(&[org], &[Role::OrgAdmin]);
    let letters = service.get(&format!("/analytics/v1/orgs/{org}/dead-letters?limit=1"), &admin).await.1;
    let letter = letters["deadLetters"][0]["id"].as_str().unwrap().to_owned();
    let body = json!({"name": "a key", "role": "finance"}).to_string().into_bytes();
    let made = service.post(&format!("/analytics/v1/orgs/{org}/api-keys"), &admin, body).await.1;
    let key = made["id"].as_str().unwrap().to_owned();
    let day = json!({"timeRange": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}});
    let exports = format!("/analytics/v1/orgs/{org}/exports");
    let asked = service.post(&exports, &admin, day.to_string().into_bytes()).await.1;
    let job = asked["jobId"].as_str().unwrap().to_owned();
    eventually("the export is made", async || {
        (service.get(&format!("{exports}/{job}"), &admin).await.1["status"] == "succeeded").then_some(())
    })
    .await;
    let subject = Subject { org, letter, key, job };
    for roles in [&[Role::OrgAdmin, Role::Finance, Role::Producer, Role::SystemAdmin][..], &[Role::OrgViewer]] {
        let output = examine(&program, &service, &subject, roles).await;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{roles:?}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
        println!("{text}");
    }
}
