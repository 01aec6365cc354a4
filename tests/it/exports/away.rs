//! Exports while something stops: the process, the store, the upload half way.

use std::{process::Command, time::Duration};

use analytics_service::auth::Role;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{MADE_UP, ORG, Store, ask, days, download, ended, finance, get, id, made, path, rollups, running};
use crate::harness::{Asked, Fault, LocalStore, S3Server, World, eventually, millis, not_run, number, scale};

/// A file of two parts and some bytes: 24 × 20 × 200 rows of 160 bytes.
fn large() -> Value {
    json!({ "timeRange": days(20), "granularity": "hourly" })
}

#[tokio::test]
async fn a_killed_export_is_generated_once() {
    let store = Store::S3(S3Server::start());
    let s3 = store.s3();
    let mut world = store.world().await.unchecked(MADE_UP);
    world.set("ANALYTICS__EXPORTS__MAX_ATTEMPTS", "100");
    let mut conn = world.connect().await;
    rollups(&mut conn, ORG, 20, 200).await;
    s3.fault(Asked::Part(2), Fault::Slow(Duration::from_millis(400)), 1000);
    let mut service = world.serve().await;
    let mut jobs = Vec::new();
    for _ in 0..5 * scale() {
        let job = id(&ask(&service, ORG, &large()).await);
        running(&service, job).await;
        millis(0..700).await;
        service.kill();
        service = world.serve().await;
        jobs.push(job);
    }
    s3.heal();
    for job in &jobs {
        let job = ended(&service, ORG, *job).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        assert_eq!(job["rowCount"], 24 * 20 * 200);
        download(&service, ORG, &job).await;
    }
    let (swept, _) = super::command(&world, &["purge"]).await;
    assert_eq!(swept["exports"]["error"], Value::Null, "{swept}");
    let mut expected: Vec<String> = jobs
        .iter()
        .flat_map(|job| ["", ".manifest.json"].map(|rest| format!("analytics/exports/{ORG}/{job}.csv{rest}")))
        .collect();
    expected.sort();
    assert_eq!(store.keys().await, expected);
    let recorded = number(&mut conn, "SELECT count(*) FROM analytics.export_jobs WHERE upload_id IS NOT NULL").await;
    assert_eq!(recorded, 0, "what was recorded is ended");
    // Killed between the store's response and its record, the upload is unknown to the service: the bucket's own rule
    // deletes it. That is a moment, not each time.
    let unknown = s3.unfinished().iter().filter(|name| name.starts_with(".upload-")).count();
    eprintln!("{unknown} of {} killed uploads are left for the bucket's rule", jobs.len());
    assert!(unknown * 2 < jobs.len(), "{:?}", s3.unfinished());
}

#[tokio::test]
async fn a_process_that_ends_gives_its_export_back() {
    let store = Store::S3(S3Server::start());
    let s3 = store.s3();
    let mut world = store.world().await.unchecked(MADE_UP);
    world.set("ANALYTICS__EXPORTS__TAKEOVER_MS", "3600000");
    rollups(&mut world.connect().await, ORG, 20, 200).await;
    s3.fault(Asked::Part(2), Fault::Slow(Duration::from_secs(20)), 1);
    let service = world.serve().await;
    let job = id(&ask(&service, ORG, &large()).await);
    running(&service, job).await;
    millis(300..600).await;
    assert_eq!(service.terminate().await, Some(0));
    s3.heal();
    let service = world.serve().await;
    let job = ended(&service, ORG, job).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    let attempts: i32 = sqlx::query_scalar("SELECT attempts FROM analytics.export_jobs")
        .fetch_one(&mut world.connect().await)
        .await
        .unwrap();
    assert_eq!(attempts, 1, "one that was given back does not count");
    download(&service, ORG, &job).await;
    assert_eq!(s3.unfinished(), Vec::<String>::new());
}

