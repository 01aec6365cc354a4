//! Migrations: up, down and up again.

use analytics_service::store::{self, schema};

use crate::harness::World;

#[tokio::test]
async fn a_migration_that_was_taken_back_can_be_applied_again() {
    let world = World::new(1).await;
    let mut owner = world.connect_as_owner().await;
    let role = store::user_of(&world.settings.database.url).unwrap();
    let service = world.serve().await;
    let report = world.publish(&["--events", "500", "--invalid", "0.1"]).await;
    crate::harness::settled(&mut owner, crate::harness::sent(&report)).await;
    assert_eq!(service.terminate().await, Some(0));
    let letters = "SELECT count(*) FROM analytics.dead_letters";
    let before: i64 = sqlx::query_scalar(letters).fetch_one(&mut owner).await.unwrap();
    assert!(before > 0);
    // To the first migration, which holds events and dead letters, and not to nothing.
    schema::down(&mut owner, 20_261_124_000_001).await.unwrap();
    assert!(schema::probe(&mut owner).await.is_err());
    schema::up(&mut owner, &role).await.unwrap();
    schema::probe(&mut owner).await.unwrap();
    let after: i64 = sqlx::query_scalar(letters).fetch_one(&mut owner).await.unwrap();
    assert_eq!(after, before);
    let service = world.serve().await;
    let more = world.publish(&["--events", "500", "--invalid", "0.1"]).await;
    crate::harness::settled(&mut owner, crate::harness::sent(&report) + crate::harness::sent(&more)).await;
    drop(service);
}

#[tokio::test]
async fn migrations_that_start_together_are_applied_once_and_a_newer_schema_is_refused() {
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
