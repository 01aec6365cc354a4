//! `attribution`: what sets of dimensions take.

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use clap::Subcommand;

use crate::{
    cli::{
        bad_usage,
        maintenance::{self, Common, Summary},
        print::{self, Column},
    },
    config::Settings,
    store::{
        attribution::estimate::{self, Estimated, Limits, SetEstimate, Wanted},
        lifecycle::maintenance::Access,
    },
};

const ESTIMATE: &str = "\
Estimate what sets would take, before they are switched on

Counts the raw events of the last whole days (of UTC), the newest first, as the sets would count them, and what they would
have is packed and thrown away. The days that are counted are counted exactly, all their events; what a day takes is their
mean, days without events among them; what a month and the retention come to is extrapolated from it. Names are neither kept nor shown. Changes nothing, and may run beside everything; it reads each
day once for each set.

It ends after --within seconds with the days that it has counted by then. It holds one organisation's day of one set in memory, of
at most --max-keys keys in each hour, and a number for each different key, of 4 million at most.";

const AFTER_HELP: &str = "\
Examples:
  analytics-service attribution estimate
  analytics-service attribution estimate --sets 'actorId,modelId; 90 days: meta.team,clientId,modelId' --days 3 --json";

/// Estimate what attribution takes
#[derive(Subcommand)]
pub enum Command {
    /// Estimate what sets would take, before they are switched on
    #[command(long_about = ESTIMATE, after_help = AFTER_HELP)]
    Estimate(EstimateArgs),
}

#[derive(clap::Args)]
pub struct EstimateArgs {
    /// The sets, as attribution.sets has them; that setting without it
    #[arg(long, value_name = "SETS")]
    sets: Option<String>,
    /// The last so many whole days
    #[arg(long, value_name = "DAYS", default_value = "7", value_parser = clap::value_parser!(u16).range(1..=400))]
    days: u16,
    /// As attribution.max_keys; that setting without it
    #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u32).range(100..=100_000))]
    max_keys: Option<u32>,
    /// Longest time that it counts, seconds
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    within: u64,
    #[command(flatten)]
    common: Common,
}

impl Summary for Estimated {
    fn line(&self) -> String {
        let row = |of: &SetEstimate| {
            [
                of.set.clone(),
                of.most_keys.to_string(),
                of.keys_a_day.to_string(),
                of.keys_a_month.to_string(),
                format!("{:.1} %", of.beyond_cap * 100.0),
                of.values_a_day.to_string(),
                of.rows_a_day.to_string(),
                of.bytes_a_day.to_string(),
                of.retention_days.to_string(),
                of.rows.to_string(),
                of.bytes.to_string(),
            ]
        };
        let columns = [
            Column::Text("SET"),
            Column::Number("MOST KEYS"),
            Column::Number("KEYS/DAY"),
            Column::Number("KEYS/MONTH"),
            Column::Number("BEYOND CAP"),
            Column::Number("VALUES/DAY"),
            Column::Number("ROWS/DAY"),
            Column::Number("BYTES/DAY"),
            Column::Number("RETENTION"),
            Column::Number("ROWS"),
            Column::Number("BYTES"),
        ];
        let left = match self.days_left {
            0 => String::new(),
            left => format!("; {left} earlier days were not counted for lack of time"),
        };
        format!(
            "{}\n{} counted, {} events, all of them{left}; what is a DAY's is a mean of {} days, of which {} have events; ROWS and BYTES are \
             extrapolated to the retention in days",
            print::table(columns, &self.sets.iter().map(row).collect::<Vec<_>>()),
            print::days(self.from, self.to),
            self.events,
            self.days,
            self.days_with_events,
        )
    }
}

/// As `attribution.sets` may be.
const SETS_FORM: &str = "--sets must be different sets, at most 8, separated by semicolons; each of one to six of modelId, clientId, actorId, \
    status, errorCode and meta.FIELD, separated by commas; such as 'clientId,modelId; 90 days: actorId,modelId'";

pub async fn run(command: Command, settings: Settings) -> anyhow::Result<ExitCode> {
    let Command::Estimate(args) = command;
    let attribution = match &args.sets {
        None => settings.attribution.clone(),
        Some(sets) => match settings.attribution.with_sets(sets) {
            Some(attribution) => attribution,
            None => return Ok(bad_usage(SETS_FORM)),
        },
    };
    let (retention, max_keys) = (attribution.retention(), args.max_keys.unwrap_or(attribution.max_keys));
    let wanted = |set| Wanted { retention: retention.of(&set), set, max_keys };
    let wanted: Vec<Wanted> = attribution.sets().into_iter().map(wanted).collect();
    if wanted.is_empty() {
        return Ok(bad_usage("there is no set: attribution.sets is empty, and --sets is not given"));
    }
    let limits = Limits { days: args.days, within: Duration::from_secs(args.within) };
    maintenance::run(&settings, &args.common, "attribution estimate", Access::Shared, async |turn, steps| {
        let estimated = estimate::estimate(&mut turn.conn, &wanted, limits, &mut |step| steps.report(step)).await?;
        match estimated {
            Some(estimated) => Ok(estimated),
            None => bail!("there is no whole day with raw events to estimate from"),
        }
    })
    .await
}
