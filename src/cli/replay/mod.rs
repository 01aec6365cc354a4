//! `replay`: brings in events that did not come, or not rightly, when they happened: from a file, or from the stream
//! itself. One mode a file.

mod file;
mod range;

use std::{path::PathBuf, process::ExitCode};

use clap::ArgGroup;
use uuid::Uuid;

use crate::config::Settings;

const AFTER_HELP: &str = "\
Examples:
  analytics-service replay --file events.ndjson.gz --dry-run
      How many of the lines the service would reject, and why. Publishes nothing; exit code 3 when there are any.
  analytics-service replay --file events.ndjson.gz --rate 5000
      A backfill beside the daily load. Started again after Ctrl-C or a crash it goes on where it was.
  analytics-service replay --partition 0 --from 0 --to 5000
      Has offsets 0 to 4999 read again by the service that holds the partition, beside its live reading. Events that are
      stored already count as duplicates; the partition's own offset stays where it is.
  analytics-service replay --cancel 019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4
      Ends a range's replay, by the id that it was announced with. What it has stored stays.

A line that breaks the event rules is published as it is: the service keeps it as a dead letter.";

/// Publish a file of events to the stream, or have a range of the stream read again
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP, group = ArgGroup::new("mode").args(["file", "partition", "cancel"]).required(true))]
pub struct Args {
    /// File with one JSON event a line, plain or gzip
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    of_file: file::Options,
    /// Partition of which a range is read again
    #[arg(long, value_name = "N", requires_all = ["from", "to"])]
    partition: Option<u16>,
    #[command(flatten)]
    of_range: range::Options,
    /// End the replay of a range
    #[arg(long, value_name = "ID")]
    cancel: Option<Uuid>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    match (args.file, args.partition, args.cancel) {
        (Some(file), ..) => file::run(&file, args.of_file, args.json, settings).await,
        (None, Some(partition), _) => range::run(partition, args.of_range, args.json, settings).await,
        (None, None, Some(replay_id)) => range::cancel(replay_id, args.json, settings).await,
        (None, None, None) => anyhow::bail!("the parser demands one of the modes"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, String> {
        let parsed = Cli::try_parse_from(format!("replay {line}").split_whitespace());
        parsed.map(|cli| cli.args).map_err(|error| error.to_string())
    }

    #[test]
    fn a_mode_requires_its_own_options() {
        assert!(parse("--file f --rate 5 --state s --again --json").is_ok());
        assert!(parse("--file f --dry-run --json").is_ok());
        assert!(parse("--partition 0 --from 0 --to 5000 --no-wait --json").is_ok());
        assert!(parse("--cancel 019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4").is_ok());
        for (line, named) in [
            ("", "--file"),
            ("--json", "--file"),
            ("--rate 5", "--file"),
            ("--file f --rate 0", "--rate"),
            ("--file f --dry-run --rate 5", "--rate"),
            ("--file f --dry-run --again", "--again"),
            ("--partition 0 --from 0", "--to"),
            ("--partition 0 --to 1", "--from"),
            ("--partition 0 --from -1 --to 1", "--from"),
            ("--partition 0 --from 0 --to 9223372036854775808", "--to"),
            // An option whose mode is excluded by the other: `requires` alone says nothing then.
            ("--partition 0 --from 0 --to 1 --rate 5", "--rate"),
            ("--partition 0 --from 0 --to 1 --dry-run", "--dry-run"),
            ("--file f --from 0", "--from"),
            ("--partition 0 --from 0 --to 1 --file f", "--file"),
            ("--file f --no-wait", "--no-wait"),
            ("--from 0 --to 1", "--file"),
            ("--cancel 1", "--cancel"),
            ("--cancel 019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4 --partition 0 --from 0 --to 1", "--cancel"),
        ] {
            let error = parse(line).map(|_| ()).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
