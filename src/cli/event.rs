//! `event`: what became of one event.

use std::process::ExitCode;

use anyhow::Context as _;
use chrono::{DateTime, SubsecRound, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::{
    cli::{
        days,
        print::{absent, harmless, json, text, time},
    },
    config::Settings,
    domain::event_fate::{EventFate, FateQuery, Verdict},
    store::read::ReaderPlan,
};

/// Show what became of an event: stored, duplicate, rejected or unknown
#[derive(clap::Args)]
#[command(
    after_help = "Example: analytics-service event --org 123e4567-e89b-12d3-a456-426614174000 --event 7c1f3c0a-8f0e-4e7e-8a3e-3f5f9b0b6c11"
)]
pub struct Args {
    /// Organisation that the event is of
    #[arg(long, value_name = "UUID")]
    org: Uuid,
    /// Its eventId
    #[arg(long, value_name = "UUID")]
    event: Uuid,
    /// Judge the copy of this moment, such as 2026-01-31T10:20:30Z
    #[arg(long, value_name = "TIME", value_parser = days::day)]
    occurred_at: Option<DateTime<Utc>>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let reader = ReaderPlan::for_command(&settings).context("database.url")?.open();
    // As it is stored: cut to microseconds.
    let occurred_at = args.occurred_at.map(|at| at.trunc_subsecs(6));
    let fate = reader.event(&FateQuery { org_id: args.org, event_id: args.event, occurred_at }).await?;
    let status = fate.verdict(occurred_at);
    if args.json {
        json(&json!({
            "orgId": args.org, "eventId": args.event, "status": status, "stored": fate.stored,
            "duplicates": fate.duplicates, "rejections": fate.rejections, "rawFrom": fate.raw_from,
            "freshness": fate.freshness, "asOf": fate.as_of,
        }))?;
    } else {
        text(&lines(status, &fate).join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(status: Verdict, fate: &EventFate) -> Vec<String> {
    let at = |moment: Option<DateTime<Utc>>| moment.map_or_else(absent, time);
    let mut lines = vec![format!("status      {}", status.as_str())];
    lines.extend(fate.stored.iter().map(|event| {
        let merged = if event.merged { "merged" } else { "not merged yet" };
        let (occurred, bucket) = (time(event.occurred_at), time(event.bucket_start));
        let committed = at(event.committed_at);
        format!(
            "stored      occurred {occurred}, hour {bucket}, model {}, committed {committed}, {merged}",
            event.model_id
        )
    }));
    lines.extend(fate.duplicates.iter().map(|copy| {
        let same = if copy.conflict { "with other content" } else { "with the same content" };
        let (first, last) = (time(copy.first_at), time(copy.last_at));
        format!("duplicates  {} known, {same}, from {first} to {last}", copy.copies)
    }));
    lines.extend(fate.rejections.iter().map(|letter| {
        let reasons = harmless(&letter.reasons.join("; "), false);
        let (rejected, state) = (time(letter.rejected_at), letter.state.as_str());
        format!("rejected    {rejected}, dead letter {}, {state}: {reasons}", letter.dead_letter_id)
    }));
    lines.extend(
        fate.raw_from.map(|from| format!("raw from    {}: nothing may be known of earlier events", time(from))),
    );
    lines.push(format!("complete    up to {}, {}", at(fate.as_of), fate.freshness.status.as_str()));
    lines
}
