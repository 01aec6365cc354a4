//! How long files are kept, and what is thrown away.

use super::*;

#[tokio::test]
async fn an_orgs_retention_decides_when_files_expire() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let (short, usual) = (Uuid::new_v4(), Uuid::new_v4());
    sqlx::query("INSERT INTO analytics.org_settings (org_id, export_days, changed_by) VALUES ($1, 7, 'tests')")
        .bind(short)
        .execute(&mut conn)
        .await
        .unwrap();
    for (org, days) in [(short, 7), (usual, 90)] {
        made(&mut conn, org).await;
        let claimed = claim(&mut conn, RULES).await.unwrap().claim;
        let done = succeed(&mut conn, &claimed).await;
        assert_eq!(done.expires_at.unwrap() - done.completed_at.unwrap(), TimeDelta::days(days));
        let expected = demanded(&claimed);
        assert_eq!(done.output.as_ref(), Some(&expected), "to the last decimal");
        assert!(done.output_uri().is_some());
    }
    assert_eq!(exports::expired(&mut conn, 10).await.unwrap(), []);
    let Created::New(job) = ask(&mut conn, usual, DAY, Some("k"), 100).await else { panic!() };
    let claimed = claim(&mut conn, RULES).await.unwrap().claim;
    assert!(exports::upload_begun(&mut conn, &claimed, "key", "u").await.unwrap());
    exports::succeed(&mut conn, &claimed, &demanded(&claimed), TimeDelta::zero()).await.unwrap().unwrap();
    let over = exports::expired(&mut conn, 10).await.unwrap();
    let file = format!("analytics/exports/{usual}/{}.csv", job.id);
    assert_eq!(over.len(), 1);
    assert_eq!((over[0].job_id, &over[0].keys), (job.id, &vec![file.clone(), format!("{file}.manifest.json")]));
    assert_eq!(exports::mark_expired(&mut conn, &[job.id]).await.unwrap(), 1);
    assert_eq!(exports::expired(&mut conn, 10).await.unwrap(), []);
    let expired = get(&mut conn, &job).await;
    assert_eq!((expired.status, expired.output_uri()), (Status::Expired, None));
    assert_eq!(exports::mark_expired(&mut conn, &[job.id]).await.unwrap(), 0);
    // The same under another key, or under none, is a new job; under the same key it is the one that is over.
    assert!(matches!(ask(&mut conn, usual, DAY, Some("k"), 100).await, Created::Same(same) if same.id == job.id));
    assert!(matches!(ask(&mut conn, usual, DAY, None, 100).await, Created::New(_)));
}

#[tokio::test]
async fn uploads_of_finished_jobs_are_aborted() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let org = Uuid::new_v4();
    let job = made(&mut conn, org).await;
    let claimed = claim(&mut conn, RULES).await.unwrap().claim;
    assert!(exports::upload_begun(&mut conn, &claimed, "key", "u").await.unwrap());
    assert_eq!(exports::abandoned_uploads(&mut conn, 10).await.unwrap(), [], "it is at work");
    assert!(exports::fail(&mut conn, &claimed, "no").await.unwrap());
    let left = exports::abandoned_uploads(&mut conn, 10).await.unwrap();
    assert_eq!(
        left.iter().map(|upload| (upload.job_id, upload.upload_id.as_str())).collect::<Vec<_>>(),
        [(job.id, "u")]
    );
    exports::upload_ended(&mut conn, job.id, "another").await.unwrap();
    assert_eq!(exports::abandoned_uploads(&mut conn, 10).await.unwrap().len(), 1);
    exports::upload_ended(&mut conn, job.id, "u").await.unwrap();
    assert_eq!(exports::abandoned_uploads(&mut conn, 10).await.unwrap(), []);
}
