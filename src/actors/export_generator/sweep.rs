//! Sweeping: files whose time is over, and what attempts have left that did not come to their end.

use std::{collections::HashMap, time::Duration};

use chrono::{TimeDelta, Utc};
use futures_util::TryStreamExt;
use serde::Serialize;
use uuid::Uuid;

use super::generate::ExportBackend;
use crate::{
    domain::export::{
        Status,
        keys::{File, Key, PREFIX},
    },
    objects::{Listed, ObjectError, Objects},
    store::{OnStep, PgConnection, StoreError, exports as table},
};

/// As its runs are recorded.
pub const TASK: &str = "sweep";
/// How much longer than reading its rows making a file may take: what is younger may belong to a process that is still at work.
const AT_WORK: Duration = Duration::from_secs(3600);
/// Jobs whose objects are looked up at a time.
const AT_ONCE: usize = 500;

/// What was swept away, or with `dry_run` what would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Swept {
    /// Jobs whose time is over.
    pub expired: u64,
    /// Objects of theirs, and those that no job has any more.
    pub objects: u64,
    /// Abandoned uploads.
    pub uploads: u64,
    /// Objects of jobs that are not in this database: they are left, and may be another one's.
    pub unknown: u64,
    /// What the store did not do; the rest is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Swept {
    /// In one line, for people.
    pub fn line(&self) -> String {
        let Self { expired, objects, uploads, unknown, error } = self;
        let error = error.as_ref().map_or(String::new(), |error| format!(", {error}"));
        format!(
            "{expired} exports expired, {objects} objects, {uploads} uploads, {unknown} unknown objects left{error}"
        )
    }

    /// The store's trouble with one object is no reason to leave the others.
    fn note(&mut self, done: Result<(), ObjectError>) -> bool {
        if let Err(error) = &done {
            tracing::warn!(%error, "an object cannot be swept away");
            self.error = Some(error.to_string());
        }
        done.is_ok()
    }
}

/// Deletes what has expired. Running it again does what is left.
///
/// # Errors
/// Those of the database; failures of the object store are reported in the result.
pub async fn sweep(
    conn: &mut PgConnection,
    backend: &ExportBackend,
    dry_run: bool,
    on_step: OnStep<'_>,
) -> Result<Swept, StoreError> {
    let (objects, at_work) = (&backend.objects, backend.statement_timeout + AT_WORK);
    let mut swept = Swept::default();
    for job in table::expired(conn, u16::MAX).await? {
        on_step("exports that are over");
        // As it is now: deleting those before may have taken long.
        let Some(job) = table::expired_again(conn, job.job_id).await? else { continue };
        let mut gone = true;
        for key in &job.keys {
            let deleted = if dry_run { Ok(()) } else { objects.delete(job.bucket.as_deref(), key).await };
            if is_away(&deleted) {
                swept.note(deleted);
                return Ok(swept);
            }
            let deleted = swept.note(deleted);
            swept.objects += u64::from(deleted);
            gone &= deleted;
        }
        if gone && !dry_run {
            table::mark_expired(conn, &[job.job_id]).await?;
        }
        swept.expired += u64::from(gone);
    }
    for upload in table::abandoned_uploads(conn, u16::MAX).await? {
        if !dry_run {
            let aborted = objects.abort_upload(upload.bucket.as_deref(), &upload.key, Some(&upload.upload_id)).await;
            let away = is_away(&aborted);
            if !swept.note(aborted) {
                if away {
                    return Ok(swept);
                }
                continue;
            }
            table::upload_ended(conn, upload.job_id, &upload.upload_id).await?;
        }
        swept.uploads += 1;
        on_step("uploads that were left");
    }
    if !dry_run {
        match objects.sweep_uploads(at_work).await {
            Ok(staged) => swept.uploads += staged,
            Err(error) => drop(swept.note(Err(error))),
        }
    }
    for bucket in objects.buckets() {
        if let Err(error) = strays(conn, objects, bucket.as_deref(), dry_run, at_work, &mut swept).await? {
            swept.note(Err(error));
        }
        on_step("objects that no job has");
    }
    Ok(swept)
}

/// Objects of jobs on demand that have failed or are over. Versions of months stay, even where no job knows them: a reader may have
/// booked them.
async fn strays(
    conn: &mut PgConnection,
    objects: &Objects,
    bucket: Option<&str>,
    dry_run: bool,
    at_work: Duration,
    swept: &mut Swept,
) -> Result<Result<(), ObjectError>, StoreError> {
    let listed = match objects.list(bucket, PREFIX.trim_end_matches('/')).await {
        Ok(listed) => listed,
        Err(error) => return Ok(Err(error)),
    };
    let before = Utc::now() - TimeDelta::from_std(at_work).unwrap_or_default();
    let old = listed.try_filter(|object| std::future::ready(object.modified < before));
    let mut chunks = old.try_chunks(AT_ONCE);
    loop {
        let chunk = match chunks.try_next().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error.1)),
        };
        let of_jobs: HashMap<Uuid, Vec<Listed>> =
            chunk.into_iter().filter_map(of_job).fold(HashMap::new(), |mut of_jobs, (job_id, object)| {
                of_jobs.entry(job_id).or_default().push(object);
                of_jobs
            });
        let ids: Vec<Uuid> = of_jobs.keys().copied().collect();
        let known = table::statuses(conn, &ids).await?;
        for (job_id, found) in of_jobs {
            match known.get(&job_id) {
                None => swept.unknown += found.len() as u64,
                Some(Status::Pending | Status::Running | Status::Succeeded) => {}
                Some(Status::Failed | Status::Expired) => {
                    for object in found {
                        let deleted = if dry_run { Ok(()) } else { objects.delete(bucket, &object.key).await };
                        if is_away(&deleted) {
                            return Ok(deleted);
                        }
                        swept.objects += u64::from(swept.note(deleted));
                    }
                }
            }
        }
    }
}

/// Whether it is of no use to go on: each further object would be waited for as long.
fn is_away(done: &Result<(), ObjectError>) -> bool {
    done.as_ref().is_err_and(ObjectError::is_transient)
}

/// Deletes an org's objects that no job has: they were generated while the org was being erased.
pub async fn of_nobody(
    conn: &mut PgConnection,
    objects: &Objects,
    bucket: Option<&str>,
    org_id: Uuid,
) -> Result<(), ObjectError> {
    let found: Vec<Listed> = objects.list(bucket, &format!("{PREFIX}{org_id}")).await?.try_collect().await?;
    for object in found {
        let known = match Key::parse(&object.key).map(|key| key.file) {
            Some(File::Demand(job_id)) => table::get(conn, org_id, job_id).await.map(|job| job.is_some()),
            Some(File::Latest(month) | File::Version(month, _)) => {
                table::versions(conn, org_id, month).await.map(|versions| versions.next > 1)
            }
            None => Ok(true),
        };
        // Where that cannot be known it stays.
        if let Ok(false) = known {
            objects.delete(bucket, &object.key).await?;
        }
    }
    Ok(())
}

fn of_job(object: Listed) -> Option<(Uuid, Listed)> {
    match Key::parse(&object.key)?.file {
        File::Demand(job_id) => Some((job_id, object)),
        File::Latest(_) | File::Version(..) => None,
    }
}
