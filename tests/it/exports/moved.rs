//! The object store is moved while exports are requested and generated: to S3, to another bucket, to another server. The commands
//! are those of docs/backup.md.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{MADE_UP, ORG, Store, ask, days, download, ended, get, id, rollups};
use crate::harness::{
    Asked, BUCKET, Fault, LocalStore, Place, S3Server, SECOND_BUCKET, Service, World, commands, eventually,
    local_folder, not_run,
};

const COPY: &str = "Copy the objects";
const JOBS: &str = "Have jobs know another bucket";

/// A store as `rclone` reaches it.
fn remote(name: &str, store: &Store, bucket: &str) -> (String, Vec<(String, String)>) {
    let Store::S3(s3) = store else {
        let Store::Local(local) = store else { unreachable!() };
        return (local.folder.path().to_str().unwrap().to_owned(), Vec::new());
    };
    let of: BTreeMap<_, _> = s3.variables().into_iter().collect();
    let settings = [
        ("TYPE", "s3"),
        ("PROVIDER", "Other"),
        ("ENDPOINT", &of["ANALYTICS__OBJECTS__ENDPOINT"]),
        ("REGION", &of["ANALYTICS__OBJECTS__REGION"]),
        ("ACCESS_KEY_ID", &of["AWS_ACCESS_KEY_ID"]),
        ("SECRET_ACCESS_KEY", &of["AWS_SECRET_ACCESS_KEY"]),
    ];
    let settings = settings.map(|(key, value)| (format!("RCLONE_CONFIG_{name}_{key}"), value.to_owned()));
    (format!("{name}:{bucket}"), settings.into())
}

/// Exports that were requested so far, and what is known of those that have ended.
#[derive(Default)]
struct Jobs {
    open: Vec<Uuid>,
    ended: Vec<Value>,
}

impl Jobs {
    async fn are_all_there(&mut self, service: &Service) {
        for job in self.open.drain(..) {
            let job = ended(service, ORG, job).await;
            assert_eq!(job["status"], "succeeded", "{job}");
            self.ended.push(job);
        }
        self.open_as_before(service).await;
    }

    async fn open_as_before(&self, service: &Service) {
        for job in &self.ended {
            assert_eq!(get(service, ORG, id(job)).await["checksum"], job["checksum"]);
            download(service, ORG, job).await;
        }
    }
}

/// Requests an export.
async fn requested(service: &Service, request: &Value) -> Uuid {
    id(&ask(service, ORG, request).await)
}

/// Requests one and waits for its end.
async fn generated(service: &Service, request: &Value) -> Value {
    let job = ended(service, ORG, requested(service, request).await).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    job
}

/// Moves the store of a running service, and gives the service that uses the new one.
async fn moved(
    world: &mut World,
    service: Service,
    jobs: &mut Jobs,
    (from, old_bucket): (&Store, &str),
    (to, new_bucket): (&Store, &str),
) -> Service {
    let place = Place::new();
    let ((old, of_old), (new, of_new)) = (remote("OLD", from, old_bucket), remote("NEW", to, new_bucket));
    let mut variables = [of_old, of_new].concat();
    variables.extend([("OLD", old), ("NEW", new)].map(|(name, value)| (name.to_owned(), value)));
    let database = format!("dbname={}", world.database());
    for (name, value) in [("DATABASE", database.as_str()), ("OLD_BUCKET", old_bucket), ("NEW_BUCKET", new_bucket)] {
        variables.push((name.to_owned(), value.to_owned()));
    }
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();

    // While the service runs as before.
    place.carry_out(world, &commands(COPY, 1), &variables).await;
    jobs.ended.push(generated(&service, &json!({ "timeRange": days(2) })).await);
    let large = requested(&service, &json!({ "timeRange": days(20), "granularity": "hourly" })).await;
    // Half written, where the store is slow.
    eventually("somebody works on it", async || (get(&service, ORG, large).await["status"] != "pending").then_some(()))
        .await;
    jobs.open.push(large);

    // Processes that generate no files.
    world.set("ANALYTICS__EXPORTS__ACTORS", "0");
    world.set("ANALYTICS__OBJECTS__ALLOWED_BUCKETS", new_bucket);
    assert_eq!(service.terminate().await, Some(0));
    let service = world.serve().await;
    jobs.open.push(requested(&service, &json!({ "timeRange": days(3) })).await);
    place.carry_out(world, &commands(COPY, 2), &variables).await;
    jobs.open_as_before(&service).await;
    if old_bucket != new_bucket && matches!(from, Store::S3(_)) {
        place.carry_out(world, &commands(JOBS, 1), &variables).await;
        jobs.open_as_before(&service).await;
    }

    // Processes with the new store.
    to.serve(world);
    world.set("ANALYTICS__OBJECTS__BUCKET", new_bucket);
    world.set("ANALYTICS__EXPORTS__ACTORS", "1");
    assert_eq!(service.terminate().await, Some(0));
    let service = world.serve().await;
    jobs.are_all_there(&service).await;
    service
}

#[tokio::test]
async fn a_moved_store_keeps_every_export() {
    if !local_folder().join("rclone/rclone").exists() {
        return not_run("rclone is not there (make test unpacks it from Debian's package)");
    }
    let (local, first, second) =
        (Store::Local(LocalStore::new()), Store::S3(S3Server::start()), Store::S3(S3Server::start()));
    let mut world = local.world().await.unchecked(MADE_UP);
    let mut conn = world.connect().await;
    rollups(&mut conn, ORG, 20, 200).await;
    let mut jobs = Jobs::default();
    let service = world.serve().await;
    jobs.ended.push(generated(&service, &json!({ "timeRange": days(1) })).await);
    // From the folder to S3.
    let service = moved(&mut world, service, &mut jobs, (&local, ""), (&first, BUCKET)).await;
    drop(local);
    // To another bucket of the same server, while a file is half written.
    first.s3().fault(Asked::Part(2), Fault::Slow(Duration::from_secs(5)), 1);
    let service = moved(&mut world, service, &mut jobs, (&first, BUCKET), (&first, SECOND_BUCKET)).await;
    // To a bucket of the same name of another server.
    first.s3().fault(Asked::Part(2), Fault::Slow(Duration::from_secs(5)), 1);
    let service = moved(&mut world, service, &mut jobs, (&first, SECOND_BUCKET), (&second, SECOND_BUCKET)).await;
    drop(first);
    jobs.open_as_before(&service).await;
    assert_eq!(jobs.ended.len(), 10);
    let job = generated(&service, &json!({ "timeRange": days(4) })).await;
    download(&service, ORG, &job).await;
    assert_eq!(service.terminate().await, Some(0));
}
