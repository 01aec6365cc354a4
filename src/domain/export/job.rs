//! The job that generates a file.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Granularity, Grouping, Kind, Month, Revised, Spec, Status, TimeRange, Totals, hex};
use crate::domain::page::{Entry, Page};

/// A job, as the database has it. Its JSON form is [`JobForm`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "JobForm")]
pub struct ExportJob {
    /// Version 7: in the order of time.
    pub id: Uuid,
    pub kind: Kind,
    pub status: Status,
    pub spec: Spec,
    /// Only of kind monthly.
    pub month: Option<Month>,
    /// Where the file goes; none: where the settings say.
    pub bucket: Option<String>,
    pub initiated_by: String,
    pub created_at: DateTime<Utc>,
    /// When work on it began last.
    pub started_at: Option<DateTime<Utc>>,
    /// When it succeeded, failed or was cancelled.
    pub completed_at: Option<DateTime<Utc>>,
    /// How often work on it began.
    pub attempts: u32,
    pub cancel_requested: bool,
    /// Of the last attempt.
    pub error: Option<String>,
    /// Once it succeeded, also when it is expired.
    pub output: Option<Output>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A file that was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub key: String,
    /// Of a month's versions, from 1.
    pub revision: Option<u32>,
    /// SHA-256.
    pub checksum: [u8; 32],
    pub bytes: u64,
    /// Without the header.
    pub rows: u64,
    pub totals: Totals,
    /// The moment up to which it is complete; none before the first event of the org's partition.
    pub as_of: Option<DateTime<Utc>>,
    /// When its rows were read.
    pub snapshot_at: DateTime<Utc>,
    pub revised: Revised,
}

impl ExportJob {
    /// Where its file is fetched, a path of the API; only while there is one.
    pub fn output_uri(&self) -> Option<String> {
        let (org_id, job_id) = (self.spec.org_id, self.id);
        (self.status == Status::Succeeded).then(|| format!("/analytics/v1/orgs/{org_id}/exports/{job_id}/download"))
    }
}

/// An export
#[derive(Serialize, ToSchema)]
#[schema(as = ExportJob)]
#[serde(rename_all = "camelCase")]
pub struct JobForm {
    job_id: Uuid,
    org_id: Uuid,
    kind: Kind,
    status: Status,
    granularity: Granularity,
    group_by: Grouping,
    /// Whether the file has the names that people give to ids
    names: bool,
    time_range: TimeRange,
    /// Only these; empty: all
    models: Vec<Uuid>,
    /// Only of kind monthly
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-03", nullable = false)]
    month: Option<String>,
    /// Only of kind monthly, once it succeeded: which version of the month it is, from 1
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    revision: Option<u32>,
    /// Where the file is kept; null: in a store without buckets
    bucket: Option<String>,
    initiated_by: String,
    created_at: DateTime<Utc>,
    /// When work on it began last
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    /// Until when the file is kept
    expires_at: Option<DateTime<Utc>>,
    cancel_requested: bool,
    /// Of the last attempt, while there are more of them
    error: Option<String>,
    /// Where the file is fetched, while there is one: a path of this API
    output_uri: Option<String>,
    /// SHA-256 of the file, hexadecimal
    checksum: Option<String>,
    /// Of the file
    bytes: Option<u64>,
    /// Without the header
    row_count: Option<u64>,
    totals: Option<Totals>,
    /// The moment up to which the file is complete
    as_of: Option<DateTime<Utc>>,
}

impl From<ExportJob> for JobForm {
    fn from(job: ExportJob) -> Self {
        let (output_uri, output) = (job.output_uri(), job.output.as_ref());
        Self {
            job_id: job.id,
            org_id: job.spec.org_id,
            kind: job.kind,
            status: job.status,
            granularity: job.spec.granularity,
            group_by: job.spec.group_by,
            names: job.spec.names,
            time_range: job.spec.range,
            month: job.month.map(|month| month.to_string()),
            revision: output.and_then(|output| output.revision),
            created_at: job.created_at,
            started_at: job.started_at,
            completed_at: job.completed_at,
            expires_at: job.expires_at,
            cancel_requested: job.cancel_requested,
            output_uri,
            checksum: output.map(|output| hex(&output.checksum)),
            bytes: output.map(|output| output.bytes),
            row_count: output.map(|output| output.rows),
            totals: output.map(|output| output.totals),
            as_of: output.and_then(|output| output.as_of),
            models: job.spec.models,
            initiated_by: job.initiated_by,
            bucket: job.bucket,
            error: job.error,
        }
    }
}

