//! `partitions list`: who works on which partition, and how far it is.

use std::process::ExitCode;

use serde_json::json;

use crate::{
    cli::{
        fitting_session,
        print::{self, Column, absent, seconds, time},
    },
    config::Settings,
    domain::supervision::PartitionStatus,
    store::ingest::lease,
};

/// Show who works on which partition, and how far it is
///
/// LEASED says whether the owner's lease is valid, NEXT OFFSET what is to be committed next, WATERMARK up to which
/// publish time the responses are complete.
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service partitions list")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let mut session = fitting_session(settings.database).await?;
    let topology = super::topology(&mut session, &settings.broker).await?;
    let partitions = session.run(async |conn| Ok(lease::partitions(conn, &topology).await?)).await?;
    if args.json {
        print::json(&json!({"partitions": partitions}))?;
    } else if partitions.is_empty() {
        print::text(&format!("no service has worked on {} yet", topology.base))?;
    } else {
        print::text(&table(&partitions))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(partitions: &[PartitionStatus]) -> String {
    let columns = [
        Column::Number("PARTITION"),
        Column::Text("STREAM"),
        Column::Text("OWNER"),
        Column::Text("LEASED"),
        Column::Number("INCARNATION"),
        Column::Number("EPOCH"),
        Column::Number("NEXT OFFSET"),
        Column::Text("WATERMARK"),
        Column::Number("LAG"),
    ];
    let row = |status: &PartitionStatus| {
        [
            status.partition.to_string(),
            status.stream.clone(),
            status.owner_name.clone().unwrap_or_else(absent),
            (if status.leased { "yes" } else { "no" }).to_owned(),
            status.incarnation.to_string(),
            status.epoch.to_string(),
            status.next_offset.to_string(),
            status.watermark.map_or_else(absent, time),
            seconds(status.lag_seconds),
        ]
    };
    print::table(columns, &partitions.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_owners_and_watermarks_are_dashes() {
        let free = PartitionStatus {
            partition: 3,
            stream: "s-3".to_owned(),
            incarnation: 1,
            epoch: 0,
            next_offset: 0,
            owner: None,
            owner_name: None,
            leased: false,
            watermark: None,
            lag_seconds: None,
            ledger: Default::default(),
        };
        let text = table(&[free]);
        let cells: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(cells, ["3", "s-3", "-", "no", "1", "0", "0", "-", "-"]);
    }
}
