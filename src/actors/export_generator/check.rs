//! Checking a file: what is in the store against what the job says, and that against what is known by now.

use std::io::Read;

use ::csv::{ReaderBuilder, StringRecord};
use bytes::{Buf, Bytes};
use chrono::TimeDelta;
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{error::GenerateError, generate::ExportBackend};
use crate::{
    domain::{
        export::{
            ExportJob, Output, Totals, csv,
            reconcile::{self, Difference},
            verification::{Content, Now, Verification},
        },
        money::Cents,
    },
    objects::ObjectError,
    store::{
        StoreError,
        exports::reconcile::{ReadAt, known},
        lifecycle::floors,
    },
};

/// Pieces of a file that wait to be read.
const PIECES: usize = 4;

/// Reads the file again and holds it against the job, the rollups and the ledger; with `raw`, against raw events too, which
/// may take minutes.
///
/// # Errors
/// It cannot be checked now. A file that is gone or another is a response, not an error.
pub async fn check(
    backend: &ExportBackend,
    job: &ExportJob,
    output: &Output,
    raw: bool,
    late_after: TimeDelta,
) -> Result<Verification, GenerateError> {
    let content = content(backend, job, output).await?;
    let read_at = ReadAt::of(&job.spec, output);
    let mut known = backend.in_time(known(&backend.reader, &job.spec, read_at, raw)).await??;
    // A chunk that is dropped is gone from older snapshots too: what was there afterwards was there when it was read.
    let mut conn = backend.reader.connect().await?;
    let floors = backend.in_time(floors::of_org(&mut conn, job.spec.org_id)).await?.map_err(StoreError::from)?;
    known.whole &= floors.hourly.is_none_or(|floor| floor <= job.spec.range.start);
    let verdict = reconcile::judge(output, job.spec.range, &known, late_after);
    let difference = Difference::between(&output.totals, &known.rollups);
    let now = Now { verdict, difference, known };
    Ok(Verification::of(job, output, content, now))
}

async fn content(backend: &ExportBackend, job: &ExportJob, output: &Output) -> Result<Option<Content>, GenerateError> {
    let mut pieces = match backend.objects.get(job.bucket.as_deref(), &output.key).await {
        Ok(content) => content.stream,
        Err(ObjectError::NotFound) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (sender, receiver) = mpsc::channel(PIECES);
    let columns = csv::columns(&job.spec);
    let summing = tokio::task::spawn_blocking(move || sums(Pieces { receiver, now: Bytes::new() }, &columns));
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    while let Some(piece) = pieces.try_next().await? {
        hash.update(&piece);
        bytes += piece.len() as u64;
        // Closed: what is there is no such file, and need not be read on. Its hash is still of interest.
        let _ = sender.send(piece).await;
    }
    drop(sender);
    let sums = summing.await.map_err(std::io::Error::other)?;
    Ok(Some(Content { sha256: hash.finalize().into(), bytes, sums }))
}

/// Rows and sums of a file; none where it is not of our form, with these columns.
fn sums(file: impl Read, columns: &[String]) -> Option<(u64, Totals)> {
    let mut reader = ReaderBuilder::new().from_reader(file);
    let column = |name: &str| columns.iter().position(|column| column == name);
    let amounts = ["invocations", "errors", "input_tokens", "output_tokens", "cost_estimate_cents"].map(column);
    let [Some(invocations), Some(errors), Some(input), Some(out), Some(cost)] = amounts else { return None };
    if !reader.headers().ok()?.iter().eq(columns.iter().map(|column| csv::neutral(column))) {
        return None;
    }
    let (mut rows, mut totals, mut record) = (0, Totals::default(), StringRecord::new());
    while reader.read_record(&mut record).ok()? {
        let number = |at: usize| record.get(at)?.parse::<u64>().ok();
        rows += 1;
        totals.invocations = totals.invocations.checked_add(number(invocations)?)?;
        totals.errors = totals.errors.checked_add(number(errors)?)?;
        totals.input_tokens = totals.input_tokens.checked_add(number(input)?)?;
        totals.output_tokens = totals.output_tokens.checked_add(number(out)?)?;
        totals.cost += Cents::from_text(record.get(cost)?).ok()?;
    }
    Some((rows, totals))
}

/// A file that comes piece by piece, for who reads it in one go.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    now: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.now.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.now = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.now.len());
        self.now.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
