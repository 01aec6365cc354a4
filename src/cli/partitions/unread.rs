//! `partitions unread` and `partitions acknowledge`: what was not read of the streams, and that an operator knows of it.

use std::process::ExitCode;

use serde_json::json;

use crate::{
    cli::{
        bad_usage, confirm, fitting_session, operator,
        print::{self, Column, absent, time},
    },
    config::Settings,
    store::ingest::unread::{self, UnreadRange},
};

/// Show what was not read of the streams and no operator has acknowledged
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service partitions unread --all")]
pub struct ListArgs {
    /// Also what was acknowledged
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const ACKNOWLEDGE: &str = "\
Acknowledge what was not read of a partition

While a range of a partition is unread and not acknowledged, the responses about its organisations are
complete up to the message before it: asOf stands still, and nothing later is final. Find out first what it was
(docs/runbooks.md), and have it sent again where it was events. Your name is on record.";

/// Acknowledge what was not read of a partition
#[derive(clap::Args)]
#[command(long_about = ACKNOWLEDGE, after_help = "Example: analytics-service partitions acknowledge --partition 0 --yes")]
pub struct AcknowledgeArgs {
    /// Its number, as `partitions list` has it
    #[arg(long, value_name = "N")]
    partition: u16,
    /// Do not ask; required without a terminal
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn list(args: ListArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let mut session = fitting_session(settings.database).await?;
    let topology = super::topology(&mut session, &settings.broker).await?;
    let ranges = session.run(async |conn| unread::list(conn, &topology, args.all).await).await?;
    show(&ranges, args.json)?;
    Ok(ExitCode::SUCCESS)
}

pub async fn acknowledge(args: AcknowledgeArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    if !args.yes && !confirm::can_ask() {
        return Ok(bad_usage(confirm::YES_IS_REQUIRED));
    }
    let mut session = fitting_session(settings.database).await?;
    let topology = super::topology(&mut session, &settings.broker).await?;
    if args.partition >= topology.partitions {
        return Ok(bad_usage(&format!("--partition {}: there are {} partitions", args.partition, topology.partitions)));
    }
    if !args.yes {
        let open = session.run(async |conn| unread::list(conn, &topology, false).await).await?;
        let open: Vec<_> = open.into_iter().filter(|range| range.partition == i32::from(args.partition)).collect();
        show(&open, false)?;
        confirm::agreed(false, "Are these known, and sent again where they were events?")?;
    }
    let by_whom = operator::name();
    let ranges = session.run(async |conn| unread::acknowledge(conn, &topology, args.partition, &by_whom).await).await?;
    show(&ranges, args.json)?;
    Ok(ExitCode::SUCCESS)
}

fn show(ranges: &[UnreadRange], json: bool) -> anyhow::Result<()> {
    if json {
        return print::json(&json!({"unread": ranges}));
    }
    if ranges.is_empty() {
        return print::text("nothing is unread");
    }
    print::text(&table(ranges))
}

fn table(ranges: &[UnreadRange]) -> String {
    let columns = [
        Column::Number("PARTITION"),
        Column::Text("STREAM"),
        Column::Number("INCARNATION"),
        Column::Number("FIRST OFFSET"),
        Column::Number("LAST OFFSET"),
        Column::Text("NOTED"),
        Column::Text("REASON"),
        Column::Text("ACKNOWLEDGED BY"),
    ];
    let row = |range: &UnreadRange| {
        [
            range.partition.to_string(),
            range.stream.clone(),
            range.incarnation.to_string(),
            range.first_offset.to_string(),
            (range.next_offset - 1).to_string(),
            time(range.noted_at),
            range.reason.clone(),
            range.acknowledged_by.clone().unwrap_or_else(absent),
        ]
    };
    print::table(columns, &ranges.iter().map(row).collect::<Vec<_>>())
}
