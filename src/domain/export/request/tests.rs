use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: &str = "2026-03-10T05:30:00Z";
const KEPT_FROM: &str = "2025-02-07T00:00:00Z";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn rules(buckets: &[String]) -> Rules<'_> {
    let floor = Some(at(KEPT_FROM));
    Rules { now: at(NOW), floors: Floors { hourly: floor, daily: floor, raw: floor }, sets: &[], buckets }
}

fn read(body: &Value) -> Result<Request, Vec<Reason>> {
    let buckets = ["finance".to_owned()];
    Request::read(body.to_string().as_bytes(), rules(&buckets))
}

/// The fields that are wrong.
fn wrong(body: &Value) -> Vec<&'static str> {
    read(body).unwrap_err().iter().map(|reason| reason.field).collect()
}

fn of_range(start: &str, end: &str) -> Value {
    json!({"timeRange": {"start": start, "end": end}})
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn one_day() -> Value {
    of_range("2026-03-08T00:00:00Z", "2026-03-09T00:00:00Z")
}

#[test]
fn omitted_fields_have_defaults() {
    let request = read(&one_day()).unwrap();
    let range = TimeRange { start: at("2026-03-08T00:00:00Z"), end: at("2026-03-09T00:00:00Z") };
    let expected = Request {
        range,
        granularity: Granularity::Daily,
        group_by: Grouping::By(GroupBy::Model),
        names: false,
        models: Vec::new(),
        bucket: None,
    };
    assert_eq!(request, expected);
}

#[test]
fn dates_are_days_of_utc() {
    assert_eq!(read(&of_range("2026-03-08", "2026-03-09")), read(&one_day()));
}

#[test]
fn everything_can_be_said() {
    let [a, b] = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let request = read(&json!({
        "timeRange": {"start": "2026-03-03T01:00:00+01:00", "end": "2026-03-10T00:00:00Z"}, "granularity": "hourly",
        "groupBy": "errorCode", "names": true, "models": [b, a], "delivery": {"type": "s3", "bucket": "finance"},
    }))
    .unwrap();
    assert_eq!((request.range.start, request.models), (at("2026-03-03T00:00:00Z"), vec![a, b]));
    let group_by = Grouping::By(GroupBy::ErrorCode);
    assert_eq!((request.granularity, request.group_by, request.names), (Granularity::Hourly, group_by, true));
    assert_eq!(request.bucket.as_deref(), Some("finance"));
}

#[test]
fn a_range_ends_on_bucket_boundaries() {
    let of = |granularity: &str, start: &str, end: &str| with(of_range(start, end), "granularity", granularity.into());
    for (granularity, start, end) in [
        ("hourly", "2026-03-10T04:00:00Z", "2026-03-10T05:00:00Z"),
        ("hourly", "2026-02-01T00:00:00Z", "2026-03-04T00:00:00Z"),
        ("daily", "2026-02-07T00:00:00Z", "2026-03-10T00:00:00Z"),
        ("monthly", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("monthly", "2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ] {
        read(&of(granularity, start, end)).unwrap();
    }
    for (granularity, start, end, fields) in [
        ("hourly", "2026-03-09T04:30:00Z", "2026-03-09T05:00:00Z", vec!["timeRange.start"]),
        ("hourly", "2026-03-09T04:00:00Z", "2026-03-09T05:00:00.000001Z", vec!["timeRange.end"]),
        ("daily", "2026-03-08T00:00:00+01:00", "2026-03-09T01:00:00Z", vec!["timeRange.start", "timeRange.end"]),
        ("daily", "2026-03-09T00:00:00Z", "2026-03-09T00:00:00Z", vec!["timeRange.end"]),
        ("daily", "2026-03-09T00:00:00Z", "2026-03-08T00:00:00Z", vec!["timeRange.end"]),
        ("daily", "2026-02-01T00:00:00Z", "2026-03-05T00:00:00Z", vec!["timeRange.end"]),
        ("hourly", "2026-02-01T00:00:00Z", "2026-03-04T01:00:00Z", vec!["timeRange.end"]),
        // Past now: the hour is not over, nor is the day.
        ("hourly", "2026-03-10T05:00:00Z", "2026-03-10T06:00:00Z", vec!["timeRange.end"]),
        ("daily", "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z", vec!["timeRange.end"]),
        ("monthly", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", vec!["timeRange.end"]),
        ("monthly", "2026-02-02T00:00:00Z", "2026-03-01T00:00:00Z", vec!["timeRange.start"]),
        ("monthly", "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", vec!["timeRange.end"]),
    ] {
        assert_eq!(wrong(&of(granularity, start, end)), fields, "{granularity} {start} {end}");
    }
}

#[test]
fn clients_and_error_codes_have_short_ranges() {
    let week = |start: &str| of_range(start, "2026-03-09T00:00:00Z");
    let hourly = |body| with(with(body, "granularity", "hourly".into()), "groupBy", "client".into());
    read(&hourly(week("2026-03-02T00:00:00Z"))).unwrap();
    assert_eq!(wrong(&hourly(week("2026-03-01T23:00:00Z"))), ["timeRange.end"]);
    assert_eq!(wrong(&with(week("2026-03-02T00:00:00Z"), "groupBy", "client".into())), ["groupBy"]);
}

#[test]
fn every_field_that_is_wrong_is_named() {
    let (id, many) =
        (Uuid::from_u128(1), (0..=MAX_MODELS).map(|n| json!(Uuid::from_u128(n as u128))).collect::<Value>());
    for (field, value, expected) in [
        ("granularity", json!("hour"), vec!["granularity"]),
        ("granularity", json!(1), vec!["granularity"]),
        ("groupBy", json!("none"), vec!["groupBy"]),
        ("groupBy", json!([]), vec!["groupBy"]),
        ("groupBy", json!(["client"]), vec!["groupBy"]),
        ("groupBy", json!(["clientId", 1]), vec!["groupBy"]),
        ("groupBy", json!(["clientId", "clientId"]), vec!["groupBy"]),
        ("groupBy", json!(["clientId", "modelId", "status", "errorCode"]), vec!["groupBy"]),
        ("groupBy", json!(["meta.a\u{0}"]), vec!["groupBy"]),
        ("names", json!("yes"), vec!["names"]),
        ("models", json!(id), vec!["models"]),
        ("models", json!([id.simple().to_string()]), vec!["models"]),
        ("models", json!([id, id]), vec!["models"]),
        ("models", many, vec!["models"]),
        ("delivery", json!("s3"), vec!["delivery"]),
        ("delivery", json!({}), vec!["delivery.type"]),
        ("delivery", json!({"type": "ftp"}), vec!["delivery.type"]),
        ("delivery", json!({"type": "s3", "bucket": "Finance"}), vec!["delivery.bucket"]),
        ("delivery", json!({"type": "s3", "bucket": 1, "to": 2}), vec!["delivery", "delivery.bucket"]),
        (
            "timeRange",
            json!({"start": "2026-3-08", "end": "2300-01-01T00:00:00Z"}),
            vec!["timeRange.start", "timeRange.end"],
        ),
        ("timeRange", json!({"start": "2025-02-06T00:00:00Z", "end": "2025-02-08T00:00:00Z"}), vec!["timeRange.start"]),
        ("timeRange", json!({"start": 1}), vec!["timeRange.start", "timeRange.end"]),
        ("timeRange", json!(null), vec!["timeRange"]),
        ("format", json!("csv"), vec!["body"]),
    ] {
        assert_eq!(wrong(&with(one_day(), field, value.clone())), expected, "{field}: {value}");
    }
    let all = json!({"granularity": "x", "groupBy": "x", "models": {}, "delivery": [], "more": 1});
    assert_eq!(wrong(&all), ["body", "granularity", "groupBy", "timeRange", "models", "delivery"]);
    for body in [&b"[]"[..], b"", b"{", b"\xff"] {
        let rules = rules(&[]);
        assert_eq!(Request::read(body, rules).unwrap_err()[0].field, "body");
    }
}

#[test]
fn a_start_below_the_floor_is_refused() {
    let floors = Floors {
        hourly: Some(at("2026-02-01T10:30:00Z")),
        daily: Some(at("2026-02-02T00:00:00Z")),
        raw: Some(at("2026-03-05T00:00:00Z")),
    };
    let refused = |granularity: &str, group_by: &str, start: &str, end: &str| {
        let body = json!({"timeRange": {"start": start, "end": end}, "granularity": granularity, "groupBy": group_by});
        let rules = Rules { floors, ..rules(&[]) };
        Request::read(body.to_string().as_bytes(), rules).map(|_| ()).map_err(|reasons| reasons[0].rule.clone())
    };
    for (granularity, group_by, start, end, first) in [
        ("hourly", "model", "2026-02-01T10:00:00Z", "2026-02-03T00:00:00Z", Some("2026-02-01T11:00:00Z")),
        ("hourly", "model", "2026-02-01T11:00:00Z", "2026-02-03T00:00:00Z", None),
        ("daily", "model", "2026-02-01T00:00:00Z", "2026-02-03T00:00:00Z", Some("2026-02-02T00:00:00Z")),
        ("daily", "model", "2026-02-02T00:00:00Z", "2026-02-03T00:00:00Z", None),
        ("monthly", "model", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", Some("2026-03-01T00:00:00Z")),
        ("hourly", "client", "2026-03-04T00:00:00Z", "2026-03-06T00:00:00Z", Some("2026-03-05T00:00:00Z")),
        ("hourly", "client", "2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z", None),
    ] {
        let expected = first.map_or(Ok(()), |first| {
            Err(format!("must be at or after {first}: what is from before is not kept any more"))
        });
        assert_eq!(refused(granularity, group_by, start, end), expected, "{granularity} {group_by} {start}");
    }
}

#[test]
fn dimensions_need_a_set_that_has_them() {
    let status = |set: &str, from: Option<&str>| SetStatus {
        set: set.parse().unwrap(),
        complete_from: from.map(at),
        max_keys: 100,
    };
    let sets = [status("clientId", Some("2026-03-08T10:00:00Z")), status("status,clientId,modelId", None)];
    let read = |body: &Value| {
        let rules = Rules { sets: &sets, floors: Floors::default(), ..rules(&[]) };
        Request::read(body.to_string().as_bytes(), rules).map_err(|reasons| (reasons[0].field, reasons[0].rule.clone()))
    };
    let by = |dimensions: Value| with(one_day(), "groupBy", dimensions);
    for granularity in ["hourly", "daily"] {
        let request = read(&with(by(json!(["clientId", "status"])), "granularity", granularity.into())).unwrap();
        assert_eq!(request.group_by.dimensions(), ["clientId", "status"].map(|name| name.parse().unwrap()));
    }
    read(&by(json!(["clientId"]))).unwrap();
    let rule = "no set has these together with what is filtered by; the sets are: clientId; status,clientId,modelId";
    assert_eq!(read(&by(json!(["clientId", "actorId"]))), Err(("groupBy", rule.to_owned())));
    read(&with(by(json!(["status"])), "models", json!([Uuid::from_u128(1)]))).unwrap();
    let late = [status("clientId", Some("2026-03-08T10:00:00Z"))];
    let refused = |granularity: &str, sets: &[SetStatus], body: Value| {
        let rules = Rules { sets, floors: Floors::default(), ..rules(&[]) };
        let body = with(body, "granularity", granularity.into());
        Request::read(body.to_string().as_bytes(), rules).unwrap_err().remove(0)
    };
    for (granularity, first) in [("hourly", "2026-03-08T10:00:00Z"), ("daily", "2026-03-09T00:00:00Z")] {
        let reason = refused(granularity, &late, by(json!(["clientId"])));
        let rule = format!("must be at or after {first}: what is from before is not kept any more");
        assert_eq!((reason.field, reason.rule), ("timeRange.start", rule));
    }
    let with_models = with(by(json!(["clientId"])), "models", json!([Uuid::from_u128(1)]));
    assert_eq!(refused("daily", &late, with_models).field, "groupBy", "models are filtered by a dimension");
    assert_eq!(refused("daily", &[], by(json!(["clientId"]))).field, "groupBy");
}

#[test]
fn equal_requests_have_equal_fingerprints() {
    let one = fingerprint(br#"{"granularity":"daily","timeRange":{"start":"a","end":"b"}}"#);
    assert_eq!(one, fingerprint(b"{ \"timeRange\": {\"end\": \"b\", \"start\": \"a\"},\n\"granularity\": \"daily\"}"));
    assert_ne!(one, fingerprint(br#"{"granularity":"hourly","timeRange":{"start":"a","end":"b"}}"#));
    assert_ne!(fingerprint(b"{"), fingerprint(b"{ "), "what cannot be read is its bytes");
}

proptest! {
    /// Whatever is accepted keeps every rule, and nothing that is sent makes reading fail otherwise.
    #[test]
    fn accepted_events_are_within_the_rules(
        start in -800_i64..10, hours in -30_i64..800, minutes in prop_oneof![9 => Just(0_i64), 1 => 0_i64..60],
        granularity in prop::sample::select(vec!["hourly", "daily", "monthly"]),
        group_by in prop::sample::select(vec!["model", "client"]),
    ) {
        let start = at("2026-03-10T00:00:00Z") + TimeDelta::hours(start) + TimeDelta::minutes(minutes);
        let end = start + TimeDelta::hours(hours);
        let body = json!({"timeRange": {"start": start, "end": end}, "granularity": granularity, "groupBy": group_by});
        if let Ok(request) = read(&body) {
            let TimeRange { start, end } = request.range;
            prop_assert!(start < end && end <= at(NOW) && end - start <= MAX_RANGE);
            prop_assert!(is_boundary(start, request.granularity) && is_boundary(end, request.granularity));
            let raw = request.group_by != Grouping::By(GroupBy::Model);
            prop_assert!(!raw || end - start <= MAX_RAW_RANGE && request.granularity == Granularity::Hourly);
        } else {
            let good = minutes == 0 && hours > 0 && hours <= 168 && end <= at(NOW) && granularity == "hourly";
            prop_assert!(!good);
        }
    }
}