#[tokio::test]
async fn a_failing_store_is_retried_without_side_effects() {
    let store = Store::S3(S3Server::start());
    let s3 = store.s3();
    let world = store.world().await.unchecked(MADE_UP);
    let mut conn = world.connect().await;
    rollups(&mut conn, ORG, 20, 200).await;
    let service = world.serve().await;
    // An error on the second part, more often than one attempt has requests.
    s3.fault(Asked::Part(2), Fault::Status(500), 4);
    let job = made(&service, ORG, &large()).await;
    download(&service, ORG, &job).await;
    // Answers that are lost: what was done is not done again, or is thrown away.
    for asked in [Asked::Part(1), Asked::Complete] {
        s3.fault(asked, Fault::Lost, 1);
        download(&service, ORG, &made(&service, ORG, &large()).await).await;
    }
    // Away altogether: the job waits, and the API and the pipeline go on.
    s3.refuse();
    let waiting = id(&ask(&service, ORG, &large()).await);
    eventually("the export waits", async || {
        let job = get(&service, ORG, waiting).await;
        (job["status"] == "pending" && job["error"].as_str().is_some_and(|error| error.contains("object store")))
            .then_some(())
    })
    .await;
    let report = world.publish(&["--events", "500", "--orgs", "2"]).await;
    crate::harness::settled(&mut conn, crate::harness::sent(&report)).await;
    let token = service.token(&[ORG], &[Role::OrgViewer]);
    let usage = format!("/analytics/v1/orgs/{ORG}/usage?start=2026-01-01T00:00:00Z&end=2026-01-02T00:00:00Z");
    assert_eq!(service.get(&usage, &token).await.0, StatusCode::OK);
    s3.heal();
    assert_eq!(ended(&service, ORG, waiting).await["status"], "succeeded");
    assert_eq!(s3.unfinished(), Vec::<String>::new());
    // An upload whose name was never received is deleted by the bucket's own rule; the file is generated all the same.
    s3.fault(Asked::Begin, Fault::Lost, 1);
    download(&service, ORG, &made(&service, ORG, &large()).await).await;
    let metrics = service.metrics().await;
    let retried =
        metrics.lines().find(|line| line.starts_with(r#"analytics_export_jobs_total{status="retried"}"#)).unwrap();
    assert!(!retried.ends_with(" 0"), "{retried}");
}

#[tokio::test]
async fn a_store_is_down_until_it_responds_again() {
    let store = Store::S3(S3Server::start());
    let s3 = store.s3();
    let mut world = store.world().await.unchecked(MADE_UP);
    world.set("ANALYTICS__EXPORTS__MAX_ATTEMPTS", "1");
    rollups(&mut world.connect().await, ORG, 2, 2).await;
    let service = world.serve().await;
    let shows = async |up: u8| {
        let line = format!(r#"analytics_dependency_up{{dependency="objects"}} {up}"#);
        service.metrics().await.lines().any(|shown| shown == line).then_some(())
    };
    assert_eq!(shows(1).await, Some(()));
    s3.refuse();
    let job = ended(&service, ORG, id(&ask(&service, ORG, &json!({ "timeRange": days(2) })).await)).await;
    assert_eq!(job["status"], "failed");
    assert_eq!(shows(0).await, Some(()), "{:?}", service.readiness().await);
    s3.heal();
    // Nobody requests a file.
    eventually("the store is up", async || shows(1).await).await;
}

#[tokio::test]
async fn a_permanent_failure_has_a_helpful_reason() {
    let store = Store::S3(S3Server::start());
    let s3 = store.s3();
    let mut world = store.world().await.unchecked(MADE_UP);
    world.set("ANALYTICS__EXPORTS__MAX_ATTEMPTS", "2");
    rollups(&mut world.connect().await, ORG, 2, 2).await;
    let service = world.serve().await;
    let request = json!({ "timeRange": days(2) });
    s3.fault(Asked::Put, Fault::Status(403), 100);
    let refused = ended(&service, ORG, id(&ask(&service, ORG, &request).await)).await;
    assert_eq!(refused["status"], "failed");
    assert!(refused["error"].as_str().unwrap().contains("access denied"), "{refused}");
    s3.heal();
    s3.refuse();
    let away = ended(&service, ORG, id(&ask(&service, ORG, &request).await)).await;
    assert_eq!(away["status"], "failed");
    assert!(away["error"].as_str().unwrap().starts_with("object store: "), "{away}");
    s3.heal();
}

#[tokio::test]
async fn an_export_without_a_right_fails_at_once() {
    let mut world = World::new(1).await.unchecked(MADE_UP);
    let store = Store::Local(LocalStore::new());
    store.serve(&mut world);
    rollups(&mut world.connect().await, ORG, 2, 2).await;
    let service = world.serve().await;
    let mut owner = world.connect_as_owner().await;
    let revoke = "REVOKE SELECT ON analytics.rollup_revisions FROM analytics_service";
    sqlx::raw_sql(revoke).execute(&mut owner).await.unwrap();
    let failed = ended(&service, ORG, id(&ask(&service, ORG, &json!({ "timeRange": days(2) })).await)).await;
    assert_eq!(
        (&failed["status"], &failed["error"]),
        (&json!("failed"), &json!("the database lacks what a file needs"))
    );
    let attempts: i32 =
        sqlx::query_scalar("SELECT attempts FROM analytics.export_jobs").fetch_one(&mut owner).await.unwrap();
    assert_eq!(attempts, 1, "it is permanent");
    let grant = "GRANT SELECT ON analytics.rollup_revisions TO analytics_service";
    sqlx::raw_sql(grant).execute(&mut owner).await.unwrap();
    made(&service, ORG, &json!({ "timeRange": days(2) })).await;
}

#[tokio::test]
async fn a_full_disk_fails_exports_until_freed() {
    let local = Store::Local(LocalStore::new());
    let Store::Local(files) = &local else { unreachable!() };
    let folder = files.folder.path().to_str().unwrap().to_owned();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs", &folder]).output();
    if !mount.is_ok_and(|done| done.status.success()) {
        return not_run("a small disk cannot be mounted here");
    }
    let _mounted = Mounted(folder);
    let mut world = World::new(1).await.unchecked(MADE_UP);
    local.serve(&mut world);
    world.set("ANALYTICS__EXPORTS__MAX_ATTEMPTS", "2");
    let mut conn = world.connect().await;
    rollups(&mut conn, ORG, 20, 200).await;
    let service = world.serve().await;
    let job = ended(&service, ORG, id(&ask(&service, ORG, &large()).await)).await;
    assert_eq!((&job["status"], &job["error"]), (&json!("failed"), &json!("object store: no space left on device")));
    // Nothing of it uses the room of what fits.
    let small = made(&service, ORG, &json!({ "timeRange": days(20), "models": [MODEL] })).await;
    download(&service, ORG, &small).await;
    let report = world.publish(&["--events", "500", "--orgs", "2"]).await;
    crate::harness::settled(&mut conn, crate::harness::sent(&report)).await;
}

/// Of the models that [`rollups`] makes, the first.
const MODEL: &str = "00000000-0000-4000-8000-000000000001";

/// A disk that goes with the test.
struct Mounted(String);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).status();
    }
}

#[tokio::test]
async fn cancelling_a_running_export_leaves_nothing() {
    let store = Store::S3(S3Server::start());
    let s3 = store.s3();
    let world = store.world().await.unchecked(MADE_UP);
    rollups(&mut world.connect().await, ORG, 20, 200).await;
    s3.fault(Asked::Part(2), Fault::Slow(Duration::from_secs(30)), 1);
    let service = world.serve().await;
    let job = id(&ask(&service, ORG, &large()).await);
    running(&service, job).await;
    let cancel = path(ORG, &format!("/{job}/cancel"));
    let (status, _) = service.post(&cancel, &finance(&service, ORG), Vec::new()).await;
    assert_eq!(status, StatusCode::OK);
    let job = ended(&service, ORG, job).await;
    assert_eq!((&job["status"], &job["error"]), (&json!("failed"), &json!("cancelled")));
    eventually("the upload is aborted", async || s3.unfinished().is_empty().then_some(())).await;
    assert_eq!(store.keys().await, Vec::<String>::new());
}