/// A page of an org's jobs, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportQuery {
    pub org_id: Uuid,
    /// None: all.
    pub status: Option<Status>,
    /// Those older than this one.
    pub before: Option<Uuid>,
    pub limit: u16,
}

pub type ExportPage = Page<ExportJob>;

impl Entry for ExportJob {
    fn id(&self) -> Uuid {
        self.id
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::money::Cents;

    fn job(status: Status, output: Option<Output>) -> ExportJob {
        let month: Month = "2026-03".parse().unwrap();
        ExportJob {
            id: Uuid::from_u128(7),
            kind: Kind::Demand,
            status,
            spec: Spec {
                org_id: Uuid::from_u128(1),
                granularity: Granularity::Daily,
                group_by: Grouping::default(),
                names: false,
                range: month.range(),
                models: vec![Uuid::from_u128(3)],
            },
            month: None,
            bucket: None,
            initiated_by: "ann".to_owned(),
            created_at: DateTime::UNIX_EPOCH,
            started_at: None,
            completed_at: None,
            attempts: 0,
            cancel_requested: false,
            error: None,
            output,
            expires_at: None,
        }
    }

    fn output() -> Output {
        let totals = Totals {
            invocations: 3,
            errors: 1,
            input_tokens: 5,
            output_tokens: 6,
            cost: Cents::from_ten_thousandths(900_719_925_474_099_212_345),
        };
        Output {
            key: "k".to_owned(),
            revision: Some(2),
            checksum: [0xab; 32],
            bytes: 10,
            rows: 2,
            totals,
            as_of: Some(DateTime::UNIX_EPOCH),
            snapshot_at: DateTime::UNIX_EPOCH,
            revised: Revised::default(),
        }
    }

    #[test]
    fn a_job_is_written_by_the_contract() {
        let expected = json!({
            "jobId": Uuid::from_u128(7), "orgId": Uuid::from_u128(1), "kind": "demand", "status": "pending",
            "granularity": "daily", "groupBy": "model", "names": false,
            "timeRange": {"start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"},
            "models": [Uuid::from_u128(3)], "bucket": null, "initiatedBy": "ann", "createdAt": "1970-01-01T00:00:00Z", "startedAt": null,
            "completedAt": null, "expiresAt": null, "cancelRequested": false, "error": null, "outputUri": null,
            "checksum": null, "bytes": null, "rowCount": null, "totals": null, "asOf": null,
        });
        assert_eq!(serde_json::to_value(job(Status::Pending, None)).unwrap(), expected);
    }

    #[test]
    fn dimensions_are_a_list() {
        let mut grouped = job(Status::Pending, None);
        let dimensions = ["clientId", "meta.a\"b"].map(|name| name.parse().unwrap());
        grouped.spec = Spec { group_by: Grouping::Dimensions(dimensions.into()), names: true, ..grouped.spec };
        let value = serde_json::to_value(grouped).unwrap();
        assert_eq!((&value["groupBy"], &value["names"]), (&json!(["clientId", "meta.a\"b"]), &json!(true)));
    }

    #[test]
    fn an_available_file_is_described_exactly() {
        let month = Some("2026-03".parse().unwrap());
        let done = ExportJob { kind: Kind::Monthly, month, ..job(Status::Succeeded, Some(output())) };
        let text = serde_json::to_string(&done).unwrap();
        assert!(text.contains(r#""costEstimateCents":90071992547409921.2345"#), "{text}");
        let value = serde_json::to_value(&done).unwrap();
        assert_eq!((&value["month"], &value["revision"]), (&json!("2026-03"), &json!(2)));
        assert_eq!(value["checksum"], "ab".repeat(32));
        let (org, job) = (Uuid::from_u128(1), Uuid::from_u128(7));
        assert_eq!(value["outputUri"], format!("/analytics/v1/orgs/{org}/exports/{job}/download"));
        let expired = serde_json::to_value(ExportJob { status: Status::Expired, ..done }).unwrap();
        assert_eq!((&expired["outputUri"], &expired["rowCount"]), (&json!(null), &json!(2)));
    }
}
