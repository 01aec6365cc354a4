//! Generates a file: the rows of one snapshot, through the csv crate, into an object that appears whole or not at all.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use tokio::time::timeout;
use uuid::Uuid;

use super::{copy, error::GenerateError};
use crate::{
    config::{Database, Settings},
    domain::export::{
        ExportJob, Grouping, Month, Output,
        csv::CsvRows,
        keys::{File, Key},
        manifest::{self, Changes},
    },
    objects::{About, Mode, ObjectError, Objects, Upload},
    store::{
        Session, StoreError,
        exports::{
            self, Claim, Claimed, Heartbeat, Kept,
            rows::{self, ExportReader, Snapshot},
        },
        lifecycle::floors,
    },
};

/// Bytes that are handed to the upload at a time.
const PIECE_BYTES: usize = 256 * 1024;
/// How much later than the database itself a statement is given up.
const GRACE: Duration = Duration::from_secs(30);
/// Versions of a month that may be there without anybody knowing of them: each is one that a killed process left.
const MOST_STRAY_VERSIONS: u32 = 100;

/// What files are generated with.
#[derive(Clone)]
pub struct ExportBackend {
    pub reader: ExportReader,
    pub objects: Objects,
    pub database: Database,
    /// Longest that the database may take for a whole file.
    pub statement_timeout: Duration,
}

impl ExportBackend {
    /// # Errors
    /// Why no files can be generated here.
    pub fn new(settings: &Settings) -> Result<Self, BackendError> {
        Ok(Self {
            reader: ExportReader::new(settings)?,
            objects: Objects::new(&settings.objects)?,
            database: settings.database.clone(),
            statement_timeout: settings.exports.statement_timeout(),
        })
    }

    /// Waits for the database no longer than it may take: the connection may be dead without either side's having heard.
    pub async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, GenerateError> {
        let within = self.statement_timeout + GRACE;
        timeout(within, work).await.map_err(|_| StoreError::Timeout(within).into())
    }
}

/// Why no files can be generated.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Objects(#[from] ObjectError),
}

/// A file that is in its place.
pub struct GeneratedFile {
    pub output: Output,
    /// The job whose version of the month came out the same.
    pub same_as: Option<Uuid>,
}

/// Generates the file of a job, and its manifest.
pub async fn generate(backend: &ExportBackend, claimed: &Claimed) -> Result<GeneratedFile, GenerateError> {
    let mut generation = Generation {
        backend,
        claimed,
        session: Session::new(backend.database.clone()),
        bucket: claimed.job.bucket.as_deref(),
    };
    match claimed.job.month {
        None => generation.on_demand().await,
        Some(month) => generation.of_month(month).await,
    }
}

struct Generation<'a> {
    backend: &'a ExportBackend,
    claimed: &'a Claimed,
    /// For a word with the database beside the snapshot.
    session: Session,
    bucket: Option<&'a str>,
}

/// What is written and not visible yet.
struct Written {
    upload: Upload,
    output: Output,
    changes: Changes,
}

