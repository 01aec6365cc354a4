//! What checking a file came to.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    ExportJob, Output, Totals, hex,
    manifest::Change,
    reconcile::{DatabaseTotals, Difference, Verdict},
};

/// What is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub sha256: [u8; 32],
    pub bytes: u64,
    /// Rows and sums, read from the file itself; none where it is not of our form.
    pub sums: Option<(u64, Totals)>,
}

/// What is known by now of the file's range and models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    pub verdict: Verdict,
    /// From the file to the rollups.
    pub difference: Difference,
    pub known: DatabaseTotals,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExportVerification)]
pub struct Verification {
    pub job_id: Uuid,
    pub org_id: Uuid,
    /// Whether the file is the one that was made, and stands to what is known now as it should
    pub holds: bool,
    /// What does not hold
    pub problems: Vec<String>,
    pub verdict: Verdict,
    /// As the job has it
    pub checksum: String,
    /// Of the file in the store; none where it is gone
    pub found_checksum: Option<String>,
    /// As the job has them
    pub totals: Totals,
    /// Read from the file in the store
    pub found_totals: Option<Totals>,
    /// Of the rollups now, which the API reports from
    pub rollups: Totals,
    /// Of raw events now; none where they were not counted, or are not kept from the range's start on
    pub raw: Option<Totals>,
    /// Events that the ledger has stored for the organisation since the range began, of any model and time
    pub ledger_stored: u64,
    /// From the file to the rollups
    pub difference: Difference,
    /// Changes of final buckets, counted from five minutes before the file's rows were read: one that was noted then may not be in it
    pub revisions: u64,
    /// The first of them
    #[schema(value_type = Vec<Object>)]
    pub changes: Vec<Change>,
    /// The moment up to which what is known now is complete
    pub as_of: Option<DateTime<Utc>>,
}

impl Verification {
    pub fn of(job: &ExportJob, output: &Output, content: Option<Content>, now: Now) -> Self {
        let Now { verdict, difference, known } = now;
        let mut problems = Vec::new();
        match &content {
            None => problems.push("the file is not in the object store".to_owned()),
            Some(content) => {
                if content.sha256 != output.checksum {
                    problems.push("the file's checksum is not the job's".to_owned());
                }
                if content.bytes != output.bytes {
                    problems.push("the file's length is not the job's".to_owned());
                }
                match content.sums {
                    None => problems.push("the file cannot be read as what an export makes".to_owned()),
                    Some((rows, totals)) if (rows, totals) != (output.rows, output.totals) => {
                        problems.push("the file's rows or sums are not the job's".to_owned());
                    }
                    Some(_) => {}
                }
            }
        }
        match verdict {
            Verdict::Unexplained => {
                problems.push("the rollups have other sums now, and no revision says why".to_owned());
            }
            Verdict::Disagreement => {
                problems.push("rollups, raw events and ledger do not agree: `verify` says where".to_owned());
            }
            Verdict::Same | Verdict::Revised | Verdict::MadeBeforeFinal | Verdict::NotKept => {}
        }
        Self {
            job_id: job.id,
            org_id: job.spec.org_id,
            holds: problems.is_empty(),
            problems,
            verdict,
            checksum: hex(&output.checksum),
            found_checksum: content.as_ref().map(|content| hex(&content.sha256)),
            totals: output.totals,
            found_totals: content.and_then(|content| content.sums).map(|(_, totals)| totals),
            rollups: known.rollups,
            raw: known.raw,
            ledger_stored: known.ledger_stored,
            difference,
            revisions: known.revised.count,
            changes: known.revised.named,
            as_of: known.as_of,
        }
    }
}
