//! The command line: parse, read the settings, call. One command a file.
//!
//! Exit codes: 0 done, 1 failed, 2 bad usage, 3 the check did not hold.

mod actors;
mod api_key;
mod attribution;
mod client;
mod confirm;
mod console;
mod days;
mod dead_letters;
mod erase;
mod event;
mod export;
mod healthcheck;
mod interrupt;
mod lifetime;
mod maintain;
mod maintenance;
mod migrate;
mod openapi;
mod operator;
mod partitions;
mod print;
mod publish;
mod purge;
mod refresh;
mod replay;
mod retention;
mod rollups;
mod serve;
mod status;
mod stream;
mod token;
mod verify;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::{
    app,
    config::{Database, Settings},
    store::{self, PgConnection, Session, StoreError, ingest::lease::Identity, schema},
    telemetry::{self, metrics::Metrics},
};

const AFTER_HELP: &str = "Settings come from config.default.toml, the file given by --config, and variables such as \
ANALYTICS__BROKER__URL; see docs/install.md.";

#[derive(Parser)]
#[command(name = "analytics-service", version, about, after_help = AFTER_HELP)]
struct Cli {
    /// TOML file that overrides the defaults
    #[arg(long, global = true, value_name = "FILE", env = "ANALYTICS_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    Status(status::Args),
    Migrate(migrate::Args),
    Publish(publish::Args),
    Replay(replay::Args),
    Refresh(refresh::Args),
    #[command(subcommand)]
    Rollups(rollups::Command),
    Verify(verify::Args),
    #[command(subcommand)]
    Export(export::Command),
    Erase(erase::Args),
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    Event(event::Args),
    Actors(actors::Args),
    #[command(subcommand)]
    Partitions(partitions::Command),
    #[command(subcommand)]
    ApiKey(api_key::Command),
    #[command(subcommand)]
    Console(console::Command),
    #[command(subcommand)]
    Retention(retention::Command),
    #[command(subcommand)]
    Attribution(attribution::Command),
    Purge(purge::Args),
    Maintain(maintain::Args),
    Healthcheck(healthcheck::Args),
    Token(token::Args),
    Openapi(openapi::Args),
}

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("analytics-service: {}", telemetry::log::in_full(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(cli.config.as_deref())?;
    // For all of the process; it fails only where one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let metrics = Metrics::default();
    let identity = app::identity();
    let exports = telemetry::start(&settings, &identity.id.to_string(), &metrics)?;
    let done = run_command(cli.command, settings, identity, metrics);
    // Last: what the command or the drain has done is in spans too.
    if let Some(exports) = exports {
        exports.end();
    }
    done
}

fn run_command(command: Command, settings: Settings, identity: Identity, metrics: Metrics) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::run(args, settings, identity, metrics),
        Command::Status(args) => block_on(status::run(args, settings)),
        Command::Migrate(args) => block_on(migrate::run(args, settings)),
        Command::Publish(args) => block_on_workers(publish::run(args, settings)),
        Command::Replay(args) => block_on_workers(replay::run(args, settings)),
        Command::Refresh(args) => block_on(refresh::run(args, settings)),
        Command::Rollups(command) => block_on(rollups::run(command, settings)),
        Command::Verify(args) => block_on(verify::run(args, settings)),
        Command::Export(command) => block_on_workers(export::run(command, settings)),
        Command::Erase(args) => block_on(erase::run(args, settings)),
        Command::DeadLetters(command) => block_on(dead_letters::run(command, settings)),
        Command::Event(args) => block_on(event::run(args, settings)),
        Command::Actors(args) => block_on(actors::run(args, settings)),
        Command::Partitions(command) => block_on(partitions::run(command, settings)),
        Command::ApiKey(command) => block_on(api_key::run(command, settings)),
        Command::Console(command) => block_on(console::run(command, settings)),
        Command::Retention(command) => block_on(retention::run(command, settings)),
        Command::Attribution(command) => block_on(attribution::run(command, settings)),
        Command::Purge(args) => block_on(purge::run(args, settings)),
        Command::Maintain(args) => block_on(maintain::run(args, settings)),
        Command::Healthcheck(args) => block_on(healthcheck::run(args, settings)),
        Command::Token(args) => token::run(args, &settings),
        Command::Openapi(args) => openapi::run(&args),
    }
}

/// Says what of the arguments is wrong, where the parser cannot know it.
fn bad_usage(text: &str) -> ExitCode {
    eprintln!("error: {text}\n\nFor more information, try '--help'.");
    ExitCode::from(2)
}

/// Does a short piece of work in the database, as the service's role and within `database.write_timeout_ms`.
async fn on_database<T>(
    database: &Database,
    work: impl AsyncFnOnce(&mut PgConnection) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut conn = fitting_connection(database).await?;
    let timeout = database.write_timeout();
    tokio::time::timeout(timeout, work(&mut conn)).await.unwrap_or(Err(StoreError::Timeout(timeout).into()))
}

/// A connection of the service's role, to a schema that this build works with.
async fn fitting_connection(database: &Database) -> anyhow::Result<PgConnection> {
    let mut conn = store::connect_writer(database).await.context("database.url")?;
    schema::check(&mut conn).await?;
    Ok(conn)
}

/// A session of the service's role, on a schema that this build works with.
async fn fitting_session(database: Database) -> anyhow::Result<Session> {
    let mut session = Session::new(database);
    session.run(schema::check).await?;
    Ok(session)
}