impl Generation<'_> {
    fn job(&self) -> &ExportJob {
        &self.claimed.job
    }

    fn about(&self) -> About {
        About { org_id: self.job().spec.org_id, job_id: self.job().id }
    }

    async fn on_demand(&mut self) -> Result<GeneratedFile, GenerateError> {
        let key = Key::new(self.job().spec.org_id, File::Demand(self.job().id));
        self.clear(key).await?;
        // An earlier attempt that was only frozen cannot put its file in the place of this one: it must not be there.
        let Written { upload, output, changes } = self.write(key, None, None, Mode::Create).await?;
        self.still_wanted().await?;
        upload.finish().await?;
        self.still_held().await?;
        self.put_manifest(key, &output, &changes, Mode::Overwrite).await?;
        Ok(GeneratedFile { output, same_as: None })
    }

    /// A version is written once. What an attempt left that was killed before it could report that to the database is taken for this
    /// one's if it is the same, and is passed over if not: a reader may have seen it.
    async fn of_month(&mut self, month: Month) -> Result<GeneratedFile, GenerateError> {
        let org_id = self.job().spec.org_id;
        let versions = self.session.run(async |conn| exports::versions(conn, org_id, month).await).await?;
        let mut number = versions.next;
        self.clear_upload().await?;
        loop {
            let key = Key::new(org_id, File::Version(month, number));
            let since = versions.newest.as_ref().map(|newest| newest.snapshot_at);
            let Written { upload, mut output, changes } = self.write(key, Some(number), since, Mode::Create).await?;
            if let Some(newest) = versions.newest.as_ref().filter(|newest| newest.checksum == output.checksum)
                && self.is_there(newest).await?
            {
                upload.abort().await?;
                output.key.clone_from(&newest.key);
                output.revision = Some(newest.revision);
                let latest = Key::new(org_id, File::Latest(month)).to_string();
                // Gone, or not this version: a process that was frozen may have put an older one there.
                if copy::sha256(&self.backend.objects, self.bucket, &latest).await? != Some(output.checksum) {
                    self.put_latest(month, &output, &changes).await?;
                }
                return Ok(GeneratedFile { output, same_as: Some(newest.job_id) });
            }
            self.still_wanted().await?;
            match upload.finish().await {
                Ok(_) => {}
                Err(ObjectError::Exists) if self.is_same(&output).await? => {}
                Err(ObjectError::Exists) if number - versions.next < MOST_STRAY_VERSIONS => {
                    number += 1;
                    continue;
                }
                Err(ObjectError::Exists) => return Err(GenerateError::Strays),
                Err(error) => return Err(error.into()),
            }
            match self.put_manifest(key, &output, &changes, Mode::Create).await {
                Err(GenerateError::Object(ObjectError::Exists)) | Ok(()) => {}
                Err(error) => return Err(error),
            }
            self.put_latest(month, &output, &changes).await?;
            return Ok(GeneratedFile { output, same_as: None });
        }
    }

    /// Puts a version in the place of the newest one.
    async fn put_latest(&mut self, month: Month, output: &Output, changes: &Changes) -> Result<(), GenerateError> {
        let latest = Key::new(self.job().spec.org_id, File::Latest(month));
        self.still_held().await?;
        copy::copy(&self.backend.objects, self.bucket, &output.key, &latest.to_string(), &self.about()).await?;
        self.still_held().await?;
        self.put_manifest(latest, output, changes, Mode::Overwrite).await
    }

    /// Writes the rows of one snapshot.
    async fn write(
        &mut self,
        key: Key,
        revision: Option<u32>,
        since: Option<DateTime<Utc>>,
        mode: Mode,
    ) -> Result<Written, GenerateError> {
        let (spec, key) = (&self.claimed.job.spec, key.to_string());
        let mut snapshot = self.backend.in_time(self.backend.reader.begin(spec)).await??;
        let mut upload = self.backend.objects.begin(self.bucket, &key, &self.about(), mode).await?;
        let names = self.backend.in_time(snapshot.names()).await??;
        let mut csv = CsvRows::new(spec, names)?;
        let mut noted = false;
        if let Grouping::By(_) = spec.group_by {
            let mut rows = snapshot.rows();
            while let Some(row) = self.backend.in_time(rows.try_next()).await?? {
                csv.write(&row)?;
                self.send(&mut csv, &mut upload, &key, &mut noted).await?;
            }
        } else {
            let mut groups = snapshot.groups();
            while let Some(rows) = self.backend.in_time(groups.next()).await?? {
                for row in rows {
                    csv.write_group(&row)?;
                    self.send(&mut csv, &mut upload, &key, &mut noted).await?;
                }
            }
        }
        upload.write(&csv.take()?).await?;
        let changes = self.backend.in_time(snapshot.changes(since)).await??;
        // A chunk that is dropped is gone from older snapshots too: what is there now was there when the rows were read.
        let org_id = spec.org_id;
        let floors = self.session.run(async |conn| Ok(floors::of_org(conn, org_id).await?)).await?;
        if let Some(gone) = rows::gone(spec, floors) {
            return Err(GenerateError::Gone(gone.start));
        }
        let Snapshot { as_of, snapshot_at, revised, .. } = snapshot;
        let output = Output {
            key,
            revision,
            checksum: upload.sha256(),
            bytes: upload.bytes(),
            rows: csv.rows(),
            totals: csv.totals(),
            as_of,
            snapshot_at,
            revised,
        };
        Ok(Written { upload, output, changes })
    }

    /// Hands what is written on where there is enough of it.
    async fn send(
        &mut self,
        csv: &mut CsvRows,
        upload: &mut Upload,
        key: &str,
        noted: &mut bool,
    ) -> Result<(), GenerateError> {
        if csv.len() < PIECE_BYTES {
            return Ok(());
        }
        upload.write(&csv.take()?).await?;
        if !*noted && let Some(id) = upload.id() {
            self.note(key, id).await?;
            *noted = true;
        }
        Ok(())
    }

    async fn put_manifest(
        &self,
        key: Key,
        output: &Output,
        changes: &Changes,
        mode: Mode,
    ) -> Result<(), GenerateError> {
        let content = manifest::write(self.job(), output, changes).map_err(std::io::Error::from)?;
        self.backend.objects.put(self.bucket, &key.manifest().to_string(), &content, &self.about(), mode).await?;
        Ok(())
    }

    /// Deletes what an earlier attempt has left.
    async fn clear(&mut self, key: Key) -> Result<(), GenerateError> {
        self.clear_upload().await?;
        for key in [key, key.manifest()] {
            // Of a local store: what was staged there.
            self.backend.objects.abort_upload(self.bucket, &key.to_string(), None).await?;
            self.backend.objects.delete(self.bucket, &key.to_string()).await?;
        }
        Ok(())
    }

    async fn clear_upload(&mut self) -> Result<(), GenerateError> {
        if let Some(left) = &self.claimed.upload {
            self.backend.objects.abort_upload(self.bucket, &left.key, Some(&left.id)).await?;
        }
        Ok(())
    }

    /// Records the upload, so that another process aborts it if this one dies.
    async fn note(&mut self, key: &str, upload_id: &str) -> Result<(), GenerateError> {
        let claim: Claim = self.claimed.claim;
        let held = self.session.run(async |conn| exports::upload_begun(conn, &claim, key, upload_id).await).await?;
        if held { Ok(()) } else { Err(GenerateError::Lost) }
    }

    /// Before a file appears.
    async fn still_wanted(&mut self) -> Result<(), GenerateError> {
        match self.heartbeat().await? {
            Heartbeat::Held => Ok(()),
            Heartbeat::Cancelled => Err(GenerateError::Cancelled),
            Heartbeat::Lost => Err(GenerateError::Lost),
        }
    }

    /// Before an object is replaced: the process that has the job now may have written it.
    async fn still_held(&mut self) -> Result<(), GenerateError> {
        match self.heartbeat().await? {
            Heartbeat::Held | Heartbeat::Cancelled => Ok(()),
            Heartbeat::Lost => Err(GenerateError::Lost),
        }
    }

    async fn heartbeat(&mut self) -> Result<Heartbeat, GenerateError> {
        let claim = self.claimed.claim;
        Ok(self.session.run(async |conn| exports::heartbeat(conn, &claim).await).await?)
    }

    /// Whether a version's file is still in the store.
    async fn is_there(&self, kept: &Kept) -> Result<bool, GenerateError> {
        Ok(self.backend.objects.head(self.bucket, &kept.key).await?.is_some())
    }

    /// Whether the object that is there already has just this content.
    async fn is_same(&self, output: &Output) -> Result<bool, GenerateError> {
        let found = copy::sha256(&self.backend.objects, self.bucket, &output.key).await?;
        Ok(found == Some(output.checksum))
    }
}
