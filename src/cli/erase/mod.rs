//! `erase`: deletes an organisation's or a person's data, and says what was removed and what is left.

mod files;
mod person_files;
mod report;

use std::{process::ExitCode, time::Duration};

use clap::ArgGroup;
use uuid::Uuid;

use self::{
    person_files::FilesError,
    report::{Erasee, Report},
};
use crate::{
    cache::{CacheError, FreshnessCache},
    cli::{
        bad_usage, confirm,
        maintenance::{self, Common, Steps},
        operator,
    },
    config::Settings,
    domain::audit::{AuditEvent, Outcome},
    objects::Objects,
    store::{
        PgConnection,
        access::audit,
        exports,
        lifecycle::{
            erase::{self, Counts},
            maintenance::{Access, TaskLock},
        },
        names,
        rollups::recount,
    },
};

const LONG_ABOUT: &str = "\
Delete an organisation's or a person's data, for good

Of an organisation: raw events, hourly and daily rollups, what waits to be merged, attribution, revisions, dead letters,
exports and their files, freshness markers in the database and in Redis, API keys, settings and names. Of a person: raw events, dead
letters that name them, what they are called, and files of exports by person that have them; rollups and attribution are counted again
without them, and final hours that change are in the organisation's revisions, with the reason erasure.

The ledger keeps its counts, and its batches say how many of their events are gone. The audit log keeps that it
was done. What is left is counted afterwards: exit code 1 where that is not nothing. Running it again does
what one that was interrupted has not done.

Stop the producers first, and wait until everything is read: what is stored later is there again. The
broker's stream keeps messages until its own retention: they are not read again by themselves, but
`partitions reset` to before them stores them again, and so does a producer that sends them again. A
`replay --partition` makes dead letters again of those that were rejected.";

const AFTER_HELP: &str = "\
Examples:
  analytics-service erase --org 123e4567-e89b-12d3-a456-426614174000 --dry-run
  analytics-service erase --actor 9b2f7c1e-0d4a-4f6b-8a57-3f1c2d5e6a70 --yes --json";

/// Most looks at whether the markers in Redis are gone for good.
const LOOKS: u32 = 10;
/// Longest time between two of them.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Delete an organisation's or a person's data, for good
#[derive(clap::Args)]
#[command(
    long_about = LONG_ABOUT,
    after_help = AFTER_HELP,
    group = ArgGroup::new("erasee").args(["org", "actor"]).required(true).multiple(true)
)]
pub struct Args {
    /// This organisation; with --actor, only that person in it
    #[arg(long, value_name = "UUID")]
    org: Option<Uuid>,
    /// This person, as events name them in actorId
    #[arg(long, value_name = "UUID")]
    actor: Option<Uuid>,
    /// Only count what there is
    #[arg(long)]
    dry_run: bool,
    /// Do not ask; required without a terminal
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let erasee = match (args.actor, args.org) {
        (Some(actor_id), org_id) => Erasee::Person { actor_id, org_id },
        (None, Some(org_id)) => Erasee::Org(org_id),
        (None, None) => return Ok(bad_usage("--org or --actor is required")),
    };
    if args.dry_run {
        return maintenance::run(&settings, &args.common, "erase", Access::Shared, async |lock, _| {
            let mut report = Report::new(erasee, true);
            count(lock, &settings, erasee, &mut report).await?;
            Ok(report)
        })
        .await;
    }
    if !args.yes && !confirm::can_ask() {
        return Ok(bad_usage(confirm::YES_IS_REQUIRED));
    }
    confirm::agreed(args.yes, &format!("everything of {erasee} is removed, for good. Continue?"))?;
    maintenance::run(&settings, &args.common, "erase", Access::Alone, async |lock, steps| {
        let mut report = Report::new(erasee, false);
        // That it was begun is on record whatever comes of it.
        audit::record(&mut lock.conn, &[act(erasee, Outcome::Allowed).detail("begun")]).await?;
        match erasee {
            Erasee::Org(org_id) => org(lock, &settings, org_id, &mut report, steps).await?,
            Erasee::Person { actor_id, org_id } => {
                person(&mut lock.conn, &settings, (actor_id, org_id), &mut report, steps).await?;
            }
        }
        steps.report("counting what is left");
        count(lock, &settings, erasee, &mut report).await?;
        let outcome = if report.holds() { Outcome::Allowed } else { Outcome::Failed };
        audit::record(&mut lock.conn, &[act(erasee, outcome).detail(report.in_short())]).await?;
        Ok(report)
    })
    .await
}

fn act(erasee: Erasee, outcome: Outcome) -> AuditEvent {
    let act = match erasee {
        Erasee::Org(org_id) => operator::act("org.erase").of_org(org_id).target(org_id),
        Erasee::Person { actor_id, org_id } => operator::act("actor.erase").of_org(org_id).target(actor_id),
    };
    AuditEvent { outcome, ..act }
}