/// Runs a command that needs no actors.
fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

/// Runs a command that is busy itself while the sockets have to be served.
fn block_on_workers(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::domain::audit::acts::{Recorded, recorded};

    /// What each command records. None: it reads, or what it does has a record of its own, as docs/security.md says.
    const COMMANDS: &[(&str, Option<&str>)] = &[
        ("serve", None),
        ("status", None),
        ("migrate", None),
        ("publish", None),
        ("replay", Some("stream.replay")),
        ("refresh", Some("rollups.refresh")),
        ("rollups show", None),
        ("rollups switch", Some("rollups.switch")),
        ("verify", None),
        ("export monthly", Some("export.monthly")),
        ("export buckets set", Some("export_bucket.set")),
        ("export buckets list", None),
        ("export buckets clear", Some("export_bucket.clear")),
        ("erase", Some("org.erase")),
        ("dead-letters list", None),
        ("dead-letters show", Some("dead_letter.show")),
        ("dead-letters replay", Some("dead_letter.correct")),
        ("event", None),
        ("actors list", None),
        ("actors log", None),
        ("actors restart", Some("actor.restart")),
        ("partitions list", None),
        ("partitions layout", Some("partition.layout")),
        ("partitions skip", Some("partition.skip")),
        ("partitions unread", None),
        ("partitions acknowledge", Some("partition.acknowledge")),
        ("partitions reopen", Some("partition.reopen")),
        ("partitions reset", Some("partition.reset")),
        ("api-key create", Some("api_key.create")),
        ("api-key list", None),
        ("api-key revoke", Some("api_key.revoke")),
        ("console link", Some("console.link")),
        ("retention set", Some("retention.set")),
        ("retention list", None),
        ("retention clear", Some("retention.clear")),
        ("attribution estimate", None),
        ("purge", Some("data.purge")),
        ("maintain", Some("data.maintain")),
        ("healthcheck", None),
        ("token", None),
        ("openapi", None),
    ];

    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        for sub in command.get_subcommands() {
            let path = format!("{path} {}", sub.get_name());
            match sub.has_subcommands() {
                true => leaves(sub, &path, found),
                false => found.push(path.trim_start().to_owned()),
            }
        }
    }

    #[test]
    fn every_command_records_what_the_table_says() {
        let mut commands = Vec::new();
        leaves(&Cli::command(), "", &mut commands);
        commands.sort();
        let mut named: Vec<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
        named.sort_unstable();
        assert_eq!(commands, named, "each command has one row");
        for (command, action) in COMMANDS {
            if let Some(action) = action {
                assert_eq!(recorded(action), Some(Recorded::Always), "{command}");
            }
        }
    }

    #[test]
    fn the_readme_lists_every_command() {
        let mut commands = Vec::new();
        leaves(&Cli::command(), "", &mut commands);
        let page = std::fs::read_to_string("README.md").unwrap();
        let (_, table) = page.split_once("| command | what it does |").unwrap();
        let mut listed = Vec::new();
        for row in table.lines().skip(2).take_while(|line| line.starts_with("| `")) {
            // `dead-letters list`, `show`: the second belongs to the same command.
            let mut parent = "";
            for span in row.split(" | ").next().unwrap().split('`').skip(1).step_by(2) {
                let name = span.split(" --").next().unwrap();
                match name.rsplit_once(' ') {
                    Some((above, _)) => {
                        parent = above;
                        listed.push(name.to_owned());
                    }
                    None => listed.push(format!("{parent} {name}").trim_start().to_owned()),
                }
            }
        }
        commands.sort();
        listed.sort();
        listed.dedup();
        assert_eq!(listed, commands, "README.md on the left, the commands on the right");
    }

    #[test]
    fn command_lines_in_the_docs_parse() {
        let docs = std::fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path());
        let pages = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
        let mut seen = 0;
        for page in pages.chain(["README.md".into()]) {
            let text = std::fs::read_to_string(&page).unwrap();
            // README has the binary in a variable.
            for line in text.replace("$service ", "analytics-service ").split("analytics-service ").skip(1) {
                let line = line.split(['`', '\n', ')', '|', '>', '#', ';', '"']).next().unwrap();
                let words = line.split_whitespace().map(|word| match word {
                    "UUID" | "ID" | "KEY-ID" | "JOB" | "$ORG" | "$A" | "$B" | "$C" => {
                        "123e4567-e89b-12d3-a456-426614174000"
                    }
                    "ROLE" => "finance",
                    word => word,
                });
                let parsed = Cli::try_parse_from(["analytics-service"].into_iter().chain(words));
                assert!(parsed.is_ok(), "{}: {line}: {}", page.display(), parsed.err().unwrap());
                seen += 1;
            }
        }
        assert!(seen > 30, "{seen} command lines were found");
    }

    #[test]
    fn an_erasure_takes_an_organisation_or_a_person() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["analytics-service", "erase"], args].concat());
        let missing = parse(&[]).err().unwrap().to_string();
        assert!(missing.contains("--org") && missing.contains("--actor"), "{missing}");
        let id = "123e4567-e89b-12d3-a456-426614174000";
        for args in [&["--org", id][..], &["--actor", id], &["--org", id, "--actor", id]] {
            assert!(parse(args).is_ok(), "{args:?}");
        }
    }

    #[test]
    fn the_arguments_of_all_commands_go_together() {
        Cli::command().debug_assert();
    }
}
