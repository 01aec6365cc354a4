//! Files are kept for their time, and those of an erased org not at all.

use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{MADE_UP, ORG, Store, command, days, download, ended, fetch, get, id, link, made, rollups, running};
use crate::harness::S3Server;

const OTHER: Uuid = Uuid::from_u128(0xE5);

#[tokio::test]
async fn an_expired_file_can_be_recreated() {
    for store in Store::both() {
        let world = store.world().await.unchecked(MADE_UP);
        let mut conn = world.connect().await;
        rollups(&mut conn, ORG, 3, 2).await;
        rollups(&mut conn, OTHER, 3, 2).await;
        command(&world, &["retention", "set", "--org", &OTHER.to_string(), "--export-days", "200"]).await;
        let service = world.serve().await;
        let request = json!({ "timeRange": days(3) });
        let (job, kept) = (made(&service, ORG, &request).await, made(&service, OTHER, &request).await);
        let old_link = link(&service, ORG, id(&job)).await.unwrap();
        sqlx::query("UPDATE analytics.export_jobs SET expires_at = expires_at - INTERVAL '90 days'")
            .execute(&mut conn)
            .await
            .unwrap();
        let (would, _) = command(&world, &["purge", "--dry-run"]).await;
        assert_eq!((&would["exports"]["expired"], &would["exports"]["objects"]), (&json!(1), &json!(2)), "{would}");
        assert_eq!(store.keys().await.len(), 4);
        let (purged, _) = command(&world, &["purge"]).await;
        assert_eq!((&purged["exports"]["expired"], &purged["exports"]["objects"]), (&json!(1), &json!(2)), "{purged}");
        let left = [format!("{}.csv", id(&kept)), format!("{}.csv.manifest.json", id(&kept))];
        assert_eq!(store.keys().await, left.map(|name| format!("analytics/exports/{OTHER}/{name}")));
        let expired = get(&service, ORG, id(&job)).await;
        assert_eq!((&expired["status"], &expired["outputUri"]), (&json!("expired"), &Value::Null));
        assert_eq!(expired["checksum"], job["checksum"]);
        assert_eq!(link(&service, ORG, id(&job)).await, Err(StatusCode::GONE));
        assert!(fetch(&old_link).await.0.is_client_error());
        download(&service, OTHER, &kept).await;
        // The job is known for longer, and not for ever.
        sqlx::query(
            "UPDATE analytics.export_jobs SET completed_at = completed_at - INTERVAL '401 days' WHERE org_id = $1",
        )
        .bind(ORG)
        .execute(&mut conn)
        .await
        .unwrap();
        let (purged, _) = command(&world, &["purge"]).await;
        assert_eq!(purged["records"]["exportJobs"], 1, "{purged}");
        let again = made(&service, ORG, &request).await;
        assert_eq!(again["checksum"], job["checksum"], "the same data, the same bytes");
    }
}

#[tokio::test]
async fn sweeping_removes_only_abandoned_attempts() {
    let store = Store::S3(S3Server::start());
    let s3 = store.s3();
    let world = store.world().await.unchecked(MADE_UP);
    let mut conn = world.connect().await;
    rollups(&mut conn, ORG, 3, 2).await;
    let service = world.serve().await;
    let job = made(&service, ORG, &json!({ "timeRange": days(3) })).await;
    // A job whose file is there although it has failed, and a file of a job that nobody knows.
    sqlx::query(
        "UPDATE analytics.export_jobs SET status = 'failed', error = 'by hand', upload_id = 'gone', upload_key = 'analytics/x'",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    let unknown = format!("analytics/exports/{ORG}/{}.csv", Uuid::from_u128(1));
    let about = analytics_service::objects::About { org_id: ORG, job_id: ORG };
    s3.objects().put(None, &unknown, b"x", &about, analytics_service::objects::Mode::Create).await.unwrap();
    // Of what is young somebody may be at work.
    let (young, _) = command(&world, &["purge"]).await;
    assert_eq!((&young["exports"]["objects"], &young["exports"]["uploads"]), (&json!(0), &json!(1)), "{young}");
    s3.age(std::time::Duration::from_secs(7200));
    let (swept, _) = command(&world, &["purge"]).await;
    assert_eq!((&swept["exports"]["objects"], &swept["exports"]["unknown"]), (&json!(2), &json!(1)), "{swept}");
    assert_eq!(store.keys().await, [unknown]);
    assert_eq!(get(&service, ORG, id(&job)).await["status"], "failed");
}

#[tokio::test]
async fn of_an_erased_org_no_file_is_left() {
    let store = Store::S3(S3Server::start());
    let s3 = store.s3();
    let world = store.world().await.unchecked(MADE_UP);
    let mut conn = world.connect().await;
    rollups(&mut conn, ORG, 20, 200).await;
    rollups(&mut conn, OTHER, 3, 2).await;
    let service = world.serve().await;
    made(&service, ORG, &json!({ "timeRange": days(3) })).await;
    let kept = made(&service, OTHER, &json!({ "timeRange": days(3) })).await;
    // And one that is being made.
    s3.fault(crate::harness::Asked::Part(2), crate::harness::Fault::Slow(std::time::Duration::from_secs(15)), 1);
    let large = super::ask(&service, ORG, &json!({ "timeRange": days(20), "granularity": "hourly" })).await;
    running(&service, id(&large)).await;
    let (erased, code) = command(&world, &["erase", "--org", &ORG.to_string(), "--yes"]).await;
    assert_eq!(
        (code, &erased["removed"]["exports"], &erased["left"]["exports"]),
        (0, &json!(2), &json!(0)),
        "{erased}"
    );
    // The service that was generating the other file deletes the org's objects, too: it may be first.
    assert!(erased["removed"]["exportObjects"].as_i64().is_some_and(|gone| gone <= 2), "{erased}");
    assert_eq!(erased["left"]["exportObjects"], 0, "{erased}");
    crate::harness::eventually("the upload is given up", async || s3.unfinished().is_empty().then_some(())).await;
    // Whoever made it has heard of it by now, and has made nothing.
    ended(&service, OTHER, id(&super::ask(&service, OTHER, &json!({ "timeRange": days(1) })).await)).await;
    assert!(store.keys().await.iter().all(|key| key.starts_with(&format!("analytics/exports/{OTHER}/"))));
    download(&service, OTHER, &kept).await;
}
