//! What a correct service has after a workload: originals count with their own content, nothing else does.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Kind, Note, Resend};
use crate::domain::money::{Cents, as_json_number};

/// Usage as the API's totals name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    pub invocations: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    #[serde(rename = "costEstimateCents", serialize_with = "as_json_number")]
    pub cost: Cents,
}

/// Messages by what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// All messages, each once.
    pub sent: u64,
    /// Originals, late ones among them.
    pub events: u64,
    /// Originals that occurred more than an hour before they were published.
    pub late: u64,
    /// Resends of earlier originals.
    pub duplicates: u64,
    /// Resends that differ from their original, in whatever field.
    pub conflicts: u64,
    /// Conflicts whose `occurredAt` differs.
    pub conflicts_in_time: u64,
    /// Messages that break the contract.
    pub invalid: u64,
}

/// One org's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    pub counts: Counts,
    pub totals: Totals,
}

#[derive(Clone, Debug, Default)]
pub struct Tally {
    all: Share,
    /// Messages with a readable org.
    orgs: BTreeMap<Uuid, Share>,
    span: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl Tally {
    pub fn add(&mut self, note: &Note) {
        self.all.add(note);
        if let Some(org_id) = note.org_id {
            self.orgs.entry(org_id).or_default().add(note);
        }
        if let Some(at) = note.usage.map(|usage| usage.occurred_at) {
            let (first, last) = self.span.unwrap_or((at, at));
            self.span = Some((first.min(at), last.max(at)));
        }
    }

    pub fn counts(&self) -> Counts {
        self.all.counts
    }

    pub fn totals(&self) -> Totals {
        self.all.totals
    }

    /// Sorted by org.
    pub fn orgs(&self) -> &BTreeMap<Uuid, Share> {
        &self.orgs
    }

    /// First and last `occurredAt` of the originals.
    pub fn span(&self) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        self.span
    }
}

impl Share {
    fn add(&mut self, note: &Note) {
        let counts = &mut self.counts;
        counts.sent += 1;
        match note.kind {
            Kind::Original { late } => {
                counts.events += 1;
                counts.late += u64::from(late);
            }
            Kind::Resend(resend) => {
                counts.duplicates += 1;
                counts.conflicts += u64::from(resend != Resend::Identical);
                counts.conflicts_in_time += u64::from(resend == Resend::OtherTime);
            }
            Kind::Invalid => counts.invalid += 1,
        }
        if let Some(usage) = note.usage {
            self.totals.invocations += 1;
            self.totals.input_tokens += u64::from(usage.input_tokens);
            self.totals.output_tokens += u64::from(usage.output_tokens);
            self.totals.cost += usage.cost;
        }
    }
}
