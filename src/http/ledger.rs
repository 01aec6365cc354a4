//! `GET /analytics/v1/orgs/{orgId}/ledger`: what became of every message of an org.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, ReadLedger},
    error::Problem,
    examples,
    params::{Checked, Hours},
    report::{self, Completeness, Range},
};
use crate::{
    actors::serving::query::GetLedger,
    domain::ledger::{Counts, LedgerHour, LedgerQuery},
};

/// Days of the longest range.
const LONGEST: u32 = 90;

#[derive(Serialize, ToSchema)]
#[schema(as = LedgerReport)]
#[serde(rename_all = "camelCase")]
struct Report {
    org_id: Uuid,
    /// The one that was used: on hours
    range: Range,
    /// Hours in which messages were committed
    hours: Vec<Hour>,
    /// The sum of the hours
    totals: Tally,
    /// Messages of the stream that the organisation shares with others were not read, and may be its own: since when that is
    /// known and not acknowledged by an operator. asOf stands still at the message before them
    #[serde(skip_serializing_if = "Option::is_none")]
    unread_since: Option<DateTime<Utc>>,
    #[serde(flatten)]
    completeness: Completeness,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LedgerHour)]
struct Hour {
    /// Of the commit, UTC: not of the events
    hour: DateTime<Utc>,
    #[serde(flatten)]
    tally: Tally,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LedgerTally)]
struct Tally {
    received: u64,
    stored: u64,
    duplicates: u64,
    /// Those of the duplicates whose content differs from what was stored first
    conflicts: u64,
    rejected: u64,
    /// Those of the stored that occurred longer than the late threshold before they were published, or before the moment up
    /// to which their partition was complete when they came: all that changes final buckets is among them
    late: u64,
    /// Whether received = stored + duplicates + rejected
    balanced: bool,
}

impl From<Counts> for Tally {
    fn from(counts: Counts) -> Self {
        let Counts { received, stored, duplicates, conflicts, rejected, late } = counts;
        Self { received, stored, duplicates, conflicts, rejected, late, balanced: counts.is_balanced() }
    }
}

/// Report what became of an organisation's messages, by hour of commit
///
/// Every message of the stream ends as stored, duplicate or rejected. ETag and Analytics-As-Of as with usage.
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/ledger",
    operation_id = "getLedger",
    tag = "completeness",
    responses(
        (
            status = 200,
            description = "The hours, their totals, and how complete they are",
            body = Report,
            example = json!({
                "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
                "range": {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"},
                "hours": [{
                    "hour": "2026-03-01T10:00:00Z", "received": 104, "stored": 100, "duplicates": 3, "conflicts": 0,
                    "rejected": 1, "late": 2, "balanced": true
                }],
                "totals": {
                    "received": 104, "stored": 100, "duplicates": 3, "conflicts": 0, "rejected": 1, "late": 2,
                    "balanced": true
                },
                "freshness": examples::freshness(),
                "asOf": "2026-03-02T11:00:00.088Z"
            })
        ),
        (status = 304, description = "The facts are those of the ETag that was given")
    )
)]
pub async fn get(
    org: Authorized<ReadLedger>,
    request: HttpRequest,
    Checked(Hours(hours)): Checked<Hours<LONGEST>>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let query = LedgerQuery { org_id: org.org_id, hours };
    let found = api.queries.send(GetLedger(query.clone()), api.response_timeout).await?;
    let hour = |LedgerHour { hour, counts }: &LedgerHour| Hour { hour: *hour, tally: (*counts).into() };
    let report = Report {
        org_id: query.org_id,
        range: (&query.hours).into(),
        hours: found.hours.iter().map(hour).collect(),
        totals: found.totals().into(),
        unread_since: found.unread_since,
        completeness: Completeness { freshness: Some(found.freshness), as_of: found.as_of },
    };
    report::respond(&request, &report, &report.completeness)
}
