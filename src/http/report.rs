//! What reports of a range of time have in common: how they begin, how complete they are, and their ETag.

use std::collections::BTreeSet;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, EntityTag, Header, HeaderName, IfNoneMatch, VARY},
};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Api, error::Problem};
use crate::{
    actors::serving::query::GetFreshness,
    domain::{
        calendar::{Buckets, Granularity},
        freshness::Freshness,
        rollup::{first_open_hour, hour_start},
    },
};

/// Says on every response, a 304 too, up to which moment it is complete.
pub const AS_OF: HeaderName = HeaderName::from_static("analytics-as-of");
/// Kept by the client alone, and requested again each time: If-None-Match makes that cheap.
const REVALIDATED: &str = "private, no-cache";
/// What a response depends on beside its path.
const VARIES: &str = "Authorization, X-API-Key, Accept-Encoding, Origin";

/// Of the models that are requested and were not found in the range, those that the org ever used: a model that it never
/// did is an empty series, filled or not.
pub async fn known_models(
    api: &Api,
    org_id: Uuid,
    wanted: &[Uuid],
    found: impl Iterator<Item = Uuid>,
) -> Result<Vec<Uuid>, Problem> {
    let found: BTreeSet<Uuid> = found.collect();
    let models: Vec<Uuid> = wanted.iter().copied().filter(|model_id| !found.contains(model_id)).collect();
    if models.is_empty() {
        return Ok(models);
    }
    let known = api.queries.send(GetFreshness { org_id, models }, api.response_timeout).await?;
    Ok(known.models.iter().map(|entry| entry.model_id).collect())
}

/// The range that was used: on bucket boundaries.
#[derive(Serialize, ToSchema)]
pub struct Range {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl From<&Buckets> for Range {
    fn from(buckets: &Buckets) -> Self {
        Self { start: buckets.start(), end: buckets.end() }
    }
}

/// What a report of buckets begins with
#[derive(Serialize, ToSchema)]
#[schema(as = ReportScope)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    org_id: Uuid,
    granularity: Granularity,
    timezone: &'static str,
    /// The one that was used: on bucket boundaries
    range: Range,
    /// Whether every bucket of the range is final: its end is longer ago than the late threshold, by asOf
    #[serde(rename = "final")]
    is_final: bool,
}

impl Scope {
    pub fn new(org_id: Uuid, buckets: &Buckets, as_of: Option<DateTime<Utc>>, late_after: TimeDelta) -> Self {
        Self {
            org_id,
            granularity: buckets.granularity,
            timezone: buckets.zone.name(),
            range: buckets.into(),
            is_final: is_final(buckets.end(), as_of, late_after),
        }
    }
}

/// How complete a response is. It moves every second, so it is no part of what a response's ETag stands for.
// A report ends with it: see `respond`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Completeness {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub freshness: Option<Freshness>,
    /// The moment up to which the response is complete; null before the first event of the organisation's partition
    pub as_of: Option<DateTime<Utc>>,
}

/// Whether a bucket that ends then changes only by events that come later than late ones usually do. Hours are closed as a
/// whole, and what changes a closed one is a revision: a day that ends within an hour is final when that hour is.
pub fn is_final(end: DateTime<Utc>, as_of: Option<DateTime<Utc>>, late_after: TimeDelta) -> bool {
    as_of.is_some_and(|as_of| end <= hour_start(first_open_hour(as_of, late_after)))
}

/// 200 with a report; or 304 where the client has the same facts already: all of the report but how complete it is, which it
/// ends with.
///
/// # Errors
/// The report cannot be written as a JSON object.
pub fn respond(
    request: &HttpRequest,
    report: &impl Serialize,
    completeness: &Completeness,
) -> Result<HttpResponse, Problem> {
    let body = serde_json::to_vec(report).map_err(|_| Problem::Internal)?;
    let tag = tag(&body, &serde_json::to_vec(completeness).map_err(|_| Problem::Internal)?);
    let known = has(request, &tag);
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((ETAG, tag.to_string()))
        .insert_header((CACHE_CONTROL, REVALIDATED))
        .insert_header((VARY, VARIES));
    if let Some(as_of) = completeness.as_of {
        response.insert_header((AS_OF, as_of.to_rfc3339_opts(SecondsFormat::AutoSi, true)));
    }
    if known {
        return Ok(response.finish());
    }
    Ok(response.insert_header((CONTENT_TYPE, "application/json")).body(body))
}

/// Of the facts as the object that they would be alone: `{facts,completeness}` without `,completeness`.
fn tag(report: &[u8], completeness: &[u8]) -> EntityTag {
    let end = completeness.strip_prefix(b"{").unwrap_or_default();
    let facts = report.strip_suffix(end).and_then(|facts| facts.strip_suffix(b",")).unwrap_or(report);
    let digest = Sha256::new().chain_update(facts).chain_update(b"}").finalize();
    EntityTag::new_weak(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// Whether the client says that it has this.
fn has(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|given| given.weak_eq(tag)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::rollup::hour_of;

    #[test]
    fn completeness_is_no_part_of_a_tag() {
        let tag_of = |facts: &str, as_of: &str| {
            let completeness = json!({"asOf": as_of}).to_string();
            let report = format!("{{{facts},{}", &completeness[1..]);
            tag(report.as_bytes(), completeness.as_bytes())
        };
        let facts = r#""a":1,"asOf":"x""#;
        assert_eq!(tag_of(facts, "x"), tag_of(facts, "y"));
        assert_ne!(tag_of(facts, "x"), tag_of(r#""a":2,"asOf":"x""#, "x"));
        let alone = Sha256::digest(format!("{{{facts}}}"));
        let alone: String = alone.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(tag_of(facts, "x"), EntityTag::new_weak(alone));
    }

    #[test]
    fn a_bucket_of_closed_hours_is_final() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let hour = TimeDelta::hours(1);
        for (end, as_of, late_after, expected) in [
            ("2026-03-01T18:00:00Z", "2026-03-01T18:59:59Z", hour, false),
            ("2026-03-01T18:00:00Z", "2026-03-01T19:00:00Z", hour, true),
            // A day of India ends within an hour: until that hour is closed, a change of the day would be no revision.
            ("2026-03-01T18:30:00Z", "2026-03-01T19:30:00Z", hour, false),
            ("2026-03-01T18:30:00Z", "2026-03-01T19:59:59.999999Z", hour, false),
            ("2026-03-01T18:30:00Z", "2026-03-01T20:00:00Z", hour, true),
            ("2026-03-01T18:30:00Z", "2026-03-01T19:01:30Z", TimeDelta::seconds(90), true),
            ("2026-03-01T18:30:00Z", "2026-03-01T19:01:29Z", TimeDelta::seconds(90), false),
        ] {
            let found = is_final(time(end), Some(time(as_of)), late_after);
            assert_eq!(found, expected, "{end} {as_of} {late_after}");
            // As merges judge it, of the hour that the bucket ends in.
            let last_hour = hour_of(time(end) - TimeDelta::microseconds(1));
            assert_eq!(found, last_hour < first_open_hour(time(as_of), late_after), "{end} {as_of}");
        }
        assert!(!is_final(time("2026-03-01T18:30:00Z"), None, hour));
    }
}
