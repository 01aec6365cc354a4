//! Migrations: up, down and up again.

use analytics_service::{
    domain::{event::Event, money::Cents},
    store::{
        self,
        rollups::merge::{PartitionName, merge},
        schema,
    },
};
use sqlx::{Connection, PgConnection};

use crate::{
    engines::{has_continuous, switch},
    harness::{Happened, LedgerSums, World, number, sent, settled},
    store_commit::{CommitFixture, body, event},
};

#[tokio::test]
async fn a_reverted_migration_can_be_reapplied() {
    let world = World::new(1).await;
    let mut owner = world.connect_as_owner().await;
    let role = store::user_of(&world.settings.database.url).unwrap();
    let service = world.serve().await;
    let report = world.publish(&["--events", "500", "--invalid", "0.1"]).await;
    settled(&mut owner, sent(&report)).await;
    assert_eq!(service.terminate().await, Some(0));
    let letters = "SELECT count(*) FROM analytics.dead_letters";
    let before = number(&mut owner, letters).await;
    assert!(before > 0);
    // To the first migration, which holds events and dead letters, and not to nothing.
    schema::down(&mut owner, 20_261_124_000_001).await.unwrap();
    assert!(schema::probe(&mut owner).await.is_err());
    schema::up(&mut owner, &role).await.unwrap();
    schema::probe(&mut owner).await.unwrap();
    let after = number(&mut owner, letters).await;
    assert_eq!(after, before);
    let service = world.serve().await;
    let more = world.publish(&["--events", "500", "--invalid", "0.1"]).await;
    settled(&mut owner, sent(&report) + sent(&more)).await;
    drop(service);
}

/// Takes back the migration that gave costs twelve decimals, and none that came after it.
async fn coarse_costs(owner: &mut PgConnection) -> sqlx::Result<()> {
    let mut tx = owner.begin().await?;
    sqlx::raw_sql(include_str!("../../migrations/20261128000105_costs.down.sql")).execute(&mut *tx).await?;
    sqlx::query("DELETE FROM public._sqlx_migrations WHERE version = 20261128000105").execute(&mut *tx).await?;
    tx.commit().await
}

async fn type_of_costs(owner: &mut PgConnection) -> String {
    sqlx::query_scalar(
        "SELECT string_agg(DISTINCT format_type(a.atttypid, a.atttypmod), ' ')
         FROM pg_inherits i JOIN pg_attribute a ON a.attrelid IN (i.inhrelid, i.inhparent)
         WHERE i.inhparent = 'analytics.usage_events'::regclass AND a.attname = 'cost_cents'",
    )
    .fetch_one(owner)
    .await
    .unwrap()
}

#[tokio::test]
async fn pending_rows_survive_an_upgrade() {
    let mut fixture = CommitFixture::new(1).await;
    let mut owner = fixture.world.connect_as_owner().await;
    let role = store::user_of(&fixture.world.settings.database.url).unwrap();
    coarse_costs(&mut owner).await.unwrap();
    let now = fixture.claim.now;
    let batch = fixture.batch((0..50).map(|n| body(&event(1, n, now))));
    fixture.commit(&batch).await.unwrap();
    assert_eq!(type_of_costs(&mut owner).await, "numeric(15,4)");
    schema::up(&mut owner, &role).await.unwrap();
    assert_eq!(type_of_costs(&mut owner).await, "numeric", "of the table and its chunks");
    let fine = Event { cost_estimate_cents: Cents::from_text("0.000000000001").unwrap(), ..event(1, 50, now) };
    let batch = fixture.batch([body(&fine)]);
    fixture.commit(&batch).await.unwrap();
    let stream = fixture.world.settings.broker.stream.clone();
    let rules = crate::store_merge::rules(9);
    let topology = fixture.world.settings.broker.topology();
    let name = PartitionName { stream: &stream, partition: 0, topology: &topology };
    let merged = merge(&mut fixture.conn, name, rules).await.unwrap();
    assert_eq!(merged.merge.batches, 2);
    let sums: (String, String) = sqlx::query_as(
        "SELECT (SELECT trim_scale(sum(cost_cents))::text FROM analytics.usage_events),
                (SELECT trim_scale(sum(cost_cents))::text FROM analytics.daily_rollups)",
    )
    .fetch_one(&mut fixture.conn)
    .await
    .unwrap();
    assert_eq!(sums, ("61.725000000001".to_owned(), "61.725000000001".to_owned()));
    let refused = coarse_costs(&mut owner).await.unwrap_err().to_string();
    assert!(refused.contains("1 events have costs of more than four decimals"), "{refused}");
    assert_eq!(type_of_costs(&mut owner).await, "numeric", "nothing is rounded");
}

