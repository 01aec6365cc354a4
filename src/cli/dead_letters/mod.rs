//! `dead-letters`: shows rejected messages, and stores the events that take their place.

mod print;

use std::{
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use uuid::Uuid;

use crate::{
    cli::{on_database, operator, print::json},
    config::Settings,
    domain::{
        correction::Outcome,
        dead_letter::{DeadLetterQuery, LetterScope, State},
        event::MAX_MESSAGE_BYTES,
    },
    store::{
        access::audit,
        ingest::corrections::{self, Correction},
        read::{ReadError, Reader, ReaderPlan},
    },
};

const AFTER_HELP: &str = "\
Examples:
  analytics-service dead-letters list --org 123e4567-e89b-12d3-a456-426614174000 --state open
  analytics-service dead-letters show 019e5c1a-7d1c-7c55-8d21-0c2f6a1b9e07 --json
  analytics-service dead-letters replay 019e5c1a-7d1c-7c55-8d21-0c2f6a1b9e07 --file corrected.json --wait";

/// How often `--wait` looks.
const POLL: Duration = Duration::from_millis(500);

/// Look at rejected messages, and give them a second chance as corrected events
#[derive(Subcommand)]
#[command(after_help = AFTER_HELP)]
pub enum Command {
    List(List),
    Show(Show),
    Replay(Replay),
}

/// List rejected messages, newest first
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service dead-letters list --no-org --limit 20")]
pub struct List {
    /// Only those of this organisation
    #[arg(long, value_name = "UUID", conflicts_with = "no_org")]
    org: Option<Uuid>,
    /// Only those that do not name their organisation
    #[arg(long)]
    no_org: bool,
    #[arg(long, value_name = "STATE", default_value = "all")]
    state: StateChoice,
    /// Only those of messages with this eventId
    #[arg(long, value_name = "UUID")]
    event: Option<Uuid>,
    /// Only those that have this text in one of their reasons, such as latencyMs:
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Only those older than this one: the last of an earlier list
    #[arg(long, value_name = "ID")]
    before: Option<Uuid>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum StateChoice {
    All,
    Open,
    Corrected,
    Replayed,
}

impl StateChoice {
    fn state(self) -> Option<State> {
        match self {
            Self::All => None,
            Self::Open => Some(State::Open),
            Self::Corrected => Some(State::Corrected),
            Self::Replayed => Some(State::Replayed),
        }
    }
}

/// Show one message with its payload
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service dead-letters show 019e5c1a-7d1c-7c55-8d21-0c2f6a1b9e07")]
pub struct Show {
    id: Uuid,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Store the event that takes a message's place; the running service publishes it
///
/// The first correction counts. The same event again changes nothing; another one is refused. A message that names its
/// organisation takes an event of that one only.
#[derive(clap::Args)]
#[command(
    after_help = "Example: analytics-service dead-letters replay 019e5c1a-7d1c-7c55-8d21-0c2f6a1b9e07 --file corrected.json --wait"
)]
pub struct Replay {
    id: Uuid,
    /// The corrected event, JSON; - for standard input
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Wait until the broker has confirmed it; Ctrl-C ends the waiting and changes nothing
    #[arg(long)]
    wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(command: Command, settings: Settings) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => list(args, &reader(&settings)?).await?,
        Command::Show(args) => show(args, &settings, &reader(&settings)?).await?,
        Command::Replay(args) => replay(args, &settings).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn reader(settings: &Settings) -> anyhow::Result<Reader> {
    Ok(ReaderPlan::for_command(settings).context("database.url")?.open())
}

async fn list(args: List, reader: &Reader) -> anyhow::Result<()> {
    let whose = match args.org {
        Some(org_id) => LetterScope::Org(org_id),
        None if args.no_org => LetterScope::Unreadable,
        None => LetterScope::Any,
    };
    let (state, before, limit) = (args.state.state(), args.before, args.limit);
    let (event_id, reason) = (args.event, args.reason);
    let query = DeadLetterQuery { whose, start: None, end: None, state, event_id, reason, before, limit };
    let page = reader.dead_letters(&query).await?;
    if args.json {
        let next = page.next();
        return json(&serde_json::json!({"deadLetters": page.entries, "nextBefore": next}));
    }
    print::table(&page.entries)?;
    if let Some(id) = page.next() {
        eprintln!("there are more: --before {id}");
    }
    Ok(())
}

/// What the message holds is the organisation's own: who has looked at it is on record first.
async fn show(args: Show, settings: &Settings, reader: &Reader) -> anyhow::Result<()> {
    let act = operator::act("dead_letter.show").target(args.id);
    on_database(&settings.database, async |conn| Ok(audit::record(conn, &[act]).await?)).await?;
    let letter = reader.dead_letter(LetterScope::Any, args.id).await?;
    let letter = letter.with_context(|| format!("there is no dead letter {}", args.id))?;
    if args.json { json(&letter) } else { print::letter(&letter) }
}

async fn replay(args: Replay, settings: &Settings) -> anyhow::Result<()> {
    let correction = Correction {
        whose: LetterScope::Any,
        dead_letter_id: args.id,
        body: body(&args.file).with_context(|| format!("--file {}", args.file.display()))?,
        by: operator::name(),
        act: operator::act("dead_letter.correct").target(args.id),
    };
    let outcome = on_database(&settings.database, async |conn| {
        Ok(corrections::correct(conn, &correction, &settings.events).await?)
    });
    let (state, event_id) = match outcome.await? {
        Outcome::Accepted { state, event_id } => (state, event_id),
        Outcome::AlreadyCorrected => {
            bail!("dead letter {} was corrected before, by another event: the first one counts", args.id)
        }
        Outcome::Wrong(reasons) => {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            bail!("the event breaks rules: {}", reasons.join("; "))
        }
        Outcome::NotFound => bail!("there is no dead letter {}", args.id),
    };
    let state = if args.wait && state != State::Replayed { wait(args.id, &reader(settings)?).await? } else { state };
    if args.json {
        return json(&serde_json::json!({"id": args.id, "state": state, "eventId": event_id}));
    }
    match state {
        State::Replayed => println!("dead letter {}: event {event_id} is in the stream", args.id),
        State::Open | State::Corrected => {
            println!("dead letter {}: event {event_id} is stored; the running service publishes it", args.id);
        }
    }
    Ok(())
}

async fn wait(id: Uuid, reader: &Reader) -> anyhow::Result<State> {
    if std::io::stderr().is_terminal() {
        eprintln!("waiting for the service to publish it");
    }
    loop {
        let letter = match reader.dead_letter(LetterScope::Any, id).await {
            Ok(letter) => letter,
            // The correction is stored: what is waited for happens without this command.
            Err(ReadError::Store(error)) if error.is_transient() => {
                tracing::warn!(%error, "still waiting");
                tokio::time::sleep(POLL).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let letter = letter.with_context(|| format!("there is no dead letter {id} any more"))?.letter;
        if letter.state == State::Replayed {
            return Ok(letter.state);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// An event, and no more of an endless file than shows that it is too long.
fn body(file: &Path) -> std::io::Result<Vec<u8>> {
    let most = u64::try_from(MAX_MESSAGE_BYTES + 1).unwrap_or(u64::MAX);
    let mut body = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut body)?;
    } else {
        std::fs::File::open(file)?.take(most).read_to_end(&mut body)?;
    }
    Ok(body)
}
