//! Ranges of time: what all reports read.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use utoipa::{
    IntoParams,
    openapi::{
        Required,
        path::{Parameter, ParameterIn},
    },
};
use uuid::Uuid;

use super::{Choice, Parameters, Params, QueryParams, choices, parameter, text};
use crate::domain::calendar::{self, Buckets, Granularity};

/// What every report of buckets in a time zone reads.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
struct RangeParams {
    /// Inclusive; floored to the bucket. A time (RFC 3339), or a date: the beginning of that day in `timezone`
    #[param(value_type = String, example = "2026-03-01")]
    start: DateTime<Utc>,
    /// Exclusive; ceiled to the bucket; now without it. A time, or a date: the beginning of that day. At most 90 days of
    /// hours, 400 of days, after start, counted as days of `timezone`
    #[param(value_type = Option<String>, example = "2026-03-08T00:00:00Z")]
    end: Option<DateTime<Utc>>,
    /// Length of a bucket: day (default) or hour. Hours are those of UTC in every zone
    #[param(inline, required = false)]
    granularity: Granularity,
    /// Only these models; all without it
    #[param(value_type = Option<Vec<Uuid>>, max_items = 100)]
    model_id: Vec<Uuid>,
    /// Whose days: an IANA time zone, UTC without it. Days that begin within an hour of UTC need raw events: none are from
    /// before those were purged
    #[param(value_type = Option<String>, example = "Europe/Berlin")]
    timezone: Tz,
    /// zero: a point for every bucket, also where nothing happened; none (default): only where something did
    #[param(inline, required = false)]
    fill: Fill,
}

choices! {
    enum Fill { None = "none", Zero = "zero" }
}

impl Choice for Granularity {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("day", Self::Day), ("hour", Self::Hour)]
    }
}

/// What a report of buckets reads, and what is its own.
pub struct RangeReport<P> {
    pub buckets: Buckets,
    /// Empty: all.
    pub models: Vec<Uuid>,
    /// Whether there is a point for every bucket, also where nothing happened.
    pub fill: bool,
    pub own: P,
}

/// What is a report's own.
pub trait ReportParams: Parameters {
    /// Days of its longest range.
    fn longest(&self, granularity: Granularity) -> u32 {
        granularity.max_days()
    }
}

impl<P: ReportParams> Parameters for RangeReport<P> {
    fn describe() -> Vec<Parameter> {
        [RangeParams::describe(), P::describe()].concat()
    }

    fn parse(params: &mut Params) -> Option<Self> {
        let (own, range) = (P::parse(params), RangeParams::read(params));
        let (own, range) = own.zip(range)?;
        let RangeParams { start, end, granularity, model_id, timezone, fill } = range;
        let buckets = covering(params, (start, end), granularity, timezone, own.longest(granularity))?;
        Some(Self { buckets, models: model_id, fill: fill == Fill::Zero, own })
    }
}

impl QueryParams for RangeParams {
    fn read(params: &mut Params) -> Option<Self> {
        let (model_id, fill) = (params.models(), params.choice("fill"));
        let (granularity, timezone) = (params.choice("granularity"), zone(params));
        let (start, end) = start_and_end(params, timezone)?;
        Some(Self { start, end, granularity, model_id, timezone, fill })
    }
}

/// The parameters `start` and `end`, in days of a time zone, and `timezone`.
#[derive(Clone, Copy)]
pub struct ZonedRange {
    pub start: DateTime<Utc>,
    pub end: Option<DateTime<Utc>>,
    pub timezone: Tz,
}

impl ZonedRange {
    pub fn read(params: &mut Params) -> Option<Self> {
        let timezone = zone(params);
        let (start, end) = start_and_end(params, timezone)?;
        Some(Self { start, end, timezone })
    }

    /// The buckets that it covers, at most so many days of the zone.
    pub fn buckets(self, params: &mut Params, granularity: Granularity, longest: u32) -> Option<Buckets> {
        covering(params, (self.start, self.end), granularity, self.timezone, longest)
    }
}

/// Hours of UTC from `start` to `end`, at most `LONGEST` days of the requested time zone.
pub struct Hours<const LONGEST: u32>(pub Buckets);

/// Days of UTC.
pub struct Days<const LONGEST: u32>(pub Buckets);

impl<const LONGEST: u32> Parameters for Hours<LONGEST> {
    fn describe() -> Vec<Parameter> {
        let zone = parameter(ParameterIn::Query, "timezone", "Whose days: an IANA time zone, UTC without it", text());
        let zone = zone.example(Some("Europe/Berlin".into())).build();
        [describe("hour", "in `timezone`", "`timezone`", LONGEST), vec![zone]].concat()
    }

    fn parse(params: &mut Params) -> Option<Self> {
        ZonedRange::read(params)?.buckets(params, Granularity::Hour, LONGEST).map(Self)
    }
}

impl<const LONGEST: u32> Parameters for Days<LONGEST> {
    fn describe() -> Vec<Parameter> {
        describe("day of UTC", "of UTC", "UTC", LONGEST)
    }

    fn parse(params: &mut Params) -> Option<Self> {
        let range = start_and_end(params, Tz::UTC)?;
        covering(params, range, Granularity::Day, Tz::UTC, LONGEST).map(Self)
    }
}

fn describe(bucket: &str, day: &str, days_of: &str, longest: u32) -> Vec<Parameter> {
    let start =
        format!("Inclusive; floored to the {bucket}. A time (RFC 3339), or a date: the beginning of that day {day}");
    let end = format!(
        "Exclusive; ceiled to the {bucket}; now without it. At most {longest} days after start, counted as days of {days_of}"
    );
    let moment = |name, description: &str, example: &str| {
        parameter(ParameterIn::Query, name, description, text()).example(Some(example.into()))
    };
    vec![
        moment("start", &start, "2026-03-01").required(Required::True).build(),
        moment("end", &end, "2026-03-02T00:00:00Z").build(),
    ]
}

/// `None` where one of them is not as it should be.
fn start_and_end(params: &mut Params, zone: Tz) -> Option<(DateTime<Utc>, Option<DateTime<Utc>>)> {
    let (start, end) = (params.moment("start", zone), params.moment_if_given("end", zone));
    let end_is_wrong = end.is_none() && params.has("end");
    start.filter(|_| !end_is_wrong).map(|start| (start, end))
}

/// The buckets of a range, which ends now where it has no end; at most so many days of the zone.
fn covering(
    params: &mut Params,
    (start, end): (DateTime<Utc>, Option<DateTime<Utc>>),
    granularity: Granularity,
    zone: Tz,
    longest: u32,
) -> Option<Buckets> {
    let open = end.is_none();
    let end = end.unwrap_or_else(Utc::now);
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

fn zone(params: &mut Params) -> Tz {
    let zone = params.single("timezone").map_or(Ok(Tz::UTC), |name| name.parse());
    zone.unwrap_or_else(|_| {
        params.problem("timezone", "must be an IANA time zone such as Europe/Berlin");
        Tz::UTC
    })
}
