//! Exports: one job, that has a file.

use actix::{Actor, Context, Handler};
use chrono::Utc;
use futures_util::{StreamExt, stream};
use uuid::Uuid;

use super::{Fixed, LETTER, MODEL, ORG, at};
use crate::{
    actors::serving::{
        error::QueryError,
        export_requests::{
            CancelExport, CreateExport, Created, Download, Found, LinkExport, OpenDownload, VerifyExport,
        },
        query::{GetExport, ListExports},
    },
    domain::{
        event::Reason,
        export::{
            ExportJob, ExportPage, Granularity, Grouping, Kind, Output, Revised, Spec, Status, TimeRange, Totals,
            reconcile::{DatabaseTotals, Difference, Verdict},
            verification::{Content, Now, Verification},
        },
    },
    http::ExportRefs,
};

/// The one job.
pub const JOB: Uuid = LETTER;
/// A job whose file is over, and one that has none yet.
pub const OVER: Uuid = Uuid::from_u128(0xE0);
pub const WAITING: Uuid = Uuid::from_u128(0xE1);

pub fn job(status: Status) -> ExportJob {
    let output = Output {
        key: format!("analytics/exports/{ORG}/{JOB}.csv"),
        revision: None,
        checksum: [0xab; 32],
        bytes: 10,
        rows: 1,
        totals: Totals { invocations: 2, ..Totals::default() },
        as_of: Some(at("2026-03-02T11:00:00Z")),
        snapshot_at: at("2026-03-02T11:00:00Z"),
        revised: Revised::default(),
    };
    ExportJob {
        id: JOB,
        kind: Kind::Demand,
        status,
        spec: Spec {
            org_id: ORG,
            granularity: Granularity::Daily,
            group_by: Grouping::default(),
            names: false,
            range: TimeRange { start: at("2026-03-01T00:00:00Z"), end: at("2026-03-02T00:00:00Z") },
            models: vec![MODEL],
        },
        month: None,
        bucket: None,
        initiated_by: "ann".to_owned(),
        created_at: at("2026-03-02T11:00:00Z"),
        started_at: None,
        completed_at: None,
        attempts: 0,
        cancel_requested: false,
        error: None,
        output: (status == Status::Succeeded).then_some(output),
        expires_at: None,
    }
}

impl Fixed for ListExports {
    /// Names the query by the one job's error.
    fn response(self) -> ExportPage {
        ExportPage {
            entries: vec![ExportJob { error: Some(format!("{:?}", self.0)), ..job(Status::Failed) }],
            more: self.0.before.is_none(),
        }
    }
}

impl Fixed for GetExport {
    fn response(self) -> Option<ExportJob> {
        (self.org_id == ORG && self.job_id == JOB).then(|| job(Status::Succeeded))
    }
}

/// Manages exports. Without a store it has `off`.
pub struct FixedExports {
    pub error: Option<QueryError>,
    pub off: bool,
}

impl Actor for FixedExports {
    type Context = Context<Self>;
}

impl FixedExports {
    fn found<T>(&self, job_id: Uuid, it: T) -> Result<Found<T>, QueryError> {
        match (self.error, job_id) {
            (Some(error), _) => Err(error),
            _ if self.off => Ok(Found::Off),
            (None, JOB) => Ok(Found::It(it)),
            (None, OVER) => Ok(Found::Expired),
            (None, WAITING) => Ok(Found::NoFile),
            _ => Ok(Found::NoJob),
        }
    }
}

/// The actor by its messages.
pub fn fixed(error: Option<QueryError>, off: bool) -> ExportRefs {
    let (refs, exports) = (ExportRefs::default(), FixedExports { error, off }.start());
    refs.create.set(exports.clone().recipient());
    refs.cancel.set(exports.clone().recipient());
    refs.link.set(exports.clone().recipient());
    refs.verify.set(exports.clone().recipient());
    refs.open.set(exports.recipient());
    refs
}

impl Handler<CreateExport> for FixedExports {
    type Result = Result<Option<Created>, QueryError>;

    /// By the idempotency key: `same`, `taken`, `many`; without one of these by the body, `{}` being right.
    fn handle(&mut self, create: CreateExport, _: &mut Self::Context) -> Self::Result {
        let reason = Reason { field: "timeRange", rule: "is required".to_owned() };
        let new = Box::new(ExportJob { id: create.job_id, initiated_by: create.by, ..job(Status::Pending) });
        match (self.error, create.idempotency_key.as_deref()) {
            (Some(error), _) => Err(error),
            _ if self.off => Ok(None),
            (_, Some("same")) => Ok(Some(Created::Same(Box::new(job(Status::Succeeded))))),
            (_, Some("taken")) => Ok(Some(Created::KeyTaken)),
            (_, Some("many")) => Ok(Some(Created::TooMany)),
            _ if create.body == b"{}" => Ok(Some(Created::New(new))),
            _ => Ok(Some(Created::Wrong(vec![reason]))),
        }
    }
}

impl Handler<CancelExport> for FixedExports {
    type Result = Result<Option<ExportJob>, QueryError>;

    fn handle(&mut self, cancel: CancelExport, _: &mut Self::Context) -> Self::Result {
        self.error.map_or(Ok((cancel.job_id == JOB).then(|| job(Status::Failed))), Err)
    }
}

impl Handler<LinkExport> for FixedExports {
    type Result = Result<Found<String>, QueryError>;

    fn handle(&mut self, link: LinkExport, _: &mut Self::Context) -> Self::Result {
        self.found(link.job_id, "https://store.example.org/signed".to_owned())
    }
}

impl Handler<VerifyExport> for FixedExports {
    type Result = Result<Found<Box<Verification>>, QueryError>;

    /// The file is another one.
    fn handle(&mut self, verify: VerifyExport, _: &mut Self::Context) -> Self::Result {
        let job = job(Status::Succeeded);
        let output = job.output.clone().unwrap();
        let content = Content { sha256: [0; 32], bytes: 10, sums: Some((1, output.totals)) };
        let (rollups, revised) = (output.totals, Default::default());
        let known = DatabaseTotals {
            rollups,
            whole: true,
            raw: None,
            ledger_stored: 2,
            ledger_whole: true,
            as_of: None,
            revised,
        };
        let now = Now { verdict: Verdict::Same, difference: Difference::default(), known };
        self.found(verify.job_id, Box::new(Verification::of(&job, &output, Some(content), now)))
    }
}

impl Handler<OpenDownload> for FixedExports {
    type Result = Result<Option<Download>, QueryError>;

    /// The file `0123456789`, to who has the signature `good`.
    fn handle(&mut self, open: OpenDownload, _: &mut Self::Context) -> Self::Result {
        const FILE: &[u8] = b"0123456789";
        if open.signature != "good" {
            return Ok(None);
        }
        let length = FILE.len() as u64;
        let range = match open.range {
            None => Some(0..length),
            Some(wanted) => wanted.of(length),
        };
        let bytes = |range: &std::ops::Range<u64>| {
            let place = |at: u64| usize::try_from(at).unwrap();
            FILE[place(range.start)..place(range.end)].into()
        };
        let content = range.map(|range| (range.clone(), stream::iter([Ok(bytes(&range))]).boxed()));
        Ok(Some(Download { key: open.key, length, modified: Utc::now(), content }))
    }
}
