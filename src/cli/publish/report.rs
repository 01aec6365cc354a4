//! What was published, for people and for checkers.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    time::Duration,
};

use anyhow::Context;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::workload::tally::{Counts, Share, Tally, Totals};

/// Orgs that the table shows.
const SHOWN: usize = 10;

pub struct Parts<'a> {
    pub source: &'static str,
    pub seed: u64,
    pub base_date: Option<NaiveDate>,
    pub stream: &'a str,
    pub partitions: u16,
    pub resent: u64,
    pub unconfirmed: u64,
    pub elapsed: Duration,
    pub tally: &'a Tally,
}

/// Counts are of messages, each once however often it had to be sent; totals are of originals.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    source: &'static str,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_date: Option<NaiveDate>,
    stream: String,
    partitions: u16,
    #[serde(flatten)]
    counts: Counts,
    /// Copies sent after a lost connection. The stream holds from `sent` to `sent` + `resent` messages.
    resent: u64,
    /// Of `sent`, those that may be in the stream or not. Above zero, nothing else here is certain.
    unconfirmed: u64,
    seconds: f64,
    messages_per_second: u64,
    first_occurred_at: Option<DateTime<Utc>>,
    last_occurred_at: Option<DateTime<Utc>>,
    totals: Totals,
    orgs: Vec<Org>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Org {
    org_id: Uuid,
    #[serde(flatten)]
    counts: Counts,
    totals: Totals,
}

impl Report {
    pub fn new(parts: Parts<'_>) -> Self {
        let Parts { source, seed, base_date, stream, partitions, resent, unconfirmed, elapsed, tally } = parts;
        let counts = tally.counts();
        let org =
            |(org_id, share): (&Uuid, &Share)| Org { org_id: *org_id, counts: share.counts, totals: share.totals };
        let nanos = elapsed.as_nanos().max(1);
        let rate = u128::from(counts.sent) * 1_000_000_000 / nanos;
        Self {
            source,
            seed,
            base_date,
            stream: stream.to_owned(),
            partitions,
            counts,
            resent,
            unconfirmed,
            seconds: elapsed.as_secs_f64(),
            messages_per_second: u64::try_from(rate).unwrap_or(u64::MAX),
            first_occurred_at: tally.span().map(|(first, _)| first),
            last_occurred_at: tally.span().map(|(_, last)| last),
            totals: tally.totals(),
            orgs: tally.orgs().iter().map(org).collect(),
        }
    }

    /// On standard output as JSON or as a table, and to a file as JSON.
    pub fn write(&self, json: bool, file: Option<&Path>) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        let printed = if json { format!("{text}\n") } else { self.table() };
        io::stdout().lock().write_all(printed.as_bytes()).context("standard output")?;
        if let Some(file) = file {
            fs::write(file, format!("{text}\n")).with_context(|| file.display().to_string())?;
        }
        Ok(())
    }

    fn table(&self) -> String {
        let Counts { sent, events, late, duplicates, conflicts, invalid, .. } = self.counts;
        let mut lines = vec![
            format!(
                "published   {sent} messages to {} in {:.1} s, {} a second",
                self.stream, self.seconds, self.messages_per_second
            ),
            format!("events      {events}, {late} of them late"),
            format!("duplicates  {duplicates}, {conflicts} of them with other content or time"),
            format!("invalid     {invalid}"),
            format!("resent      {}", self.resent),
        ];
        if self.unconfirmed > 0 {
            lines.push(format!("unconfirmed {}: they may be in the stream or not", self.unconfirmed));
        }
        if let (Some(first), Some(last)) = (self.first_occurred_at, self.last_occurred_at) {
            let form = "%Y-%m-%dT%H:%M:%S%.6fZ";
            lines.push(format!("occurred    {} to {}", first.format(form), last.format(form)));
        }
        lines.push(String::new());
        let row = |name: &str, totals: &Totals| {
            let Totals { invocations, input_tokens, output_tokens, cost } = totals;
            format!("{name:<36} {invocations:>12} {input_tokens:>15} {output_tokens:>14} {:>18}", cost.to_string())
        };
        lines.push(format!(
            "{:<36} {:>12} {:>15} {:>14} {:>18}",
            "org", "invocations", "input tokens", "output tokens", "cost in cents"
        ));
        let mut orgs: Vec<&Org> = self.orgs.iter().collect();
        orgs.sort_by_key(|org| std::cmp::Reverse(org.totals.invocations));
        lines.extend(orgs.iter().take(SHOWN).map(|org| row(&org.org_id.to_string(), &org.totals)));
        if orgs.len() > SHOWN {
            lines.push(format!("and {} more, see --json", orgs.len() - SHOWN));
        }
        lines.push(row("all", &self.totals));
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::money::Cents,
        workload::{Kind, Note, Usage},
    };

    fn report() -> Report {
        let mut tally = Tally::default();
        let org_id = Some(Uuid::from_u128(7));
        let occurred_at = DateTime::from_timestamp(1_774_000_000, 0).unwrap();
        let usage =
            Usage { occurred_at, input_tokens: 10, output_tokens: 2, cost: Cents::from_ten_thousandths(12_345) };
        tally.add(&Note { kind: Kind::Original { late: true }, org_id, usage: Some(usage) });
        tally.add(&Note { kind: Kind::Invalid, org_id, usage: None });
        tally.add(&Note { kind: Kind::Invalid, org_id: None, usage: None });
        Report::new(Parts {
            source: "synthetic",
            seed: 1,
            base_date: None,
            stream: "s",
            partitions: 4,
            resent: 0,
            unconfirmed: 0,
            elapsed: Duration::from_secs(2),
            tally: &tally,
        })
    }

    #[test]
    fn the_json_has_exact_totals_by_org() {
        let text = serde_json::to_string(&report()).unwrap();
        assert!(text.contains("\"costEstimateCents\":1.2345"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (json["sent"].as_u64(), json["events"].as_u64(), json["invalid"].as_u64()),
            (Some(3), Some(1), Some(2))
        );
        assert_eq!(json["messagesPerSecond"], 1);
        assert_eq!(json["orgs"][0]["invalid"], 1, "the other's org cannot be read");
        assert_eq!(json["orgs"][0]["totals"], json["totals"]);
        assert_eq!(json["firstOccurredAt"], "2026-03-20T09:46:40Z");
    }

    #[test]
    fn the_table_names_the_orgs_and_the_sum() {
        let table = report().table();
        assert!(table.contains("00000000-0000-0000-0000-000000000007") && table.contains("1.2345"), "{table}");
    }
}
