//! What reports say: fixed points in the range of the query.

use chrono::TimeDelta;
use uuid::Uuid;

use super::{Fixed, MADE_UP_MODELS, MODEL, ORG, OTHER_ORG, at};
use crate::{
    actors::serving::query::{GetEvent, GetFreshness, GetLedger, GetReliability, GetRevisions, GetSummary, GetUsage},
    domain::{
        attribution::{self, NoSet},
        event_fate::EventFate,
        freshness::{Freshness, FreshnessStatus},
        histogram::Histogram,
        ledger::{Counts, LedgerHour, LedgerReport},
        money::Cents,
        page::Page,
        query::{FreshnessReport, ModelFreshness, Usage, UsagePoint, UsageReport},
        reliability::{Dimension, Key, Outcomes, ReliabilityPoint, ReliabilityReport},
        revision::{Reason, Revision, RevisionPage},
        summary::{OrgSum, OrgUsage, Place, Summary},
    },
};

pub fn freshness() -> Freshness {
    Freshness {
        last_event_at: Some(at("2026-03-02T10:59:58.5Z")),
        last_rollup_at: Some(at("2026-03-02T11:00:00Z")),
        lag_ms: Some(412),
        status: FreshnessStatus::Fresh,
    }
}

/// Of so many invocations: 15 tokens in and 20 out each.
fn usage(invocations: u64, cost: i128) -> Usage {
    Usage {
        invocations,
        input_tokens: 15 * invocations,
        output_tokens: 20 * invocations,
        cost: Cents::from_ten_thousandths(cost),
    }
}

impl Fixed for GetUsage {
    /// One day before and one after the watermark's late threshold. No set has persons.
    fn response(self) -> Result<UsageReport, NoSet> {
        if self.0.filters.iter().any(|filter| filter.dimension == attribution::Dimension::Actor) {
            return Err(NoSet(super::attribution::sets()));
        }
        let start = self.0.buckets.start();
        let point = |bucket_start, cost| UsagePoint {
            bucket_start,
            model_id: self.0.by_model.then_some(MODEL),
            usage: usage(2, cost),
        };
        Ok(UsageReport {
            series: vec![point(start, 1), point(start + TimeDelta::days(1), 15_000)],
            overflow: (!self.0.filters.is_empty()).then(|| usage(1, 30)),
            freshness: freshness(),
            as_of: Some(start + TimeDelta::days(1) + TimeDelta::hours(1)),
        })
    }
}

impl Fixed for GetReliability {
    /// One bucket with one of each outcome, and one with a slow success.
    fn response(self) -> ReliabilityReport {
        let key = match self.0.by {
            Dimension::None => Key::None,
            Dimension::Model => Key::Model(MODEL),
            Dimension::Client => Key::Client(Some("web".to_owned())),
            Dimension::ErrorCode => Key::ErrorCode(None),
        };
        let point = |bucket_start, by_status, latencies: &[u32]| {
            let mut latency = Histogram::default();
            latencies.iter().for_each(|ms| latency.record(*ms));
            ReliabilityPoint { bucket_start, key: key.clone(), outcomes: Outcomes { by_status, latency } }
        };
        let start = self.0.buckets.start();
        let slow = point(start + TimeDelta::days(1), [1, 0, 0, 0], &[40]);
        let series = vec![point(start, [1, 1, 1, 1], &[10, 20, 20, 30]), slow];
        ReliabilityReport { series, freshness: freshness(), as_of: Some(start) }
    }
}

impl Fixed for GetLedger {
    fn response(self) -> LedgerReport {
        let counts = Counts { received: 10, stored: 7, duplicates: 2, conflicts: 1, rejected: 1, late: 3 };
        let hours = vec![LedgerHour { hour: self.0.hours.start(), counts }; 2];
        LedgerReport { hours, freshness: freshness(), as_of: Some(self.0.hours.end()), unread_since: None }
    }
}

impl Fixed for GetSummary {
    /// Two orgs, one a page, of which one has a name: what they are ordered by.
    fn response(self) -> Summary {
        let (usage, query) = (usage(2, 15_000), self.0);
        let behind = |place: Place| place.org_id == ORG && place.amount == query.order_by.amount(&usage);
        let last = query.after.is_some_and(behind);
        let name = (!last).then(|| query.order_by.to_string());
        let org = OrgUsage { org_id: if last { OTHER_ORG } else { ORG }, name, usage };
        let other = if last { OrgSum::default() } else { OrgSum { orgs: 1, usage } };
        Summary { orgs: vec![org], other, all: OrgSum { orgs: 2, usage }, as_of: None }
    }
}

impl Fixed for GetFreshness {
    /// Every model is known but those that are made up.
    fn response(self) -> FreshnessReport {
        let known = |model_id: &Uuid| *model_id < MADE_UP_MODELS;
        let asked: Vec<Uuid> = self.models.into_iter().filter(known).collect();
        let entry = |model_id| ModelFreshness { model_id, freshness: freshness() };
        let models = if asked.is_empty() { vec![MODEL] } else { asked };
        FreshnessReport { org: freshness(), models: models.into_iter().map(entry).collect() }
    }
}

impl Fixed for GetEvent {
    /// Nothing is known of it.
    fn response(self) -> EventFate {
        EventFate {
            stored: vec![],
            duplicates: None,
            rejections: vec![],
            raw_from: None,
            freshness: freshness(),
            as_of: None,
        }
    }
}

impl Fixed for GetRevisions {
    /// Names the query by the one revision: its models by how many it is of, its limit by the changes. An erasure, so that
    /// it has less than before.
    fn response(self) -> RevisionPage {
        let query = self.0;
        let revision = Revision {
            revision_id: super::LETTER,
            model_id: query.models.first().copied().unwrap_or(MODEL),
            bucket_start: query.hours.start(),
            reason: query.reason.unwrap_or(Reason::Erasure),
            revised_at: at("2026-03-02T10:59:58.5Z"),
            changes: query.limit.into(),
            before: usage(2, 15_001),
            after: usage(1, 1),
        };
        let page = Page { entries: vec![revision], more: query.before.is_none() };
        RevisionPage { page, as_of: Some(query.hours.end()) }
    }
}
