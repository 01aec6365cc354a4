//! What is requested: read from the body, and held against the rules.

use chrono::{DateTime, DurationRound, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Granularity, GroupBy, Grouping, MAX_DIMENSIONS, MAX_MODELS, MAX_RANGE, MAX_RAW_RANGE, Month, TimeRange};
use crate::domain::{
    attribution::{Dimension, NoSet, SetStatus, serving},
    event::Reason,
    floor::Floors,
    json,
    moment::{Moment, MomentError},
};

const UUIDS_FORM: &str = "must be an array of UUIDs such as 123e4567-e89b-12d3-a456-426614174000";
const BUCKET_FORM: &str = "must be a bucket of this organisation, or be left out";

/// An export that is requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub range: TimeRange,
    pub granularity: Granularity,
    pub group_by: Grouping,
    /// Whether there are names beside the ids.
    pub names: bool,
    /// Empty: all. In order, each once.
    pub models: Vec<Uuid>,
    /// Where the file goes; none: where the settings say.
    pub bucket: Option<String>,
}

/// What a request is held against.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// From when on there is all that a file is made of.
    pub floors: Floors,
    /// What attribution has.
    pub sets: &'a [SetStatus],
    /// Those that a request may name.
    pub buckets: &'a [String],
}

/// By what a request is known to be the same: other white space and another order of fields change nothing.
pub fn fingerprint(body: &[u8]) -> [u8; 32] {
    // A map of serde_json is in the order of its keys.
    let canonical = serde_json::from_slice::<Value>(body).map(|value| value.to_string());
    canonical.map_or_else(|_| Sha256::digest(body), Sha256::digest).into()
}

impl Request {
    /// Reads a request's body.
    ///
    /// # Errors
    /// Every rule that it breaks.
    pub fn read(body: &[u8], rules: Rules<'_>) -> Result<Self, Vec<Reason>> {
        let mut reader = Reader(Vec::new());
        let fields = json::object(body).map_err(|reason| vec![reason])?;
        let known = ["timeRange", "granularity", "groupBy", "names", "models", "delivery"];
        reader.only("body", &fields, &known);
        let given = |name: &str| fields.get(name).filter(|value| !value.is_null());
        let granularity = reader.word("granularity", given("granularity"), &Granularity::ALL, Granularity::as_str);
        let group_by = reader.grouping(given("groupBy"));
        let names = reader.flag("names", given("names"));
        let range = reader.range(given("timeRange"));
        let models = reader.models(given("models"));
        let bucket = reader.delivery(given("delivery"), rules.buckets);
        if let (Some(range), Some(granularity), Some(group_by)) = (range, granularity, &group_by) {
            reader.judge(range, granularity, group_by, rules);
            reader.judge_dimensions(
                range,
                granularity,
                dimensions(group_by, models.as_deref().unwrap_or_default()),
                rules,
            );
        }
        let read = || {
            let (range, granularity, group_by, names) = (range?, granularity?, group_by?, names?);
            Some(Self { range, granularity, group_by, names, models: models?, bucket: bucket? })
        };
        read().filter(|_| reader.0.is_empty()).ok_or(reader.0)
    }
}

/// What a set has to have that serves a file.
pub fn dimensions<'g>(group_by: &'g Grouping, models: &[Uuid]) -> Vec<&'g Dimension> {
    let mut wanted: Vec<&Dimension> = group_by.dimensions().iter().collect();
    if !wanted.is_empty() && !models.is_empty() && !wanted.contains(&&Dimension::Model) {
        wanted.push(&Dimension::Model);
    }
    wanted
}

/// What was wrong with what was read.
struct Reader(Vec<Reason>);

impl Reader {
    fn wrong(&mut self, field: &'static str, rule: impl Into<String>) {
        self.0.push(Reason { field, rule: rule.into() });
    }

    fn only(&mut self, field: &'static str, fields: &Map<String, Value>, known: &[&str]) {
        if fields.keys().any(|name| !known.contains(&name.as_str())) {
            self.wrong(field, format!("must have no other fields than {}", known.join(", ")));
        }
    }

