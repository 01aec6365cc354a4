//! Months: each version is kept, and one that came out the same is none.

use analytics_service::domain::export::{
    Granularity, Kind, Month,
    keys::{File, Key},
};

use super::*;
use exports::NewMonth;

fn march() -> Month {
    "2026-03".parse().unwrap()
}

async fn ask_month(conn: &mut PgConnection, org: Uuid) -> Created {
    let (job_id, granularity, month) = (Uuid::now_v7(), Granularity::Monthly, march());
    let asked = NewMonth { job_id, org_id: org, month, granularity, bucket: None, by: "cron", act: &act(org) };
    exports::create_month(conn, &asked).await.unwrap()
}

async fn begin(conn: &mut PgConnection, org: Uuid) -> Claim {
    assert!(matches!(ask_month(conn, org).await, Created::New(_)));
    claim(conn, RULES).await.unwrap().claim
}

fn version(org: Uuid, revision: u32, checksum: u8) -> Output {
    output(Key::new(org, File::Version(march(), revision)), Some(revision), checksum)
}

async fn expire(conn: &mut PgConnection, job: Uuid) {
    sqlx::query("UPDATE analytics.export_jobs SET expires_at = clock_timestamp() WHERE job_id = $1")
        .bind(job)
        .execute(conn)
        .await
        .unwrap();
}

#[tokio::test]
async fn versions_of_a_month_are_numbered() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let org = Uuid::new_v4();
    let Created::New(job) = ask_month(&mut conn, org).await else { panic!() };
    assert_eq!((job.kind, job.month, job.spec.range), (Kind::Monthly, Some(march()), march().range()));
    assert!(matches!(ask_month(&mut conn, org).await, Created::Same(same) if same.id == job.id));
    let first = claim(&mut conn, RULES).await.unwrap().claim;
    assert!(matches!(ask_month(&mut conn, org).await, Created::Same(same) if same.id == job.id));
    let versions = exports::versions(&mut conn, org, march()).await.unwrap();
    assert_eq!((versions.next, versions.newest), (1, None));
    exports::succeed(&mut conn, &first, &version(org, 1, 1), KEPT).await.unwrap().unwrap();

    let second = begin(&mut conn, org).await;
    let versions = exports::versions(&mut conn, org, march()).await.unwrap();
    let kept = versions.newest.unwrap();
    assert_eq!((versions.next, kept.revision, kept.job_id, kept.checksum), (2, 1, job.id, [1; 32]));
    // It came out the same: no new version, and the file is that of the first one.
    let same = version(org, 1, 1);
    let done = exports::succeed_unchanged(&mut conn, &second, &same, KEPT, kept.job_id).await.unwrap().unwrap();
    assert_eq!(done.output, Some(same));

    let third = begin(&mut conn, org).await;
    let newest = exports::versions(&mut conn, org, march()).await.unwrap().newest.unwrap();
    assert_eq!(newest.job_id, second.job_id);
    let other = version(org, 1, 2);
    let refused = exports::succeed_unchanged(&mut conn, &third, &other, KEPT, newest.job_id).await.unwrap();
    assert_eq!(refused, None, "it is not the same");
    exports::succeed(&mut conn, &third, &version(org, 2, 2), TimeDelta::zero()).await.unwrap().unwrap();
    exports::mark_expired(&mut conn, &[third.job_id]).await.unwrap();
    let versions = exports::versions(&mut conn, org, march()).await.unwrap();
    assert_eq!((versions.next, versions.newest), (3, None), "the file is gone, and its number is not given again");
}

#[tokio::test]
async fn a_shared_version_outlives_its_first_job() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let org = Uuid::new_v4();
    let first = begin(&mut conn, org).await;
    exports::succeed(&mut conn, &first, &version(org, 1, 1), KEPT).await.unwrap().unwrap();
    let second = begin(&mut conn, org).await;
    expire(&mut conn, first.job_id).await;
    assert_eq!(exports::expired(&mut conn, 10).await.unwrap(), [], "the month is at work");
    let refused =
        exports::succeed_unchanged(&mut conn, &second, &version(org, 1, 1), KEPT, first.job_id).await.unwrap();
    assert_eq!(refused, None, "the first one's file may be gone at any moment");
    sqlx::query("UPDATE analytics.export_jobs SET expires_at = expires_at + INTERVAL '2 hours' WHERE job_id = $1")
        .bind(first.job_id)
        .execute(&mut conn)
        .await
        .unwrap();
    let unchanged =
        exports::succeed_unchanged(&mut conn, &second, &version(org, 1, 1), KEPT, first.job_id).await.unwrap();
    assert!(unchanged.is_some());
    expire(&mut conn, first.job_id).await;
    let keys = |of: &[exports::Expired]| of.iter().map(|one| (one.job_id, one.keys.clone())).collect::<Vec<_>>();
    assert_eq!(keys(&exports::expired(&mut conn, 10).await.unwrap()), [(first.job_id, vec![])]);
    exports::mark_expired(&mut conn, &[first.job_id]).await.unwrap();

    let third = begin(&mut conn, org).await;
    exports::succeed(&mut conn, &third, &version(org, 2, 2), KEPT).await.unwrap().unwrap();
    for (job, names) in [(second.job_id, vec!["202603.r1"]), (third.job_id, vec!["202603.r2", "202603"])] {
        expire(&mut conn, job).await;
        let names = names.iter().flat_map(|name| ["csv", "csv.manifest.json"].map(|end| format!("{name}.{end}")));
        let expected = names.map(|name| format!("analytics/exports/{org}/{name}")).collect();
        assert_eq!(keys(&exports::expired(&mut conn, 10).await.unwrap()), [(job, expected)]);
        exports::mark_expired(&mut conn, &[job]).await.unwrap();
    }
}

#[tokio::test]
async fn a_month_is_generated_for_active_orgs() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let orgs: Vec<Uuid> = (1..=5).map(Uuid::from_u128).collect();
    for (org, day, successes) in [
        (orgs[0], "2026-02-28", 1),
        (orgs[1], "2026-03-01", 1),
        (orgs[2], "2026-03-31", 1),
        (orgs[3], "2026-03-31", 0),
        (orgs[4], "2026-04-01", 1),
    ] {
        sqlx::query(
            "INSERT INTO analytics.daily_rollups VALUES
             ($1, $2::timestamptz, $1, $3, 0, 0, 0, 0, 0, 0, 0, 0, 0, '\\x00', now(), now())",
        )
        .bind(org)
        .bind(format!("{day}T00:00:00Z").parse::<DateTime<Utc>>().unwrap())
        .bind(successes)
        .execute(&mut conn)
        .await
        .unwrap();
    }
    assert_eq!(exports::orgs_with_usage(&mut conn, march(), None, 10).await.unwrap(), orgs[1..3]);
    assert_eq!(exports::orgs_with_usage(&mut conn, march(), None, 1).await.unwrap(), orgs[1..2]);
    assert_eq!(exports::orgs_with_usage(&mut conn, march(), Some(orgs[1]), 1).await.unwrap(), orgs[2..3]);
}
