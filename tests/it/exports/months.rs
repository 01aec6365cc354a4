//! Months: a file each for every org, versions that are never overwritten, and what is behind each.

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{MADE_UP, ORG, Store, command, download, get, rollups};
use crate::harness::{LocalStore, S3Server, settled};

const OTHER: Uuid = Uuid::from_u128(0xE7);

/// A moment of the month that was over last.
fn last_month() -> DateTime<Utc> {
    let now = Utc::now();
    now - TimeDelta::days(i64::from(now.day()) + 3)
}

fn event(org: Uuid, n: u128) -> Vec<u8> {
    json!({
        "eventId": Uuid::from_u128(n), "orgId": org, "modelId": Uuid::from_u128(n % 3), "occurredAt": last_month(),
        "status": "success", "latencyMs": 20, "inputTokens": 3, "outputTokens": 4, "costEstimateCents": 0.0001,
    })
    .to_string()
    .into_bytes()
}

async fn newest(conn: &mut PgConnection, org: Uuid) -> Uuid {
    sqlx::query_scalar(
        "SELECT job_id FROM analytics.export_jobs WHERE org_id = $1 AND kind = 'monthly' ORDER BY job_id DESC LIMIT 1",
    )
    .bind(org)
    .fetch_one(conn)
    .await
    .unwrap()
}

fn counted(said: &Value) -> (u64, u64, u64, usize) {
    let number = |name: &str| said[name].as_u64().unwrap();
    (number("orgs"), number("made"), number("unchanged"), said["failed"].as_array().unwrap().len())
}

#[tokio::test]
async fn a_changed_month_gets_a_new_version() {
    for store in Store::both() {
        let world = store.world().await;
        let service = world.serve().await;
        let mut conn = world.connect().await;
        world.send((0..40).map(|n| event(if n % 2 == 0 { ORG } else { OTHER }, n))).await;
        settled(&mut conn, 40).await;
        let compact = last_month().format("%Y%m").to_string();
        // Several at once, and again: one file an org.
        let (one, two) = tokio::join!(command(&world, &["export", "monthly"]), command(&world, &["export", "monthly"]));
        for (said, code) in [&one, &two] {
            assert_eq!((*code, said["orgs"].as_u64(), counted(said).3), (0, Some(2), 0), "{said}");
        }
        let (again, _) =
            command(&world, &["export", "monthly", "--month", &last_month().format("%Y-%m").to_string()]).await;
        assert_eq!(counted(&again), (2, 0, 2, 0), "{again}");
        let names = |org: Uuid, versions: &[u32]| {
            let versions = versions.iter().map(|n| format!("{compact}.r{n}.csv"));
            let mut keys: Vec<String> = [format!("{compact}.csv")]
                .into_iter()
                .chain(versions)
                .flat_map(|name| ["", ".manifest.json"].map(|rest| format!("analytics/exports/{org}/{name}{rest}")))
                .collect();
            keys.sort();
            keys
        };
        let mut expected = [names(ORG, &[1]), names(OTHER, &[1])].concat();
        expected.sort();
        assert_eq!(store.keys().await, expected);
        let first_job = newest(&mut conn, ORG).await;
        let first = get(&service, ORG, first_job).await;
        assert_eq!((&first["revision"], &first["totals"]["invocations"]), (&json!(1), &json!(20)));
        let booked = download(&service, ORG, &first).await;
        // One late event of one org.
        world.send([event(ORG, 1000)]).await;
        settled(&mut conn, 41).await;
        let (said, _) = command(&world, &["export", "monthly"]).await;
        assert_eq!(counted(&said), (2, 1, 1, 0), "{said}");
        let mut expected = [names(ORG, &[1, 2]), names(OTHER, &[1])].concat();
        expected.sort();
        assert_eq!(store.keys().await, expected);
        let second = get(&service, ORG, newest(&mut conn, ORG).await).await;
        assert_eq!((&second["revision"], &second["totals"]["invocations"]), (&json!(2), &json!(21)));
        assert_eq!(download(&service, ORG, &first).await, booked, "what was booked is as it was");
        let objects = match &store {
            Store::S3(s3) => s3.objects(),
            Store::Local(local) => local.objects(),
        };
        let read = async |name: &str| {
            let key = format!("analytics/exports/{ORG}/{compact}{name}");
            let pieces = objects.get(None, &key).await.unwrap().stream;
            let pieces: Vec<bytes::Bytes> = futures_util::TryStreamExt::try_collect(pieces).await.unwrap();
            pieces.concat()
        };
        assert_eq!(read(".csv").await, download(&service, ORG, &second).await, "the latest is the second");
        let manifest: Value = serde_json::from_slice(&read(".r2.csv.manifest.json").await).unwrap();
        assert_eq!((&manifest["revision"], &manifest["rows"]), (&json!(2), &second["rowCount"]));
        assert_eq!(manifest["checksumSha256"], second["checksum"]);
        assert_eq!(manifest["revisions"]["changes"][0]["reason"], "late", "{manifest}");
        assert!(!manifest.to_string().to_lowercase().contains("offset"));
        // The first one differs from what is known now, and the revisions say why; the second does not.
        let verify = async |job: &Value| command(&world, &["verify", "--export", job["jobId"].as_str().unwrap()]).await;
        let (checked, code) = verify(&second).await;
        assert_eq!((code, &checked["verdict"], &checked["raw"]), (0, &json!("same"), &checked["rollups"]), "{checked}");
        let (checked, code) = verify(&first).await;
        assert_eq!((code, &checked["difference"]["invocations"]), (0, &json!(1)), "{checked}");
        assert!(["revised", "madeBeforeFinal"].contains(&checked["verdict"].as_str().unwrap()), "{checked}");
        // A file that was changed by hand is found.
        objects
            .put(
                None,
                &format!("analytics/exports/{ORG}/{compact}.r2.csv"),
                b"org_id\r\n",
                &analytics_service::objects::About { org_id: ORG, job_id: ORG },
                analytics_service::objects::Mode::Overwrite,
            )
            .await
            .unwrap();
        let (checked, code) = verify(&second).await;
        assert_eq!((code, &checked["holds"]), (3, &json!(false)), "{checked}");
        objects.delete(None, &format!("analytics/exports/{ORG}/{compact}.r2.csv")).await.unwrap();
        let (checked, code) = verify(&second).await;
        assert_eq!((code, &checked["problems"]), (3, &json!(["the file is not in the object store"])), "{checked}");
    }
}