    fn word<T: Copy + Default>(
        &mut self,
        field: &'static str,
        value: Option<&Value>,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        let Some(value) = value else { return Some(T::default()) };
        let found = all.iter().copied().find(|one| value.as_str() == Some(name(*one)));
        if found.is_none() {
            self.wrong(field, format!("must be {}", all.iter().map(|one| name(*one)).collect::<Vec<_>>().join(" or ")));
        }
        found
    }

    /// A word, or a list of dimensions.
    fn grouping(&mut self, value: Option<&Value>) -> Option<Grouping> {
        let Some(Value::Array(names)) = value else {
            return self.word("groupBy", value, &GroupBy::ALL, GroupBy::as_str).map(Grouping::By);
        };
        let dimension = |name: &Value| name.as_str().filter(|name| !name.contains('\0'))?.parse().ok();
        let dimensions: Option<Vec<Dimension>> = names.iter().map(dimension).collect();
        let each_once = |all: &Vec<Dimension>| all.iter().enumerate().all(|(n, of)| !all[..n].contains(of));
        let fits = |all: &Vec<Dimension>| (1..=MAX_DIMENSIONS).contains(&all.len()) && each_once(all);
        let dimensions = dimensions.filter(fits);
        if dimensions.is_none() {
            self.wrong(
                "groupBy",
                "as a list must be one to three different ones of modelId, clientId, actorId, status, errorCode, or meta. and the \
                 name of a field of the metadata",
            );
        }
        dimensions.map(Grouping::Dimensions)
    }

    fn flag(&mut self, field: &'static str, value: Option<&Value>) -> Option<bool> {
        let found = value.map_or(Some(false), Value::as_bool);
        if found.is_none() {
            self.wrong(field, "must be true or false");
        }
        found
    }

    fn range(&mut self, value: Option<&Value>) -> Option<TimeRange> {
        let Some(Value::Object(fields)) = value else {
            self.wrong("timeRange", "is required and must be an object with start and end");
            return None;
        };
        self.only("timeRange", fields, &["start", "end"]);
        let start = self.time("timeRange.start", fields.get("start"));
        let end = self.time("timeRange.end", fields.get("end"));
        Some(TimeRange { start: start?, end: end? })
    }

    fn time(&mut self, field: &'static str, value: Option<&Value>) -> Option<DateTime<Utc>> {
        let moment = value.and_then(Value::as_str).and_then(|text| Moment::parse(text).ok());
        let time = moment.and_then(|moment| moment.in_zone(Tz::UTC));
        if time.is_none() {
            self.wrong(field, MomentError::Form.to_string());
        }
        time
    }

    fn models(&mut self, value: Option<&Value>) -> Option<Vec<Uuid>> {
        let Some(value) = value else { return Some(Vec::new()) };
        let Some(values) = value.as_array() else {
            self.wrong("models", UUIDS_FORM);
            return None;
        };
        if values.len() > MAX_MODELS {
            self.wrong("models", format!("must name at most {MAX_MODELS} models"));
            return None;
        }
        let hyphenated = |text: &&str| text.len() == uuid::fmt::Hyphenated::LENGTH;
        let id = |value: &Value| value.as_str().filter(hyphenated).and_then(|text| Uuid::try_parse(text).ok());
        let Some(mut models) = values.iter().map(id).collect::<Option<Vec<_>>>() else {
            self.wrong("models", UUIDS_FORM);
            return None;
        };
        models.sort_unstable();
        models.dedup();
        if models.len() < values.len() {
            self.wrong("models", "must name each model once");
        }
        Some(models)
    }

    fn delivery(&mut self, value: Option<&Value>, buckets: &[String]) -> Option<Option<String>> {
        let Some(value) = value else { return Some(None) };
        let Some(fields) = value.as_object() else {
            self.wrong("delivery", "must be an object with a type");
            return None;
        };
        self.only("delivery", fields, &["type", "bucket"]);
        if fields.get("type").and_then(Value::as_str) != Some("s3") {
            self.wrong("delivery.type", "must be s3");
        }
        let Some(bucket) = fields.get("bucket").filter(|value| !value.is_null()) else { return Some(None) };
        let found = buckets.iter().find(|allowed| bucket.as_str() == Some(allowed.as_str()));
        if found.is_none() {
            self.wrong("delivery.bucket", BUCKET_FORM);
        }
        found.cloned().map(Some)
    }

