//! Examples of the API's description that several operations show.

use serde_json::{Value, json};

/// A dead letter.
pub fn letter() -> Value {
    json!({
        "id": "019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4", "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
        "rejectedAt": "2026-03-02T11:00:00Z", "reasons": ["status: is required"], "payloadBytes": 214,
        "payloadSha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "state": "open",
        "correctedBy": null, "correctedAt": null, "replayedAt": null
    })
}

/// The same with its message.
pub fn opened_letter() -> Value {
    with(letter(), json!({"payload": "{}", "payloadTruncated": false}))
}

/// An API key, with what differs.
pub fn api_key(changes: Value) -> Value {
    let key = json!({
        "id": "019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4", "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10", "name": "dashboard",
        "role": "org_viewer", "state": "active", "createdAt": "2026-03-02T11:00:00Z", "createdBy": "ann", "parentId": null,
        "expiresAt": null, "revokedAt": null, "revokedBy": null, "lastUsedAt": null
    });
    with(key, changes)
}

/// An export that waits, with what differs.
pub fn export(changes: Value) -> Value {
    let job = json!({
        "jobId": "019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4", "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
        "kind": "demand", "status": "pending", "granularity": "daily", "groupBy": "model", "names": false,
        "timeRange": {"start": "2026-02-01T00:00:00Z", "end": "2026-03-01T00:00:00Z"}, "models": [], "bucket": "exports",
        "initiatedBy": "ann", "createdAt": "2026-03-02T11:00:00Z", "startedAt": null, "completedAt": null,
        "expiresAt": null, "cancelRequested": false, "error": null, "outputUri": null, "checksum": null,
        "bytes": null, "rowCount": null, "totals": null, "asOf": null
    });
    with(job, changes)
}

/// Sums of an export.
pub fn totals() -> Value {
    json!({
        "invocations": 5310, "errors": 12, "inputTokens": 6131020, "outputTokens": 1120044, "costEstimateCents": 1987.0225
    })
}

/// Who spent it: two clients, and what has no client.
pub fn attribution() -> Value {
    let totals = |invocations: u32, cost: f64| {
        json!({
            "invocations": invocations, "errors": 0, "inputTokens": 15 * invocations, "outputTokens": 20 * invocations,
            "costEstimateCents": cost
        })
    };
    json!({
        "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
        "range": {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"},
        "timezone": "UTC", "granularity": "none", "groupBy": ["clientId"], "final": true,
        "groups": [
            {"key": {"clientId": "key-17"}, "names": {"clientId": "Web shop"}, "rank": 1, "totals": totals(6, 4.5)}
        ],
        "other": {"groups": 1, "totals": totals(2, 1.5)},
        "unattributed": {"totals": totals(1, 0.25)},
        "overflow": {"totals": totals(0, 0.0)},
        "totals": totals(9, 6.25),
        "rankingExact": true, "nextCursor": "WyI0ZjZjMWYw…",
        "freshness": freshness(),
        "asOf": "2026-03-02T11:00:00.088Z"
    })
}

/// How fresh an org's numbers are.
pub fn freshness() -> Value {
    json!({
        "lastEventAt": "2026-03-02T10:59:58.5Z", "lastRollupAt": "2026-03-02T11:00:00Z", "lagSeconds": 0.412,
        "status": "fresh"
    })
}

fn with(mut example: Value, changes: Value) -> Value {
    if let (Value::Object(fields), Value::Object(changes)) = (&mut example, changes) {
        fields.extend(changes);
    }
    example
}
