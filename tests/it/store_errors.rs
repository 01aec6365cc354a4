//! What the server's errors are taken for: what passes, what does not, and what only a migration ends.

use analytics_service::store::{StoreError, connect_writer, ingest::replays, read::ReadError};
use sqlx::PgConnection;

use crate::{harness::World, store_commit::CommitFixture};

async fn error_of(conn: &mut PgConnection, statement: &'static str) -> sqlx::Error {
    sqlx::raw_sql(statement).execute(conn).await.unwrap_err()
}

#[tokio::test]
async fn a_missing_table_is_permanent_and_named() {
    let mut fixture = CommitFixture::new(1).await;
    let mut owner = fixture.world.connect_as_owner().await;
    sqlx::raw_sql("ALTER TABLE analytics.replays RENAME TO mislaid").execute(&mut owner).await.unwrap();
    let error = replays::next(&mut fixture.conn, &fixture.claim).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StoreError::Lacks(_)) && !error.is_transient() && error.ends_start(), "{text}");
    assert!(text.contains("42P01") && text.contains("analytics.replays") && text.contains("run `migrate`"), "{text}");
    sqlx::raw_sql("ALTER TABLE analytics.mislaid RENAME TO replays").execute(&mut owner).await.unwrap();
    assert!(replays::next(&mut fixture.conn, &fixture.claim).await.unwrap().is_none());
}

#[tokio::test]
async fn errors_of_the_server_pass_or_stay() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    for (statement, code) in [
        ("SELECT FROM analytics.nowhere", "42P01"),
        ("SELECT nothing FROM analytics.replays", "42703"),
        ("DROP TABLE analytics.replays", "42501"),
    ] {
        let error = StoreError::from(error_of(&mut conn, statement).await);
        assert!(matches!(&error, StoreError::Lacks(text) if text.ends_with(&format!("(SQLSTATE {code})"))), "{error}");
    }
    for (statement, code) in [("SELECT 9223372036854775807 + 1", "22003"), ("SELECT 'no'::uuid", "22P02")] {
        let error = StoreError::from(error_of(&mut conn, statement).await);
        assert!(matches!(&error, StoreError::Permanent(text) if text.contains(code)), "{error}");
    }
    let mut holder = connect_writer(&world.settings.database).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK analytics.replays").execute(&mut holder).await.unwrap();
    for statement in [
        "SET lock_timeout = '10ms'; SELECT FROM analytics.replays",
        "SET statement_timeout = '10ms'; SELECT pg_sleep(10)",
        "SELECT pg_terminate_backend(pg_backend_pid())",
    ] {
        let error = StoreError::from(error_of(&mut conn, statement).await);
        assert!(error.is_transient() && !error.ends_start(), "{statement}: {error}");
    }
}

#[tokio::test]
async fn a_value_of_another_type_is_permanent() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let error = sqlx::query_scalar::<_, i64>("SELECT NULL::bigint").fetch_one(&mut conn).await.unwrap_err();
    assert!(matches!(StoreError::from(error), StoreError::Permanent(_)));
    let error = sqlx::query_scalar::<_, i64>("SELECT 'text'").fetch_one(&mut conn).await.unwrap_err();
    assert!(matches!(ReadError::from(error), ReadError::Store(StoreError::Permanent(_))));
}

#[tokio::test]
async fn only_a_reader_takes_too_long() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let slow = "SET statement_timeout = '10ms'; SELECT pg_sleep(10)";
    assert!(matches!(ReadError::from(error_of(&mut conn, slow).await), ReadError::TooSlow));
    assert!(matches!(StoreError::from(error_of(&mut conn, slow).await), StoreError::Transient(_)));
}