    fn judge(&mut self, range: TimeRange, granularity: Granularity, group_by: &Grouping, rules: Rules<'_>) {
        let TimeRange { start, end } = range;
        let boundary = match granularity {
            Granularity::Hourly => "must be a full hour of UTC",
            Granularity::Daily => "must be a midnight of UTC, as the bucket is a day",
            Granularity::Monthly => "must be the first midnight of a month of UTC, as the bucket is a month",
        };
        for (field, time) in [("timeRange.start", start), ("timeRange.end", end)] {
            if !is_boundary(time, granularity) {
                self.wrong(field, boundary);
            }
        }
        if end <= start {
            self.wrong("timeRange.end", "must be after timeRange.start");
        } else if end - start > MAX_RANGE {
            self.wrong("timeRange.end", format!("must be at most {} days after timeRange.start", MAX_RANGE.num_days()));
        }
        if let Some(floor) = floor(granularity, group_by, rules.floors).filter(|floor| start < *floor) {
            self.not_before(first_boundary(floor, granularity));
        }
        if end > rules.now {
            self.wrong("timeRange.end", "must not be in the future");
        }
        if matches!(group_by, Grouping::By(GroupBy::Client | GroupBy::ErrorCode)) {
            if granularity != Granularity::Hourly {
                self.wrong("groupBy", "must be model or a list of dimensions, or granularity hourly");
            }
            if end - start > MAX_RAW_RANGE {
                let days = MAX_RAW_RANGE.num_days();
                self.wrong(
                    "timeRange.end",
                    format!("must be at most {days} days after timeRange.start with this groupBy"),
                );
            }
        }
    }

    /// Whether a set has these dimensions, and all of the range.
    fn judge_dimensions(
        &mut self,
        range: TimeRange,
        granularity: Granularity,
        wanted: Vec<&Dimension>,
        rules: Rules<'_>,
    ) {
        if wanted.is_empty() {
            return;
        }
        let Some(status) = serving(rules.sets, |of| &of.set, |of| of.complete_from, range.start, &wanted) else {
            return self.wrong("groupBy", NoSet(rules.sets.to_vec()).to_string());
        };
        if let Some(from) = status.complete_from.filter(|from| range.start < *from) {
            self.not_before(first_boundary(from, granularity));
        }
    }

    fn not_before(&mut self, first: DateTime<Utc>) {
        let first = first.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        self.wrong("timeRange.start", format!("must be at or after {first}: what is from before is not kept any more"));
    }
}

/// From when on there is all that a file of that kind is made of; none where there always is. Of dimensions the set that serves it says.
pub fn floor(granularity: Granularity, group_by: &Grouping, floors: Floors) -> Option<DateTime<Utc>> {
    match (group_by, granularity) {
        (Grouping::By(GroupBy::Model), Granularity::Hourly) => floors.hourly,
        (Grouping::By(GroupBy::Model), Granularity::Daily | Granularity::Monthly) => floors.daily,
        (Grouping::By(GroupBy::Client | GroupBy::ErrorCode), _) => floors.raw,
        (Grouping::Dimensions(_), _) => None,
    }
}

/// The first boundary of such buckets from a moment on.
pub fn first_boundary(from: DateTime<Utc>, granularity: Granularity) -> DateTime<Utc> {
    let next = |length: TimeDelta| {
        let before = from.duration_trunc(length).unwrap_or(from);
        if before == from { from } else { before + length }
    };
    match granularity {
        Granularity::Hourly => next(TimeDelta::hours(1)),
        Granularity::Daily => next(TimeDelta::days(1)),
        Granularity::Monthly => match Month::of(from).map(Month::range) {
            Some(month) if month.start != from => month.end,
            _ => from,
        },
    }
}

fn is_boundary(time: DateTime<Utc>, granularity: Granularity) -> bool {
    let since_1970 = time - DateTime::UNIX_EPOCH;
    let is_multiple = |of: TimeDelta| {
        TimeDelta::seconds(since_1970.num_seconds() / of.num_seconds() * of.num_seconds()) == since_1970
    };
    match granularity {
        Granularity::Hourly => is_multiple(TimeDelta::hours(1)),
        Granularity::Daily => is_multiple(TimeDelta::days(1)),
        Granularity::Monthly => Month::of(time).is_some_and(|month| month.range().start == time),
    }
}

#[cfg(test)]
mod tests;