#[tokio::test]
async fn a_running_service_survives_the_migration_of_costs() {
    let world = World::new(1).await;
    let mut owner = world.connect_as_owner().await;
    let costs = async |owner: &mut PgConnection, scale: &str| {
        let change = format!("ALTER TABLE analytics.usage_events ALTER COLUMN cost_cents TYPE {scale}");
        sqlx::query(sqlx::AssertSqlSafe(change)).execute(owner).await.unwrap();
    };
    costs(&mut owner, "numeric(15, 4)").await;
    let _service = world.serve().await;
    // Resends are looked up and compared, cost by cost, by statements that were prepared before.
    let flaws = ["--events", "2000", "--duplicates", "0.2", "--seed", "3"];
    let first = world.publish(&flaws).await;
    settled(&mut owner, sent(&first)).await;
    costs(&mut owner, "numeric").await;
    let second = world.publish(&flaws).await;
    settled(&mut owner, sent(&first) + sent(&second)).await;
    let sums = LedgerSums::of_batches(&mut owner).await;
    let count = |name: &str| first[name].as_i64().unwrap() + second[name].as_i64().unwrap();
    assert_eq!((sums.stored, sums.conflicts), (count("events"), count("conflicts")));
    Happened::assert_nothing_failed(&mut owner).await;
}

