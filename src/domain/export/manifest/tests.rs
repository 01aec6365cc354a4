use serde_json::{Value, json};

use super::*;
use crate::domain::{
    export::{Revised, Spec, Status},
    money::Cents,
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn output() -> Output {
    let totals = Totals {
        invocations: 3,
        errors: 1,
        input_tokens: 5,
        output_tokens: 6,
        cost: Cents::from_ten_thousandths(123_450),
    };
    Output {
        key: "analytics/exports/o/202603.r2.csv".to_owned(),
        revision: Some(2),
        checksum: [0x0f; 32],
        bytes: 10,
        rows: 2,
        totals,
        as_of: Some(at("2026-04-01T02:00:00.5Z")),
        snapshot_at: at("2026-04-01T02:00:01Z"),
        revised: Revised { count: 7, last: Some(Uuid::from_u128(9)) },
    }
}

fn job() -> ExportJob {
    let month: crate::domain::export::Month = "2026-03".parse().unwrap();
    let spec = Spec {
        org_id: Uuid::from_u128(1),
        granularity: Granularity::Monthly,
        group_by: Grouping::default(),
        names: false,
        range: month.range(),
        models: Vec::new(),
    };
    ExportJob {
        id: Uuid::from_u128(7),
        kind: Kind::Monthly,
        status: Status::Running,
        spec,
        month: Some(month),
        bucket: None,
        initiated_by: "cron".to_owned(),
        created_at: DateTime::UNIX_EPOCH,
        started_at: None,
        completed_at: None,
        attempts: 1,
        cancel_requested: false,
        error: None,
        output: None,
        expires_at: None,
    }
}

#[test]
fn a_manifest_is_ordered_and_has_no_offsets() {
    let change = Change {
        revision_id: Uuid::from_u128(9),
        bucket_start: at("2026-03-05T10:00:00Z"),
        model_id: Uuid::from_u128(3),
        reason: Reason::Late,
        revised_at: at("2026-04-01T01:00:00Z"),
    };
    let changes = Changes { since: Some(at("2026-04-01T00:10:00Z")), named: vec![change], more: false };
    let bytes = write(&job(), &output(), &changes).unwrap();
    assert_eq!(bytes, write(&job(), &output(), &changes).unwrap());
    let text = String::from_utf8(bytes).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  \"")?.split('"').next()).collect();
    let expected = [
        "format",
        "key",
        "jobId",
        "orgId",
        "kind",
        "granularity",
        "groupBy",
        "timeRange",
        "models",
        "month",
        "revision",
        "rows",
        "bytes",
        "checksumSha256",
        "totals",
        "asOf",
        "readAt",
        "watermark",
        "revisions",
    ];
    assert_eq!(names, expected);
    assert!(!text.contains("offset") && text.contains("\"costEstimateCents\": 12.345"), "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["month"], &value["revision"]), (&json!("2026-03"), &json!(2)));
    assert_eq!(value["checksumSha256"], "0f".repeat(32));
    let revisions = json!({
        "count": 7, "lastRevisionId": Uuid::from_u128(9), "since": "2026-04-01T00:10:00Z", "more": false,
        "changes": [{
            "revisionId": Uuid::from_u128(9), "bucketStart": "2026-03-05T10:00:00Z", "modelId": Uuid::from_u128(3),
            "reason": "late", "revisedAt": "2026-04-01T01:00:00Z",
        }],
    });
    assert_eq!(value["revisions"], revisions);
}

#[test]
fn a_manifest_names_dimensions() {
    let mut job = job();
    job.spec = Spec { group_by: Grouping::Dimensions(vec!["clientId".parse().unwrap()]), names: true, ..job.spec };
    let value: Value = serde_json::from_slice(&write(&job, &output(), &Changes::default()).unwrap()).unwrap();
    assert_eq!((&value["groupBy"], &value["names"]), (&json!(["clientId"]), &json!(true)));
}

#[test]
fn only_watermarks_are_parsed() {
    let output = output();
    for as_of in [output.as_of, None] {
        let watermark = Watermark { as_of, snapshot_at: output.snapshot_at };
        assert_eq!(Watermark::parse(&watermark.to_string()), Some(watermark));
    }
    for wrong in ["", "AAAA", "not base64!", &format!("{}A", "A".repeat(22))] {
        assert_eq!(Watermark::parse(wrong), None, "{wrong}");
    }
}