#[tokio::test]
async fn only_a_month_that_is_over_is_made() {
    let store = Store::Local(LocalStore::new());
    let world = store.world().await.unchecked(MADE_UP);
    rollups(&mut world.connect().await, ORG, 3, 1).await;
    for month in [Utc::now().format("%Y-%m").to_string(), "2199-01".to_owned(), "2026-1".to_owned()] {
        let output = world.run(&["export", "monthly", "--month", &month]).await;
        assert_eq!(output.status.code(), Some(2), "{month}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--month"), "{month}");
    }
    let (said, code) = command(&world, &["export", "monthly", "--month", "2019-01"]).await;
    assert_eq!((code, counted(&said)), (0, (0, 0, 0, 0)), "nothing was purged of it, and nobody used anything: {said}");
}

#[tokio::test]
async fn a_partly_purged_month_has_no_file() {
    let store = Store::Local(LocalStore::new());
    let world = store.world().await.unchecked("an org's rollups go before its raw events");
    let mut conn = world.connect().await;
    let service = world.serve().await;
    world.send((0..4).map(|n| event(ORG, n))).await;
    settled(&mut conn, 4).await;
    assert_eq!(counted(&command(&world, &["export", "monthly"]).await.0), (1, 1, 0, 0));
    let first = get(&service, ORG, newest(&mut conn, ORG).await).await;
    let before = store.keys().await;
    let org = ORG.to_string();
    command(&world, &["retention", "set", "--org", &org, "--rollup-days", "1"]).await;
    assert_eq!(counted(&command(&world, &["export", "monthly"]).await.0), (1, 0, 1, 0), "nothing is purged yet");
    command(&world, &["purge"]).await;
    // A longer retention brings nothing back; an event that comes late is not the month.
    command(&world, &["retention", "clear", "--org", &org]).await;
    world.send([event(ORG, 4)]).await;
    settled(&mut conn, 5).await;
    for only in [&[][..], &["--org", &org]] {
        let output = world.run(&[&["export", "monthly"], only].concat()).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let kept = Utc::now() - TimeDelta::days(1);
        let first = if kept.day() == 1 { kept } else { kept + TimeDelta::days(32 - i64::from(kept.day())) };
        let reason = "a part of the month is purged: the first that can be generated is that of";
        assert!(said.contains(&format!("{org}: {reason} {}", first.format("%Y-%m"))), "{said}");
    }
    assert_eq!(store.keys().await, before);
    let month = last_month().with_day(1).unwrap().format("%Y-%m-%dT00:00:00Z").to_string();
    let day = (last_month() + TimeDelta::days(1)).format("%Y-%m-%dT00:00:00Z").to_string();
    let request = json!({"timeRange": {"start": month, "end": day}}).to_string().into_bytes();
    let (status, refused) = service.post(&super::path(ORG, ""), &super::finance(&service, ORG), request).await;
    assert_eq!((status.as_u16(), &refused["errors"][0]["field"]), (400, &json!("timeRange.start")), "{refused}");
    // The file that there is stays what it was, and cannot be held against what is gone.
    let (checked, code) = command(&world, &["verify", "--export", first["jobId"].as_str().unwrap()]).await;
    assert_eq!((code, &checked["verdict"]), (0, &json!("notKept")), "{checked}");
}

#[tokio::test]
async fn a_killed_monthly_export_can_be_rerun() {
    let store = Store::S3(S3Server::start());
    let world = store.world().await;
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let orgs: Vec<Uuid> = (0..30).map(|n| Uuid::from_u128(0xE000 + n)).collect();
    world.send(orgs.iter().zip(0..).flat_map(|(org, n)| [event(*org, 2 * n), event(*org, 2 * n + 1)])).await;
    settled(&mut conn, 60).await;
    drop(service);
    for _ in 0..4 {
        let mut child = world.command(&["export", "monthly"]).spawn().unwrap();
        crate::harness::millis(50..600).await;
        let _ = child.kill();
        child.wait().unwrap();
    }
    let (said, code) = command(&world, &["export", "monthly"]).await;
    assert_eq!((code, said["orgs"].as_u64()), (0, Some(30)), "{said}");
    let (again, _) = command(&world, &["export", "monthly"]).await;
    assert_eq!(counted(&again), (30, 0, 30, 0), "{again}");
    // Each once: what a killed one had written was taken for its own by the next.
    assert_eq!(store.keys().await.len(), 30 * 4);
}
