//! Export jobs in the database: who gets which, what is done about those that were left, and what is kept.

mod kept;
mod months;
mod rows;

use std::{collections::BTreeMap, time::Duration};

use analytics_service::{
    domain::{
        audit::{Actor, AuditEvent, Outcome},
        export::{ExportJob, ExportQuery, Output, Revised, Status, Totals, keys},
        money::Cents,
    },
    store::exports::{self, Claim, ClaimRules, Claimed, Claimer, Created, Heartbeat, NewExport},
};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::harness::{World, number};

const RULES: ClaimRules = ClaimRules { running_per_org: 2, takeover: Duration::from_secs(60), max_attempts: 3 };
/// Of those that were claimed at least a moment ago.
const AT_ONCE: ClaimRules = ClaimRules { takeover: Duration::ZERO, ..RULES };
const DAY: &str = r#"{"timeRange": {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"}}"#;
const KEPT: TimeDelta = TimeDelta::days(90);

fn act(org: Uuid) -> AuditEvent {
    AuditEvent::new(Actor::command_line("tests".to_owned()), "export.create", Outcome::Allowed).of_org(org)
}

fn claimer(name: &str) -> Claimer {
    Claimer { process: Uuid::now_v7(), name: name.to_owned() }
}

async fn ask(conn: &mut PgConnection, org: Uuid, body: &str, key: Option<&str>, most_open: u32) -> Created {
    let asked = NewExport {
        job_id: Uuid::now_v7(),
        org_id: org,
        body: body.as_bytes(),
        buckets: &[],
        bucket: None,
        idempotency_key: key,
        by: "ann",
        most_open,
        act: &act(org),
    };
    exports::create(conn, &asked).await.unwrap()
}

async fn made(conn: &mut PgConnection, org: Uuid) -> ExportJob {
    match ask(conn, org, DAY, None, 1000).await {
        Created::New(job) => *job,
        other => panic!("{other:?}"),
    }
}

async fn claim(conn: &mut PgConnection, rules: ClaimRules) -> Option<Claimed> {
    exports::claim(conn, &claimer("host/1"), rules).await.unwrap()
}

async fn get(conn: &mut PgConnection, job: &ExportJob) -> ExportJob {
    exports::get(conn, job.spec.org_id, job.id).await.unwrap().unwrap()
}

fn output(key: keys::Key, revision: Option<u32>, checksum: u8) -> Output {
    let cost = Cents::from_ten_thousandths(12_345_678_901_234_567_890);
    Output {
        key: key.to_string(),
        revision,
        checksum: [checksum; 32],
        bytes: 10,
        rows: 2,
        totals: Totals { invocations: 3, errors: 1, input_tokens: 5, output_tokens: 6, cost },
        as_of: Some(DateTime::UNIX_EPOCH),
        snapshot_at: DateTime::UNIX_EPOCH + TimeDelta::microseconds(1),
        revised: Revised { count: 4, last: Some(Uuid::from_u128(9)) },
    }
}

/// What came of the job that was requested.
fn demanded(claim: &Claim) -> Output {
    output(keys::Key::new(claim.org_id, keys::File::Demand(claim.job_id)), None, 7)
}

async fn succeed(conn: &mut PgConnection, claim: &Claim) -> ExportJob {
    exports::succeed(conn, claim, &demanded(claim), KEPT).await.unwrap().unwrap()
}

#[tokio::test]
async fn jobs_are_claimed_once_and_bounded_by_org() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let orgs: Vec<Uuid> = (0..5).map(|_| Uuid::new_v4()).collect();
    for n in 0..100 {
        made(&mut conn, orgs[n % orgs.len()]).await;
    }
    // Nobody ends what it claims: what is left is beyond the bound.
    let mut claimed: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for (org, job) in race(&world, false).await {
        claimed.entry(org).or_default().push(job);
    }
    assert_eq!(claimed.values().map(Vec::len).collect::<Vec<_>>(), [2; 5]);
    let running: Vec<(Uuid, Uuid)> =
        sqlx::query_as("SELECT org_id, job_id FROM analytics.export_jobs WHERE status = 'running'")
            .fetch_all(&mut conn)
            .await
            .unwrap();
    for (org, job) in &running {
        assert!(claimed[org].contains(job));
    }
    sqlx::query("UPDATE analytics.export_jobs SET status = 'pending', claim_id = NULL WHERE status = 'running'")
        .execute(&mut conn)
        .await
        .unwrap();
    let mut ended = race(&world, true).await;
    assert_eq!(ended.len(), 100);
    ended.sort_unstable();
    ended.dedup();
    assert_eq!(ended.len(), 100, "each was given once");
    let done = number(&mut conn, "SELECT count(*) FROM analytics.export_jobs WHERE status = 'succeeded'").await;
    assert_eq!(done, 100);
}

