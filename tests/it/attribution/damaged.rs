//! What waits to be folded and cannot be read: its days are counted again, and nothing stands still.

use analytics_service::store::attribution::unreadable;

use super::*;
use crate::harness::Load;

/// Makes the first row of a table unreadable.
async fn damage(conn: &mut PgConnection, table: &str, column: &str) {
    let damaged = format!(
        "UPDATE analytics.{table} SET {column} = '\\x09ff' WHERE batch_id = (SELECT min(batch_id::text)::uuid FROM analytics.{table})"
    );
    let done = sqlx::query(sqlx::AssertSqlSafe(damaged)).execute(conn).await.unwrap();
    assert_eq!(done.rows_affected(), 1, "{table}");
}

async fn stored(fixture: &mut CommitFixture) {
    let (now, mut rng) = (fixture.claim.now, rng(11));
    for org in 0..2_u128 {
        let events: Vec<Event> = (0..80)
            .map(|n| random(&mut rng, org, org * 1000 + n, now - TimeDelta::minutes(i64::try_from(n).unwrap() * 40)))
            .collect();
        commit(fixture, &events).await;
    }
}

async fn assert_whole(fixture: &mut CommitFixture) {
    count_all(&mut fixture.conn).await;
    let (reader, now) = (reader(&fixture.world.settings), fixture.claim.now);
    let buckets = covering(now - TimeDelta::days(4), now + TimeDelta::hours(1), Granularity::Day, Tz::UTC);
    for org in 0..2 {
        for names in [&["clientId"], &["actorId"]] {
            let read = read(&reader, &query(org, &buckets, names, Vec::new())).await;
            assert_eq!(sums(total(&read)), usage(&reader, org, &buckets).await);
            assert_eq!(read.as_of, Some(now));
        }
    }
    assert_eq!(differences(&mut fixture.conn, 4).await, [""; 0]);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_replaced_by_raw_events() {
    let mut fixture = fixture(10_000).await;
    stored(&mut fixture).await;
    damage(&mut fixture.conn, "attribution_pending", "partials").await;
    let report = fixture.world.run(&["verify", "--json"]).await;
    let found: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!((report.status.code(), &found["differences"]), (Some(3), &1.into()), "{found}");
    assert_eq!(found["findings"][0]["kind"], "attribution_unreadable");
    merge_all(&mut fixture).await;
    let stream = fixture.world.settings.broker.topology().base;
    let refused = fold::fold(&mut fixture.conn, &stream, 0).await.unwrap_err();
    assert!(!refused.is_transient() && refused.to_string().contains("version 9 is not known"), "{refused}");
    assert_eq!(unreadable::replace_all(&mut fixture.conn).await.unwrap().len(), 1);
    assert_eq!(unreadable::replace_all(&mut fixture.conn).await.unwrap(), []);
    fold_all(&mut fixture).await;
    assert_eq!(
        differences(&mut fixture.conn, 4).await,
        [""; 0],
        "what is counted later is not held against raw events"
    );
    assert_whole(&mut fixture).await;
}

#[tokio::test]
async fn an_unreadable_row_of_an_older_build_is_replaced() {
    let mut fixture = fixture(10_000).await;
    fixture.world.set("ANALYTICS__ATTRIBUTION__SETS", "");
    stored(&mut fixture).await;
    merge_all(&mut fixture).await;
    fixture.world.set("ANALYTICS__ATTRIBUTION__SETS", SETS);
    damage(&mut fixture.conn, "attribution_unattributed", "aggregates").await;
    assert_eq!(differences(&mut fixture.conn, 4).await, [""; 0]);
    assert_eq!(unreadable::replace_all(&mut fixture.conn).await.unwrap().len(), 1);
    fold_all(&mut fixture).await;
    assert_whole(&mut fixture).await;
}

#[tokio::test]
async fn refresh_and_erasure_go_on_beside_an_unreadable_row() {
    let mut fixture = fixture(10_000).await;
    stored(&mut fixture).await;
    merge_all(&mut fixture).await;
    damage(&mut fixture.conn, "attribution_pending", "partials").await;
    sums::count_days(&mut fixture, 4).await;
    fold_all(&mut fixture).await;
    assert_whole(&mut fixture).await;
    let more: Vec<Event> = (0..20).map(|n| random(&mut rng(12), 1, 5000 + n, fixture.claim.now)).collect();
    commit(&mut fixture, &more).await;
    merge_all(&mut fixture).await;
    damage(&mut fixture.conn, "attribution_pending", "partials").await;
    let report = fixture.world.report(&["erase", "--yes", "--org", &Uuid::from_u128(1).to_string()]).await;
    assert_eq!(report["left"]["attribution"], 0, "{report}");
    fold_all(&mut fixture).await;
    count_all(&mut fixture.conn).await;
    assert_eq!(differences(&mut fixture.conn, 4).await, [""; 0]);
}

#[tokio::test]
async fn unreadable_names_and_parts_are_counted_again() {
    let mut fixture = fixture(10_000).await;
    stored(&mut fixture).await;
    merge_all(&mut fixture).await;
    fold_all(&mut fixture).await;
    sqlx::query("UPDATE analytics.attribution_keys SET packed = '\\x07'").execute(&mut fixture.conn).await.unwrap();
    let more: Vec<Event> = (0..20).map(|n| random(&mut rng(12), 1, 5000 + n, fixture.claim.now)).collect();
    commit(&mut fixture, &more).await;
    merge_all(&mut fixture).await;
    fold_all(&mut fixture).await;
    assert_whole(&mut fixture).await;
    sqlx::query("UPDATE analytics.attribution_parts SET packed = '\\x07' WHERE part_no = (SELECT min(part_no) FROM analytics.attribution_parts WHERE part_no > 0)")
        .execute(&mut fixture.conn)
        .await
        .unwrap();
    // What else is to be done goes on, and counts it again.
    settle_all(&mut fixture.conn).await;
    let noted: i64 = sqlx::query_scalar("SELECT count(*) FROM analytics.attribution_recounts")
        .fetch_one(&mut fixture.conn)
        .await
        .unwrap();
    assert_eq!(noted, 1);
    sqlx::query("DELETE FROM analytics.attribution_recounts").execute(&mut fixture.conn).await.unwrap();
    let found = differences(&mut fixture.conn, 4).await;
    assert!(found.iter().any(|text| text.contains("version 7 is not known here")), "{found:?}");
    sums::count_days(&mut fixture, 4).await;
    assert_whole(&mut fixture).await;
}

#[tokio::test]
async fn purge_goes_on_beside_an_unreadable_part_and_has_it_counted_again() {
    let mut fixture = fixture(10_000).await;
    stored(&mut fixture).await;
    merge_all(&mut fixture).await;
    fold_all(&mut fixture).await;
    count_all(&mut fixture.conn).await;
    settle_all(&mut fixture.conn).await;
    let damaged = sqlx::query(
        "UPDATE analytics.attribution_parts SET packed = substr(packed, 1, length(packed) - 2)
         WHERE unit = 'day' AND (org_id, set_id, bucket_start) IN (
             SELECT org_id, set_id, bucket_start FROM analytics.attribution_parts WHERE unit = 'day' LIMIT 1)",
    );
    assert_eq!(damaged.execute(&mut fixture.conn).await.unwrap().rows_affected(), 1);
    fixture.world.report(&["purge"]).await;
    assert_whole(&mut fixture).await;
}

#[tokio::test]
async fn a_process_replaces_what_it_cannot_read() {
    let mut world = World::new(2).await;
    world.set("ANALYTICS__ATTRIBUTION__FOLD_SECONDS", "600");
    let mut conn = world.connect().await;
    let load = Load::launch(&world, "2", &crate::harness::FLAWS);
    let service = world.serve().await;
    load.exact(&world).await;
    drop(service);
    damage(&mut conn, "attribution_pending", "partials").await;
    world.set("ANALYTICS__ATTRIBUTION__FOLD_SECONDS", "1");
    let service = world.serve().await;
    eventually("all is folded and counted", async || {
        let left: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM analytics.attribution_pending) + (SELECT count(*) FROM analytics.attribution_recounts)",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap();
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(service.scrape().await.get("attribution_unreadable_total"), Some(1.0));
    let report = world.report(&["verify"]).await;
    assert_eq!(report["holds"], true, "{report}");
}

#[tokio::test]
async fn what_raw_events_cannot_replace_is_refused() {
    let mut fixture = fixture(10_000).await;
    let (now, mut rng) = (fixture.claim.now, rng(13));
    let events: Vec<Event> =
        (0..40).map(|n| random(&mut rng, n % 2, n, now - TimeDelta::hours(i64::try_from(n).unwrap() * 6))).collect();
    commit(&mut fixture, &events).await;
    merge_all(&mut fixture).await;
    damage(&mut fixture.conn, "attribution_pending", "partials").await;
    let org = Uuid::from_u128(1).to_string();
    fixture.world.report(&["retention", "set", "--org", &org, "--raw-days", "3"]).await;
    let purged = fixture.world.report(&["purge"]).await;
    assert!(purged["raw"]["orgEvents"].as_i64().unwrap() > 5, "{purged}");
    assert_eq!(unreadable::replace_all(&mut fixture.conn).await.unwrap().len(), 1);
    fold_all(&mut fixture).await;
    count_all(&mut fixture.conn).await;
    let reader = reader(&fixture.world.settings);
    let since = async |org: u128, days: i64| {
        let buckets = covering(now - TimeDelta::days(days), now + TimeDelta::hours(1), Granularity::Day, Tz::UTC);
        let read = reader.attribution(&query(org, &buckets, &["clientId"], Vec::new()), |_| Vec::new()).await;
        let usage = usage(&reader, org, &buckets).await;
        read.map(|read| (sums(total(&read.unwrap())), usage)).map_err(|error| error.to_string())
    };
    let (whole, expected) = since(0, 10).await.unwrap();
    assert_eq!(whole, expected);
    let refused = since(1, 10).await.unwrap_err();
    assert!(refused.contains("sums of attribution"), "instead of less than there was: {refused}");
    let (rest, expected) = since(1, 3).await.unwrap();
    assert_eq!(rest, expected);
    assert_eq!(differences(&mut fixture.conn, 10).await, [""; 0]);
}