/// On the Community edition alone.
#[tokio::test]
async fn costs_are_not_migrated_under_aggregates_or_compression() {
    let mut fixture = CommitFixture::new(1).await;
    if !has_continuous(&mut fixture.conn).await {
        return;
    }
    let mut owner = fixture.world.connect_as_owner().await;
    let now = fixture.claim.now;
    let batch = fixture.batch([body(&event(1, 1, now))]);
    fixture.commit(&batch).await.unwrap();
    let migrate = async |owner: &mut PgConnection| {
        let mut tx = owner.begin().await.unwrap();
        let done = sqlx::raw_sql(include_str!("../../migrations/20261128000105_costs.up.sql")).execute(&mut *tx).await;
        tx.rollback().await.unwrap();
        done.map(|_| ()).map_err(|error| error.to_string())
    };
    switch(&fixture.world, "continuous").await;
    assert!(migrate(&mut owner).await.unwrap_err().contains("continuous aggregates depend on"));
    switch(&fixture.world, "live").await;
    assert_eq!(migrate(&mut owner).await, Ok(()));
    for statement in [
        "ALTER TABLE analytics.usage_events SET (timescaledb.compress)",
        "SELECT count(compress_chunk(c)) FROM show_chunks('analytics.usage_events') AS c",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    assert!(migrate(&mut owner).await.unwrap_err().contains("are compressed"));
    sqlx::query("SELECT count(decompress_chunk(c)) FROM show_chunks('analytics.usage_events') AS c")
        .execute(&mut owner)
        .await
        .unwrap();
    assert_eq!(migrate(&mut owner).await, Ok(()));
}

#[tokio::test]
async fn a_schema_is_taken_back_only_on_purpose() {
    let world = World::new(1).await.unchecked("the schema is an earlier one at the end");
    let service = world.serve().await;
    let undo = async |args: &[&str]| {
        let output = world.run(&[&["migrate", "--down-to"], args].concat()).await;
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let newest = schema::newest();
    let (code, text) = undo(&["99"]).await;
    assert!(code == Some(2) && text.contains(&format!("of which {newest} is the newest")), "{text}");
    let (code, text) = undo(&["0"]).await;
    assert!(code == Some(2) && text.contains("--yes is required without a terminal"), "{text}");
    let (code, text) = undo(&["0", "--yes"]).await;
    assert!(code == Some(1) && text.contains("stop the service first"), "{text}");
    let mut owner = world.connect_as_owner().await;
    schema::probe(&mut owner).await.unwrap();
    assert_eq!(undo(&[&newest.to_string()]).await.0, Some(0), "there is nothing to undo");
    assert_eq!(service.terminate().await, Some(0));
    let (code, text) = undo(&["20261128000114", "--yes"]).await;
    assert_eq!(code, Some(0), "{text}");
    let version = sqlx::query_scalar("SELECT max(version) FROM public._sqlx_migrations");
    let version: i64 = version.fetch_one(&mut owner).await.unwrap();
    assert_eq!(version, 20_261_128_000_114);
}

/// What the migrations that changed the form of continuous aggregates refuse. A table of the name stands in for one.
#[tokio::test]
async fn the_form_of_aggregates_changes_only_without_them() {
    let world = World::new(1).await;
    let mut owner = world.connect_as_owner().await;
    let role = store::user_of(&world.settings.database.url).unwrap();
    let run = async |owner: &mut PgConnection, statement: &'static str| {
        sqlx::query(statement).execute(owner).await.unwrap();
    };
    let at = async |owner: &mut PgConnection| -> i64 {
        let version = "SELECT max(version) FROM public._sqlx_migrations WHERE success";
        sqlx::query_scalar(version).fetch_one(owner).await.unwrap()
    };
    for (version, before) in [
        (20_261_129_000_117, 20_261_128_000_116),
        (20_261_128_000_116, 20_261_128_000_114),
        (20_261_128_000_111, 20_261_128_000_108),
    ] {
        schema::down(&mut owner, version).await.unwrap();
        run(&mut owner, "CREATE TABLE analytics.hourly_continuous ()").await;
        let error = schema::down(&mut owner, before).await.unwrap_err().to_string();
        assert!(error.contains("another form before this"), "{error}");
        assert!(error.contains("rollups switch --to live") && !error.contains("at line"), "with its hint: {error}");
        assert_eq!(at(&mut owner).await, version, "it is still there");
        run(&mut owner, "SELECT FROM analytics.hourly_materialised").await;
        run(&mut owner, "DROP TABLE analytics.hourly_continuous").await;
        if version == 20_261_128_000_111 {
            // While readers see aggregates, too.
            let reads = "UPDATE analytics.rollup_engine SET engine = 'continuous', continuous_from = 'epoch', hourly_to = 'epoch', daily_to = 'epoch'";
            run(&mut owner, reads).await;
            let error = schema::down(&mut owner, before).await.unwrap_err().to_string();
            assert!(error.contains("another form before this"), "{error}");
            run(&mut owner, "UPDATE analytics.rollup_engine SET engine = 'live', hourly_to = NULL, daily_to = NULL")
                .await;
        }
        schema::down(&mut owner, before).await.unwrap();

        run(&mut owner, "CREATE TABLE analytics.hourly_continuous ()").await;
        let error = schema::up(&mut owner, &role).await.unwrap_err().to_string();
        assert!(error.contains("another form from here on"), "{error}");
        assert_eq!(at(&mut owner).await, before, "nothing of it is there");
        run(&mut owner, "DROP TABLE analytics.hourly_continuous").await;
    }
    schema::up(&mut owner, &role).await.unwrap();
    schema::probe(&mut owner).await.unwrap();
}

#[tokio::test]
async fn concurrent_migrations_are_applied_once() {
    let world = World::new(1).await;
    let mut owner = world.connect_as_owner().await;
    schema::down(&mut owner, 20_261_124_000_001).await.unwrap();
    let together: Vec<_> =
        (0..6).map(|_| world.command(&["migrate"]).stderr(std::process::Stdio::null()).spawn().unwrap()).collect();
    for mut child in together {
        let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
        assert!(status.success());
    }
    schema::probe(&mut owner).await.unwrap();
    sqlx::query(
        "INSERT INTO public._sqlx_migrations VALUES (20991231000000, 'of a later build', now(), true, '\\x00', 1)",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    for command in ["serve", "migrate"] {
        let output = world.run(&[command]).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("20991231000000"), "{command}: {error}");
    }
}

/// TimescaleDB changes its catalogue between versions; what it documents it keeps.
#[tokio::test]
async fn functions_use_what_timescaledb_documents() {
    let world = World::new(1).await;
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT proname::text FROM pg_proc
         WHERE pronamespace = 'analytics'::regnamespace AND prosrc ~ '_timescaledb_(catalog|config|internal|functions)'
           -- Its documentation reads an aggregate's watermark in this way, and knows no other.
           AND proname <> 'materialised_to'",
    )
    .fetch_all(&mut world.connect().await)
    .await
    .unwrap();
    assert_eq!(found, Vec::<String>::new());
}