/// What eight claimers get that claim until there is nothing more.
async fn race(world: &World, end: bool) -> Vec<(Uuid, Uuid)> {
    let mut tasks = Vec::new();
    for n in 0..8 {
        let mut conn = world.connect().await;
        tasks.push(tokio::spawn(async move {
            let (mut got, me) = (Vec::new(), claimer(&format!("host/{n}")));
            let mut idle = 0;
            while idle < 3 {
                match exports::claim(&mut conn, &me, RULES).await.unwrap() {
                    Some(Claimed { claim, .. }) => {
                        got.push((claim.org_id, claim.job_id));
                        idle = 0;
                        if end {
                            succeed(&mut conn, &claim).await;
                        }
                    }
                    // All of the others' may be at work at this moment.
                    None => idle += 1,
                }
                tokio::task::yield_now().await;
            }
            got
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all
}

#[tokio::test]
async fn many_exports_do_not_delay_other_orgs() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let [many, one, two] = [1, 2, 3].map(Uuid::from_u128);
    for _ in 0..6 {
        made(&mut conn, many).await;
    }
    made(&mut conn, one).await;
    for _ in 0..2 {
        made(&mut conn, two).await;
    }
    // One actor, which ends each before the next.
    let mut order = Vec::new();
    for _ in 0..4 {
        let claimed = claim(&mut conn, RULES).await.unwrap();
        succeed(&mut conn, &claimed.claim).await;
        order.push(claimed.claim.org_id);
    }
    assert_eq!(order, [many, one, two, many]);
    // Several: the org with the fewest at work is next, and none has more than it may.
    let mut held = Vec::new();
    while let Some(claimed) = claim(&mut conn, RULES).await {
        held.push(claimed.claim.org_id);
    }
    assert_eq!(held, [two, many, many]);
}

#[tokio::test]
async fn an_abandoned_job_is_taken_over() {
    let world = World::new(1).await;
    let (mut one, mut two) = (world.connect().await, world.connect().await);
    let job = made(&mut one, Uuid::new_v4()).await;
    let first = claim(&mut one, RULES).await.unwrap();
    assert_eq!((first.job.id, first.job.status, first.job.attempts), (job.id, Status::Running, 1));
    assert!(exports::upload_begun(&mut one, &first.claim, "key", "upload-1").await.unwrap());
    assert!(claim(&mut two, RULES).await.is_none(), "its claimer lives");
    let second = claim(&mut two, AT_ONCE).await.unwrap();
    assert_eq!(
        (second.job.id, second.job.attempts, second.upload.map(|left| left.id)),
        (job.id, 2, Some("upload-1".to_owned()))
    );
    // The first one is still there, and knows nothing of it.
    let claim_1 = &first.claim;
    assert_eq!(exports::heartbeat(&mut one, claim_1).await.unwrap(), Heartbeat::Lost);
    assert_eq!(exports::succeed(&mut one, claim_1, &demanded(claim_1), KEPT).await.unwrap(), None);
    assert!(!exports::fail(&mut one, claim_1, "no").await.unwrap());
    assert!(!exports::retry(&mut one, claim_1, "no", Duration::ZERO).await.unwrap());
    assert!(!exports::release(&mut one, claim_1).await.unwrap());
    assert!(!exports::upload_begun(&mut one, claim_1, "key", "upload-2").await.unwrap());
    assert_eq!(exports::heartbeat(&mut two, &second.claim).await.unwrap(), Heartbeat::Held);
    let done = succeed(&mut two, &second.claim).await;
    assert_eq!((done.status, done.error, done.attempts), (Status::Succeeded, None, 2));
    assert!(claim(&mut one, AT_ONCE).await.is_none(), "it is over");
}

#[tokio::test]
async fn a_repeatedly_abandoned_job_fails() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let job = made(&mut conn, Uuid::new_v4()).await;
    for attempt in 1..=3 {
        assert_eq!(claim(&mut conn, AT_ONCE).await.unwrap().job.attempts, attempt);
    }
    assert!(claim(&mut conn, AT_ONCE).await.is_none());
    let job = get(&mut conn, &job).await;
    assert_eq!((job.status, job.attempts), (Status::Failed, 3));
    assert!(job.error.unwrap().contains("the process that worked on it ended") && job.completed_at.is_some());
}

#[tokio::test]
async fn failed_jobs_wait_and_returned_jobs_do_not() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let job = made(&mut conn, Uuid::new_v4()).await;
    let first = claim(&mut conn, RULES).await.unwrap().claim;
    assert!(exports::retry(&mut conn, &first, "the store is away", Duration::from_secs(600)).await.unwrap());
    let resting = get(&mut conn, &job).await;
    assert_eq!((resting.status, resting.error.as_deref()), (Status::Pending, Some("the store is away")));
    assert!(claim(&mut conn, RULES).await.is_none(), "it rests");
    sqlx::query("UPDATE analytics.export_jobs SET next_attempt_at = clock_timestamp()")
        .execute(&mut conn)
        .await
        .unwrap();
    let second = claim(&mut conn, RULES).await.unwrap();
    assert_eq!(second.job.attempts, 2);
    assert!(exports::release(&mut conn, &second.claim).await.unwrap());
    let third = claim(&mut conn, RULES).await.unwrap();
    assert_eq!(third.job.attempts, 2, "the second did not count");
    assert!(exports::fail(&mut conn, &third.claim, "the bucket is not there").await.unwrap());
    let failed = get(&mut conn, &job).await;
    assert_eq!((failed.status, failed.error.as_deref()), (Status::Failed, Some("the bucket is not there")));
}

/// Rows that the audit log has of an org.
async fn recorded(world: &World, org: Uuid) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM analytics.audit_events WHERE org_id = $1")
        .bind(org)
        .fetch_one(&mut world.connect_as_owner().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_idempotency_key_is_for_one_request() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let (org, other) = (Uuid::new_v4(), Uuid::new_v4());
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let mut conn = world.connect().await;
        tasks.push(tokio::spawn(async move { ask(&mut conn, org, DAY, Some("k"), 100).await }));
    }
    let (mut new, mut same) = (Vec::new(), Vec::new());
    for task in tasks {
        match task.await.unwrap() {
            Created::New(job) => new.push(job.id),
            Created::Same(job) => same.push(job.id),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((new.len(), &same), (1, &vec![new[0]; 7]));
    assert_eq!(recorded(&world, org).await, 1);
    let spaced = DAY.replace(": ", " :\n");
    assert!(matches!(ask(&mut conn, org, &spaced, Some("k"), 100).await, Created::Same(job) if job.id == new[0]));
    let hourly = DAY.replacen('{', r#"{"granularity": "hourly", "#, 1);
    assert_eq!(ask(&mut conn, org, &hourly, Some("k"), 100).await, Created::KeyTaken);
    assert!(matches!(ask(&mut conn, other, &hourly, Some("k"), 100).await, Created::New(_)), "another org's key");
    assert!(matches!(ask(&mut conn, org, DAY, None, 2).await, Created::New(_)), "without a key each is a new one");
    assert_eq!(ask(&mut conn, org, DAY, None, 2).await, Created::TooMany);
    assert_eq!(ask(&mut conn, org, DAY, Some("l"), 2).await, Created::TooMany);
    // What is known already is answered as before.
    assert!(matches!(ask(&mut conn, org, DAY, Some("k"), 0).await, Created::Same(_)));
    let wrong = DAY.replace("2026-03-02", "2126-03-02");
    let Created::Wrong(reasons) = ask(&mut conn, org, &wrong, None, 100).await else { panic!() };
    assert!(reasons.iter().any(|reason| reason.to_string() == "timeRange.end: must not be in the future"));
    // Nothing of all that is still open: nobody waits for this connection's locks.
    assert!(matches!(ask(&mut world.connect().await, org, DAY, None, 100).await, Created::New(_)));
}

#[tokio::test]
async fn waiting_and_running_jobs_can_be_cancelled() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let org = Uuid::new_v4();
    let waiting = made(&mut conn, org).await;
    assert_eq!(exports::cancel(&mut conn, Uuid::new_v4(), waiting.id, &act(org)).await.unwrap(), None, "not another's");
    let cancelled = exports::cancel(&mut conn, org, waiting.id, &act(org)).await.unwrap().unwrap();
    assert_eq!((cancelled.status, cancelled.error.as_deref()), (Status::Failed, Some("cancelled")));
    assert_eq!(exports::cancel(&mut conn, org, waiting.id, &act(org)).await.unwrap().unwrap(), cancelled);
    assert!(claim(&mut conn, RULES).await.is_none());

    // However the work on it ends that is to be cancelled, it does not begin again.
    for how in ["fails", "is retried", "is given back", "is left", "was quicker"] {
        let job = made(&mut conn, org).await;
        let claimed = claim(&mut conn, RULES).await.unwrap().claim;
        let asked = exports::cancel(&mut conn, org, job.id, &act(org)).await.unwrap().unwrap();
        assert_eq!((asked.status, asked.cancel_requested), (Status::Running, true), "{how}");
        assert_eq!(exports::heartbeat(&mut conn, &claimed).await.unwrap(), Heartbeat::Cancelled);
        let ended = match how {
            "fails" => exports::fail(&mut conn, &claimed, "cancelled").await.unwrap(),
            "is retried" => exports::retry(&mut conn, &claimed, "away", Duration::ZERO).await.unwrap(),
            "is given back" => exports::release(&mut conn, &claimed).await.unwrap(),
            "is left" => true,
            _ => exports::succeed(&mut conn, &claimed, &demanded(&claimed), KEPT).await.unwrap().is_some(),
        };
        assert!(ended, "{how}");
        assert!(claim(&mut conn, AT_ONCE).await.is_none(), "{how}");
        let job = get(&mut conn, &job).await;
        let expected =
            if how == "was quicker" { (Status::Succeeded, None) } else { (Status::Failed, Some("cancelled")) };
        assert_eq!((job.status, job.error.as_deref()), expected, "{how}");
    }
    assert_eq!(recorded(&world, org).await, 12, "each was requested and cancelled once");
}

#[tokio::test]
async fn an_org_lists_only_its_own_jobs() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let (org, other) = (Uuid::new_v4(), Uuid::new_v4());
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(made(&mut conn, org).await);
    }
    let foreign = made(&mut conn, other).await;
    let claimed = claim(&mut conn, RULES).await.unwrap();
    assert_eq!(claimed.job.id, jobs[0].id);
    let mut query = ExportQuery { org_id: org, status: None, before: None, limit: 2 };
    let mut listed = Vec::new();
    loop {
        let page = exports::list(&mut conn, &query).await.unwrap();
        listed.extend(page.entries.iter().map(|job| job.id));
        match page.next() {
            Some(next) => query.before = Some(next),
            None => break,
        }
    }
    assert_eq!(listed, jobs.iter().rev().map(|job| job.id).collect::<Vec<_>>());
    let pending = ExportQuery { status: Some(Status::Pending), before: None, limit: 100, ..query };
    let page = exports::list(&mut conn, &pending).await.unwrap();
    assert_eq!((page.entries.len(), page.more), (4, false));
    assert_eq!(page.entries[3], jobs[1], "a job is read as it was made");
    assert_eq!(exports::get(&mut conn, org, foreign.id).await.unwrap(), None);
}

fn now() -> DateTime<Utc> {
    Utc::now()
}
