//! Which schemas a build works with: older ones as far as it states, newer ones as far as their migrations state.

use analytics_service::store::schema;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::harness::{World, eventually, number, sent, settled};

/// Of a build that is newer than any.
const LATER: i64 = 20_991_231_000_000;

/// Runs a command that has to be refused, and gives its words.
async fn refused(world: &World, args: &[&str]) -> String {
    let output = world.run(args).await;
    let said = [output.stderr, output.stdout].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    said
}

async fn works(world: &World, owner: &mut PgConnection) {
    let before = number(owner, "SELECT coalesce(sum(received), 0)::bigint FROM analytics.ingestion_batches").await;
    let service = world.serve().await;
    let report = world.publish(&["--events", "500"]).await;
    settled(owner, before + sent(&report)).await;
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn a_build_starts_on_its_oldest_schema_and_no_older() {
    let world = World::new(1).await.unchecked("the schema is an earlier one at the end");
    let mut owner = world.connect_as_owner().await;
    let (oldest, newest) = (schema::OLDEST, schema::newest());
    schema::down(&mut owner, oldest).await.unwrap();
    works(&world, &mut owner).await;
    for command in ["purge", "maintain", "verify"] {
        world.report(&[command]).await;
    }
    let status = world.run(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["versions"]["schema"], oldest, "{status}");
    let below = format!("SELECT max(version) FROM public._sqlx_migrations WHERE version < {oldest}");
    let below = number(&mut owner, AssertSqlSafe(below)).await;
    schema::down(&mut owner, below).await.unwrap();
    let said = refused(&world, &["serve"]).await;
    let expected = format!(
        "the schema's version is {below}, without migration {oldest}, and this build works with {oldest} to {newest}: run `migrate`"
    );
    assert!(said.contains(&expected), "{said}");
    schema::down(&mut owner, 0).await.unwrap();
    let said = refused(&world, &["serve"]).await;
    assert!(said.contains("the database has no schema: run `migrate`"), "{said}");
}

#[tokio::test]
async fn a_build_starts_on_a_newer_schema_that_says_so() {
    let world = World::new(1).await;
    let mut owner = world.connect_as_owner().await;
    let newest = schema::newest();
    let says = async |owner: &mut PgConnection, oldest_build: i64| {
        sqlx::query(
            "INSERT INTO analytics.schema_compatibility VALUES ($1, $2)
             ON CONFLICT (migration) DO UPDATE SET oldest_build = excluded.oldest_build",
        )
        .bind(LATER)
        .bind(oldest_build)
        .execute(owner)
        .await
        .unwrap();
    };
    // Said in advance it is said of nothing.
    says(&mut owner, LATER).await;
    works(&world, &mut owner).await;
    sqlx::query("INSERT INTO public._sqlx_migrations VALUES ($1, 'of a later build', now(), true, '\\x00', 1)")
        .bind(LATER)
        .execute(&mut owner)
        .await
        .unwrap();
    let commands: [&[&str]; 10] = [
        &["serve"],
        &["migrate"],
        &["status"],
        &["verify"],
        &["purge"],
        &["maintain"],
        &["export", "monthly"],
        &["retention", "list"],
        &["partitions", "list"],
        &["partitions", "layout", "--set", "2", "--yes"],
    ];
    for command in commands {
        let said = refused(&world, command).await;
        assert!(said.contains(&format!("works with builds from {LATER} on; this one is {newest}")), "{said}");
    }
    says(&mut owner, newest).await;
    // With which the service's role may do nothing.
    sqlx::query("CREATE TABLE analytics.of_a_later_build (n integer)").execute(&mut owner).await.unwrap();
    works(&world, &mut owner).await;
    let output = world.run(&["migrate"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("newer than this build, which works with it"), "{said}");
    let output = world.run(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["versions"]["schema"], LATER, "{status}");
    let newest = newest.to_string();
    for down_to in ["0", &newest] {
        let said = refused(&world, &["migrate", "--down-to", down_to, "--yes"]).await;
        assert!(said.contains(&format!("migration {LATER} is of a newer build, which alone can undo it")), "{said}");
    }
    let mut service = world.connect().await;
    let forged = sqlx::query("UPDATE analytics.schema_compatibility SET oldest_build = 0").execute(&mut service).await;
    let forged = forged.unwrap_err().to_string();
    assert!(forged.contains("permission denied"), "{forged}");
}

#[tokio::test]
async fn a_running_process_ends_when_its_schema_no_longer_fits() {
    let world = World::new(1).await;
    let mut owner = world.connect_as_owner().await;
    let mut service = world.serve().await;
    service.signal("STOP");
    // As another build does while nobody sees this process.
    let later = "INSERT INTO public._sqlx_migrations VALUES ($1, 'of a later build', now(), true, '\\x00', 1)";
    sqlx::query(later).bind(LATER).execute(&mut owner).await.unwrap();
    service.signal("CONT");
    assert_eq!(service.wait_exit().await, Some(1));
}

#[tokio::test]
async fn a_migration_waits_for_processes_that_it_would_break() {
    let world = World::new(1).await;
    let mut owner = world.connect_as_owner().await;
    let newest = schema::newest();
    let service = world.serve().await;
    let declare = async |owner: &mut PgConnection, oldest: i64| {
        let declare = sqlx::query("SELECT analytics.works_with_builds_from($1, this_migration => $2)");
        declare.bind(oldest).bind(LATER).execute(owner).await.map_err(|error| error.to_string())
    };
    eventually("the process is among those at work", async || {
        let at_work = "SELECT count(*) FROM analytics.processes WHERE newest_migration IS NOT NULL";
        (number(&mut owner, at_work).await == 1).then_some(())
    })
    .await;
    declare(&mut owner, newest).await.unwrap();
    let name = format!("/{}", service.child.id());
    let error = declare(&mut owner, newest + 1).await.unwrap_err();
    assert!(error.contains("older processes are at work") && error.contains(&name), "{error}");
    // As one of a build that does not say which it is.
    sqlx::query("UPDATE analytics.processes SET newest_migration = NULL").execute(&mut owner).await.unwrap();
    declare(&mut owner, 20_261_129_000_118).await.unwrap();
    assert!(declare(&mut owner, 20_261_129_000_119).await.is_err());
    assert_eq!(service.terminate().await, Some(0));
    declare(&mut owner, newest + 1).await.unwrap();
}

#[tokio::test]
async fn each_migration_says_which_builds_work_with_it() {
    let world = World::new(1).await;
    let silent: Vec<i64> = sqlx::query_scalar(
        "SELECT version FROM public._sqlx_migrations m
         LEFT JOIN analytics.schema_compatibility c ON c.migration = m.version
         WHERE version >= 20261129000119
           AND NOT EXISTS (SELECT FROM public._sqlx_migrations b WHERE b.version = c.oldest_build)",
    )
    .fetch_all(&mut world.connect().await)
    .await
    .unwrap();
    assert_eq!(silent, Vec::<i64>::new(), "each begins with works_with_builds_from");
}
