//! `actors log`: the supervision log of all processes, once or as it grows.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context;
use chrono::SecondsFormat;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    cli::{
        client::{CallError, Client},
        interrupt::interrupted,
        print::{self, harmless},
    },
    domain::supervision::SupervisionEvent,
};

/// Show what happened to actors, the oldest first
///
/// Events of all processes are in it: what started, failed and why, restarted, was parked, and what operators did.
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service actors log --follow --actor partition/0")]
pub struct Args {
    /// Go on showing what happens, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// Only events of this actor
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// The last so many
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Only those older than this one: the page before
    #[arg(long, value_name = "ID", conflicts_with = "follow")]
    before: Option<Uuid>,
    /// Print JSON: the response, newest first; with --follow an event a line
    #[arg(long)]
    json: bool,
}

/// How often `--follow` reads.
const POLL: Duration = Duration::from_secs(1);
/// Events of one response while following.
const PAGE: u16 = 500;
/// Events are recorded in the order in which processes come to it, by clocks of their own: one that is older than the
/// newest by less than this can still come.
const MAY_COME_LATE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Page {
    /// Newest first.
    events: Vec<Box<RawValue>>,
    next: Option<Uuid>,
    source: String,
}

/// An event as it came, and as it is read.
struct Entry {
    raw: Box<RawValue>,
    event: SupervisionEvent,
}

pub async fn run(args: Args, client: &Client) -> anyhow::Result<()> {
    if args.follow {
        return tokio::select! {
            followed = follow(&args, client) => followed,
            interrupted = interrupted() => interrupted,
        };
    }
    let body = read(client, &args.actor, args.limit, args.before, None).await?;
    if args.json {
        return print::text(body.trim_end());
    }
    let page = page(&body)?;
    if page.source == "memory" {
        eprintln!("the database is away: only what happened in this process, and not long ago");
    }
    if page.events.is_empty() {
        return print::text("no events");
    }
    for entry in entries(page.events)?.iter().rev() {
        print::text(&line(&entry.event))?;
    }
    if let Some(next) = page.next {
        eprintln!("there are older ones: --before {next}");
    }
    Ok(())
}

async fn read(
    client: &Client,
    actor: &Option<String>,
    limit: u16,
    before: Option<Uuid>,
    after: Option<Uuid>,
) -> Result<String, CallError> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(actor.iter().map(|actor| ("actor", actor.clone())));
    query.extend(before.map(|id| ("before", id.to_string())));
    query.extend(after.map(|id| ("after", id.to_string())));
    client.get("/ops/supervision", &query).await?.success()
}

fn page(body: &str) -> anyhow::Result<Page> {
    serde_json::from_str(body).context("the response is of another version")
}

fn entries(events: Vec<Box<RawValue>>) -> anyhow::Result<Vec<Entry>> {
    let entry = |raw: Box<RawValue>| Ok(Entry { event: serde_json::from_str(raw.get())?, raw });
    events
        .into_iter()
        .map(entry)
        .collect::<Result<_, serde_json::Error>>()
        .context("the response is of another version")
}

async fn follow(args: &Args, client: &Client) -> anyhow::Result<()> {
    let first = page(&read(client, &args.actor, args.limit, None, None).await?)?;
    let mut shown = Printed::default();
    let mut news = entries(first.events)?;
    // What a full page left out was not requested.
    shown.floor = first.next;
    let mut away = false;
    loop {
        for entry in news.iter().rev().filter(|entry| shown.is_new(entry.event.event_id)) {
            print::text(&if args.json { entry.raw.get().to_owned() } else { line(&entry.event) })?;
        }
        tokio::time::sleep(POLL).await;
        news = match since(args, client, shown.read_after()).await {
            Ok(news) => {
                away = false;
                news
            }
            Err(error) if error.downcast_ref().is_some_and(CallError::is_transient) => {
                if !away {
                    eprintln!("the service does not respond, waiting for it: {error:#}");
                }
                away = true;
                Vec::new()
            }
            Err(error) => return Err(error),
        };
    }
}

