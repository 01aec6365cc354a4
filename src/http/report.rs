//! What the answers about a range of time have in common: their parameters, how complete they are, and their ETag.

use std::collections::BTreeSet;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, EntityTag, Header, HeaderName, IfNoneMatch, VARY},
};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{Api, error::Problem, params::Params};
use crate::{
    actors::serving::query::GetFreshness,
    domain::{
        calendar::{self, Buckets, Granularity},
        freshness::Freshness,
        rollup::{first_open_hour, hour_start},
    },
};

/// Says on every response, a 304 too, up to which moment it is complete.
pub const AS_OF: HeaderName = HeaderName::from_static("analytics-as-of");
/// Kept by who asked alone, and asked for again each time: If-None-Match makes that cheap.
const REVALIDATED: &str = "private, no-cache";
/// What a response depends on beside its path.
const VARIES: &str = "Authorization, X-API-Key, Accept-Encoding, Origin";

/// What [`range`] and [`fill`] read.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
#[expect(dead_code, reason = "for the API's description")]
pub struct ReportParams {
    /// Inclusive; floored to the bucket. A time (RFC 3339), or a date: the beginning of that day in `timezone`
    #[param(example = "2026-03-01")]
    start: String,
    /// Exclusive; ceiled to the bucket; now without it. A time, or a date: the beginning of that day. At most 90 days of
    /// hours, 400 of days, after start, counted as days of `timezone`
    #[param(example = "2026-03-08T00:00:00Z")]
    end: Option<String>,
    /// Length of a bucket: day (default) or hour. Hours are those of UTC in every zone
    #[param(inline)]
    granularity: Option<Granularity>,
    /// Only these models; all without it
    #[param(max_items = 100)]
    model_id: Option<Vec<Uuid>>,
    /// Whose days: an IANA time zone, UTC without it. Days that begin within an hour of UTC need raw events: none are from
    /// before those were purged
    #[param(example = "Europe/Berlin")]
    timezone: Option<String>,
    /// zero: a point for every bucket, also where nothing happened; none (default): only where something did
    #[param(inline)]
    fill: Option<Fill>,
}

/// Names of the parameters of [`ReportParams`].
pub const REPORT: [&str; 6] = ["start", "end", "granularity", "modelId", "timezone", "fill"];

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the API's description")]
enum Fill {
    None,
    Zero,
}

/// The buckets that are asked for, at most `max` days of the zone.
pub fn range(params: &mut Params, max: impl Fn(Granularity) -> u32) -> Option<Buckets> {
    let granularity = params.choice("granularity", [("day", Granularity::Day), ("hour", Granularity::Hour)]);
    let zone = zone(params);
    buckets(params, granularity, zone, max(granularity))
}

/// The buckets of a granularity that is not asked for.
pub fn buckets(params: &mut Params, granularity: Granularity, zone: Tz, longest: u32) -> Option<Buckets> {
    let open = !params.has("end");
    let start = params.moment("start", zone);
    let end = if open { Some(Utc::now()) } else { params.moment_if_given("end", zone) };
    let (start, end) = start.zip(end)?;
    if end <= start {
        let (field, rule) =
            if open { ("start", "must be before now, or end be given") } else { ("end", "must be after start") };
        params.problem(field, rule);
        return None;
    }
    if calendar::days_later(start, longest, zone).is_none_or(|last| end > last) {
        let now = if open { ", and is now without the parameter" } else { "" };
        params.problem("end", format!("must be at most {longest} days after start here{now}"));
        return None;
    }
    Buckets::covering(start, end, granularity, zone)
}

pub fn fill(params: &mut Params) -> bool {
    params.choice("fill", [("none", false), ("zero", true)])
}

/// Of the models that are asked for and were not found in the range, those that the org ever used: a model that it never
/// did is an empty series, filled or not.
pub async fn known_models(
    api: &Api,
    org_id: Uuid,
    asked: &[Uuid],
    found: impl Iterator<Item = Uuid>,
) -> Result<Vec<Uuid>, Problem> {
    let found: BTreeSet<Uuid> = found.collect();
    let models: Vec<Uuid> = asked.iter().copied().filter(|model_id| !found.contains(model_id)).collect();
    if models.is_empty() {
        return Ok(models);
    }
    let known = api.queries.send(GetFreshness { org_id, models }, api.answer_within).await?;
    Ok(known.models.iter().map(|entry| entry.model_id).collect())
}

fn zone(params: &mut Params) -> Tz {
    let zone = params.single("timezone").map_or(Ok(Tz::UTC), |name| name.parse());
    zone.unwrap_or_else(|_| {
        params.problem("timezone", "must be an IANA time zone such as Europe/Berlin");
        Tz::UTC
    })
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

/// How complete a response is. It moves every second, so it is no part of what a response's ETag stands for.
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

/// 200 with `facts` and how complete they are; or 304 where the client has the same facts already.
///
/// # Errors
/// `facts` cannot be written as a JSON object.
pub fn answer(
    request: &HttpRequest,
    facts: &impl Serialize,
    completeness: &Completeness,
) -> Result<HttpResponse, Problem> {
    let mut body = serde_json::to_vec(facts).map_err(|_| Problem::Internal)?;
    let tag = EntityTag::new_weak(Sha256::digest(&body).iter().take(16).map(|byte| format!("{byte:02x}")).collect());
    let known = has(request, &tag);
    let mut answer = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((ETAG, tag.to_string()))
        .insert_header((CACHE_CONTROL, REVALIDATED))
        .insert_header((VARY, VARIES));
    if let Some(as_of) = completeness.as_of {
        answer.insert_header((AS_OF, as_of.to_rfc3339_opts(SecondsFormat::AutoSi, true)));
    }
    if known {
        return Ok(answer.finish());
    }
    // Two objects become one: the second's brace is the comma between them.
    let moment = serde_json::to_vec(completeness).map_err(|_| Problem::Internal)?;
    body.pop();
    body.push(b',');
    body.extend_from_slice(&moment[1..]);
    Ok(answer.insert_header((CONTENT_TYPE, "application/json")).body(body))
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
    use super::*;
    use crate::domain::rollup::hour_of;

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
