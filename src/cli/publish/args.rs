//! The arguments of `publish`.

use std::{path::PathBuf, time::Duration};

use chrono::NaiveDate;
use clap::ArgGroup;
use rust_decimal::{Decimal, prelude::ToPrimitive};

use crate::{cli::stream::rate, workload::synthetic::WHOLE};

const AFTER_HELP: &str = "\
Examples:
  analytics-service publish --trace data/azure-llm-2023-conv.csv
      The recorded trace. Publishing it again changes nothing: the same rows, seed and base date give the same events.
  analytics-service publish --events 200000 --duplicates 0.02 --late 0.01 --invalid 0.005 --partitions 4 --json
      Flawed synthetic load as quick as possible, and what of it a correct service stores, as JSON.
  analytics-service publish --duration 60s --rate 1000 --seed 7
      A thousand events a second for a minute, for the orgs of seed 7.

Events of a trace are as old as their base date, and events older than the raw retention (events.retention_days) are
refused. Without --base-date the trace ends with the last full UTC day, and the date of its first day is remembered in the
folder of --state-dir, so that a later day's publishing is still the same events; a trace of more days than fit behind a
remembered date has a date, and a file, of its own. When the remembered date has become too old, pass --base-date or remove
the file. Every row is read and judged before the first is published.";

/// Publish a recorded trace or synthetic load, and say what was published
///
/// Every message is confirmed by the broker. When the connection is lost, it is opened again and what was not confirmed
/// is sent again: `resent` counts these copies, which a correct service stores once. Ctrl-C stops the sending; what was
/// sent until then is still confirmed and reported.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP, group = ArgGroup::new("what").args(["trace", "events", "duration"]).required(true))]
pub struct Args {
    /// CSV file with the columns TIMESTAMP, ContextTokens, GeneratedTokens. Times such as 2023-11-16 18:15:46.6805900 or
    /// 2024-05-10T00:00:00.009930+00:00, in UTC where they do not say
    #[arg(long, value_name = "FILE", conflicts_with_all = ["duplicates", "late", "invalid"])]
    pub trace: Option<PathBuf>,
    /// UTC day that the trace's first day is shifted to, in place of the remembered one
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = base_date)]
    pub base_date: Option<NaiveDate>,
    /// Folder that remembers the trace's base date, in its file trace-base-date
    #[arg(long, value_name = "DIR", env = "ANALYTICS_LOCAL_DIR", default_value = ".local")]
    pub state_dir: PathBuf,
    /// Synthetic load: this many messages, flawed ones among them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: Option<u64>,
    /// Synthetic load: for this long (500ms, 60s, 10m, 2h)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Messages a second; as quick as possible when absent
    #[arg(long, value_name = "N", value_parser = rate)]
    pub rate: Option<f64>,
    /// Orgs, drawn by Zipf's law [default: 5 for a trace, 250 for synthetic load]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub orgs: Option<u16>,
    /// Models, drawn by Zipf's law [default: 4 for a trace, 40 for synthetic load]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub models: Option<u16>,
    /// Fraction of the messages that repeat an earlier event; a tenth of these with other content or another time
    #[arg(long, value_name = "0..1", default_value = "0", value_parser = fraction)]
    pub duplicates: u32,
    /// Fraction of the messages that are events of 2 to 20 hours ago
    #[arg(long, value_name = "0..1", default_value = "0", value_parser = fraction)]
    pub late: u32,
    /// Fraction of the messages that break the contract in various ways
    #[arg(long, value_name = "0..1", default_value = "0", value_parser = fraction)]
    pub invalid: u32,
    /// Chooses orgs, models and everything drawn. A trace is the same events for the same seed; each synthetic run makes
    /// new events, for the same orgs and models
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Partitions of the stream, in place of broker.partitions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub partitions: Option<u16>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Write the report as JSON to this file too
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

impl Args {
    /// What no single argument shows to be wrong.
    pub fn problem(&self) -> Option<&'static str> {
        if self.base_date.is_some() && self.trace.is_none() {
            return Some("--base-date needs --trace");
        }
        let sum = self.duplicates.saturating_add(self.late).saturating_add(self.invalid);
        (sum > WHOLE).then_some("the fractions of --duplicates, --late and --invalid must not exceed 1 together")
    }
}

fn base_date(text: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| "must be a date such as 2026-03-29".to_owned())
}

/// In parts of [`WHOLE`].
fn fraction(text: &str) -> Result<u32, String> {
    let parts = text.parse::<Decimal>().ok().and_then(|value| value.checked_mul(Decimal::from(WHOLE)));
    parts
        .filter(|parts| parts.fract().is_zero() && (Decimal::ZERO..=Decimal::from(WHOLE)).contains(parts))
        .and_then(|parts| parts.to_u32())
        .ok_or_else(|| "must be a number from 0 to 1 with at most six decimals".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let millis = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|millis| *millis > 0);
    millis.map(Duration::from_millis).ok_or_else(|| "must be a whole number and ms, s, m or h, such as 60s".to_owned())
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
        let parsed = Cli::try_parse_from(format!("publish {line}").split_whitespace());
        let args = parsed.map_err(|error| error.to_string())?.args;
        args.problem().map_or(Ok(args), |problem| Err(problem.to_owned()))
    }

    #[test]
    fn good_arguments_are_read() {
        let args = parse("--events 5 --duplicates 0.02 --late .01 --invalid 0.005 --rate 0.5").unwrap();
        assert_eq!((args.duplicates, args.late, args.invalid), (20_000, 10_000, 5000));
        assert_eq!(parse("--duration 10m").unwrap().duration, Some(Duration::from_secs(600)));
        assert!(parse("--trace t.csv --base-date 2026-03-29 --rate 10 --orgs 1 --models 2 --json").is_ok());
    }

    #[test]
    fn every_bad_argument_is_named() {
        for (line, named) in [
            ("", "--trace"),
            ("--trace t.csv --events 5", "--events"),
            ("--events 5 --duration 5s", "--duration"),
            ("--trace t.csv --late 0.1", "--late"),
            ("--events 5 --base-date 2026-03-29", "--trace"),
            ("--events 0", "--events"),
            ("--events 5 --rate 0", "--rate"),
            ("--events 5 --rate NaN", "--rate"),
            ("--events 5 --orgs 0", "--orgs"),
            ("--events 5 --partitions 0", "--partitions"),
            ("--events 5 --late 1.1", "--late"),
            ("--events 5 --late=-0.1", "--late"),
            ("--events 5 --late 0.0000001", "--late"),
            ("--events 5 --late 0.6 --invalid 0.6", "--invalid"),
            ("--duration 5", "--duration"),
            ("--duration 0s", "--duration"),
            ("--duration 5d", "--duration"),
            ("--trace t.csv --base-date 29.3.2026", "--base-date"),
        ] {
            let error = parse(line).map(|_| ()).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