/// All events after one, newest first.
async fn since(args: &Args, client: &Client, after: Option<Uuid>) -> anyhow::Result<Vec<Entry>> {
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = page(&read(client, &args.actor, PAGE, before, after).await?)?;
        found.extend(entries(page.events)?);
        before = page.next;
        if before.is_none() {
            return Ok(found);
        }
    }
}

/// What was shown of the last while, so that nothing is shown twice and nothing that comes late is missed.
#[derive(Default)]
struct Printed {
    ids: BTreeSet<Uuid>,
    /// Nothing up to this one is requested.
    floor: Option<Uuid>,
}

impl Printed {
    /// Notes an event; false where it was noted before.
    fn is_new(&mut self, id: Uuid) -> bool {
        self.ids.insert(id)
    }

    /// The event after which the next page begins: a while before the newest. Forgets what lies before it.
    fn read_after(&mut self) -> Option<Uuid> {
        let from = self.ids.last().map(|newest| earlier(*newest, MAY_COME_LATE)).max(self.floor)?;
        self.ids = self.ids.split_off(&from);
        Some(from)
    }
}

/// The first id of the time that lies so long before that of an id of version 7, whose first 48 bits are milliseconds.
fn earlier(id: Uuid, by: Duration) -> Uuid {
    let by = by.as_millis();
    Uuid::from_u128((id.as_u128() >> 80).saturating_sub(by) << 80)
}

fn line(event: &SupervisionEvent) -> String {
    let SupervisionEvent { occurred_at, process, actor, generation, what, cause, next_attempt_at, by_whom, .. } = event;
    let mut details = Vec::new();
    if *generation > 0 {
        details.push(format!("generation {generation}"));
    }
    details.extend(cause.as_ref().map(|cause| harmless(cause, false)));
    details.extend(next_attempt_at.map(|at| {
        let after = (at - *occurred_at).to_std().unwrap_or_default();
        format!("next attempt after {:.1} s", after.as_secs_f64())
    }));
    details.extend(by_whom.as_ref().map(|by| format!("by {}", harmless(by, false))));
    let (at, details) = (occurred_at.to_rfc3339_opts(SecondsFormat::Millis, true), details.join(", "));
    let (process, actor) = (harmless(process, false), harmless(actor, false));
    format!("{at}  {process:<20}  {actor:<13}  {:<17}  {details}", what.as_str()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> SupervisionEvent {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_line_has_no_terminal_control_characters() {
        let failed = event(
            r#"{"eventId": "019b0000-0000-7000-8000-000000000000", "occurredAt": "2026-01-01T00:00:00.5Z",
                "process": "pod-1/7", "actor": "partition/0", "generation": 2, "what": "failed",
                "cause": "writer/0: \u001b[2J", "nextAttemptAt": "2026-01-01T00:00:00.75Z"}"#,
        );
        assert_eq!(
            line(&failed),
            "2026-01-01T00:00:00.500Z  pod-1/7               partition/0    failed             \
             generation 2, writer/0: \\u{1b}[2J, next attempt after 0.2 s"
        );
        let reset = event(
            r#"{"eventId": "019b0000-0000-7000-8000-000000000000", "occurredAt": "2026-01-01T00:00:00Z",
                "process": "pod-1/7", "actor": "partition/0", "generation": 0, "what": "reset",
                "byWhom": "command-line/ann"}"#,
        );
        assert!(line(&reset).ends_with("reset              by command-line/ann"), "{}", line(&reset));
    }

    #[test]
    fn late_events_are_printed_once() {
        let id = |ms: u128, n: u128| Uuid::from_u128(ms << 80 | 7 << 76 | n);
        let mut shown = Printed::default();
        assert_eq!(shown.read_after(), None);
        assert!(shown.is_new(id(100_000, 1)) && shown.is_new(id(170_000, 1)));
        assert!(!shown.is_new(id(170_000, 1)));
        let after = shown.read_after().unwrap();
        assert!(after < id(110_000, 0) && after > id(109_999, u128::from(u64::MAX)));
        assert!(shown.is_new(id(120_000, 1)), "it came late");
        assert!(!shown.is_new(id(170_000, 1)));
        shown.floor = Some(id(169_000, 5));
        assert_eq!(shown.read_after(), shown.floor, "what lies before was not requested");
    }
}