async fn org(
    lock: &mut TaskLock,
    settings: &Settings,
    org_id: Uuid,
    report: &mut Report,
    steps: &mut Steps,
) -> anyhow::Result<()> {
    let conn = &mut lock.conn;
    let removed = &mut report.removed;
    steps.report("removing API keys, settings, names, exports and dead letters");
    let uploads = exports::uploads_of(conn, org_id).await?;
    *removed = erase::keys_and_letters(conn, org_id).await?;
    match Objects::new(&settings.objects) {
        Ok(objects) => match files::remove(&objects, org_id, &uploads).await {
            Ok(gone) => removed.export_objects = gone,
            Err(error) => report.not_checked.push(format!("objects of exports: {error}")),
        },
        Err(error) if removed.exports > 0 => report.not_checked.push(format!("objects of exports: {error}")),
        // There never were any.
        Err(_) => {}
    }
    steps.report("removing attribution");
    removed.attribution = erase::attribution_of_org(conn, org_id).await?;
    removed.raw_events = erase::events_of_org(conn, org_id, |day, gone| {
        steps.report(&format!("{}: {gone} raw events removed so far", day.date_naive()));
    })
    .await?;
    steps.report("removing rollups");
    let rest = erase::rest_of_org(conn, org_id).await?;
    *removed = Counts {
        raw_events: removed.raw_events + rest.raw_events,
        dead_letters: removed.dead_letters,
        attribution: removed.attribution + rest.attribution,
        api_keys: removed.api_keys,
        settings: removed.settings,
        names: removed.names,
        exports: removed.exports,
        export_objects: removed.export_objects,
        freshness_markers: erase::markers(conn, org_id).await?,
        ..rest
    };
    if settings.cache.url.is_empty() {
        return Ok(());
    }
    steps.report("removing markers in Redis");
    match forget(settings, org_id).await {
        Ok(gone) => removed.cached_markers = gone,
        // Services that run do it when it is back; markers of services that do not run expire.
        Err(error) => report.not_checked.push(format!("markers in Redis: {error}")),
    }
    Ok(())
}

/// Deletes markers from the cache until none comes back: a service may have been about to publish them.
async fn forget(settings: &Settings, org_id: Uuid) -> Result<i64, CacheError> {
    let mut cache = FreshnessCache::connect(&settings.cache).await?;
    let gone = cache.markers(org_id).await?;
    for _ in 0..LOOKS {
        cache.forget([org_id]).await?;
        tokio::time::sleep(settings.freshness.interval().min(LOOK_EVERY)).await;
        if cache.markers(org_id).await? == 0 {
            break;
        }
    }
    Ok(i64::try_from(gone).unwrap_or(i64::MAX))
}

async fn person(
    conn: &mut PgConnection,
    settings: &Settings,
    (actor_id, org_id): (Uuid, Option<Uuid>),
    report: &mut Report,
    steps: &mut Steps,
) -> anyhow::Result<()> {
    // First the dead letters: their corrections could become raw events.
    let ids = erase::letters_of(conn, org_id, Some(actor_id)).await?;
    report.removed.dead_letters = erase::letters(conn, &ids).await?;
    report.removed.names = names::delete_person(conn, actor_id, org_id).await?;
    recount::prepare(conn).await?;
    for of in erase::actor_days(conn, actor_id, org_id).await? {
        let day = of.day.date_naive();
        steps.report(&format!("{day} of {}: {} raw events removed so far", of.org_id, report.removed.raw_events));
        let (gone, rebuilt) = erase::actor_day(conn, actor_id, &of, settings.events.late_after()).await?;
        report.removed.raw_events += gone;
        report.counted_again(rebuilt);
    }
    // Sums of days that cannot be counted again have the person's name no more.
    report.removed.attribution = erase::actor_names(conn, actor_id, org_id).await?;
    // Last: what is generated from now on has no row of the person.
    steps.report("looking through files of exports by person");
    if let Some(objects) = objects(settings) {
        match person_files::remove(conn, &objects, actor_id, org_id).await {
            Ok(gone) => (report.removed.exports, report.removed.export_objects) = (gone.exports, gone.objects),
            Err(FilesError::Store(error)) => return Err(error.into()),
            // Counting finds that it is so.
            Err(FilesError::Objects(_)) => {}
        }
    }
    Ok(())
}

/// None: there is no object store.
fn objects(settings: &Settings) -> Option<Objects> {
    Objects::new(&settings.objects).ok()
}

/// Counts what there is now.
async fn count(lock: &mut TaskLock, settings: &Settings, erasee: Erasee, report: &mut Report) -> anyhow::Result<()> {
    let conn = &mut lock.conn;
    match erasee {
        Erasee::Org(org_id) => {
            report.left = erase::count_org(conn, org_id).await?;
            // Without a store there are none, or it was said that they are not checked.
            if let Ok(objects) = Objects::new(&settings.objects) {
                match files::count(&objects, org_id).await {
                    Ok(objects) => report.left.export_objects = objects,
                    Err(error) => report.not_checked.push(format!("objects of exports: {error}")),
                }
            }
            if !settings.cache.url.is_empty() && report.not_checked.iter().all(|what| !what.contains("Redis")) {
                match cached(settings, org_id).await {
                    Ok(markers) => report.left.cached_markers = i64::try_from(markers).unwrap_or(i64::MAX),
                    Err(error) => report.not_checked.push(format!("markers in Redis: {error}")),
                }
            }
        }
        Erasee::Person { actor_id, org_id } => {
            let days = erase::actor_days(conn, actor_id, org_id).await?;
            let letters = erase::letters_of(conn, org_id, Some(actor_id)).await?;
            report.left = Counts {
                raw_events: days.iter().map(|day| day.events).sum(),
                dead_letters: i64::try_from(letters.len()).unwrap_or(i64::MAX),
                names: names::count_person(conn, actor_id, org_id).await?,
                attribution: erase::count_actor_names(conn, actor_id, org_id).await?,
                ..Counts::default()
            };
            let Some(objects) = objects(settings) else { return Ok(()) };
            match person_files::count(conn, &objects, actor_id, org_id).await {
                Ok(exports) => report.left.exports = exports,
                Err(FilesError::Store(error)) => return Err(error.into()),
                Err(FilesError::Objects(error)) => report.not_checked.push(error.to_string()),
            }
        }
    }
    Ok(())
}

async fn cached(settings: &Settings, org_id: Uuid) -> Result<u64, CacheError> {
    FreshnessCache::connect(&settings.cache).await?.markers(org_id).await
}
