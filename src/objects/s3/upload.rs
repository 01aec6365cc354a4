//! An object on its way into S3. What is small enough goes by one request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use object_store::{
    Attribute, AttributeValue, Attributes, Error, GetOptions, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload,
    multipart::{MultipartStore, PartId},
    path::Path,
};
use uuid::Uuid;

use super::Bucket;
use crate::objects::{
    About, Mode, ObjectError,
    sending::{InFlight, joined},
};

/// Which upload an object came by: distinguishes ours from another's when a response was lost.
const UPLOAD: &str = "upload-id";
/// Longest wait for a part that is being sent when its upload is aborted.
const LAST_PART_WITHIN: Duration = Duration::from_secs(2);

/// What an upload makes.
struct Object {
    bucket: Arc<Bucket>,
    path: Path,
    mark: String,
    attributes: Attributes,
    mode: Mode,
}

impl Object {
    /// Makes it by one request.
    async fn put(&self, bytes: Bytes) -> Result<(), ObjectError> {
        let mode = match self.mode {
            Mode::Create => PutMode::Create,
            Mode::Overwrite => PutMode::Overwrite,
        };
        let options = PutOptions { mode, attributes: self.attributes.clone(), ..PutOptions::default() };
        let put = self.bucket.writing.put_opts(&self.path, PutPayload::from_bytes(bytes), options).await;
        self.unless_landed(put.map(drop)).await
    }

    async fn complete(&self, id: &str, parts: Vec<PartId>) -> Result<(), ObjectError> {
        let store = match self.mode {
            Mode::Create => &self.bucket.exclusive,
            Mode::Overwrite => &self.bucket.plain,
        };
        let completed = store.complete_multipart(&self.path, &id.to_owned(), parts).await;
        self.unless_landed(completed.map(drop)).await
    }

    /// Where the response to an attempt was lost, the next one hears that the object exists or that the upload is gone. The
    /// mark shows whether that object is this one.
    async fn unless_landed(&self, done: Result<(), Error>) -> Result<(), ObjectError> {
        let Err(error) = done else { return Ok(()) };
        let options = GetOptions { head: true, ..GetOptions::default() };
        let responded =
            matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotFound { .. });
        if (responded || self.mode == Mode::Create)
            && let Ok(found) = self.bucket.plain.get_opts(&self.path, options).await
            && found.attributes.get(&Attribute::Metadata(UPLOAD.into())).is_some_and(|mark| **mark == *self.mark)
        {
            return Ok(());
        }
        Err(self.bucket.failed(&error))
    }
}

/// A multipart upload that the store knows of. Aborted where no caller is left to receive it.
struct Open {
    bucket: Arc<Bucket>,
    path: Path,
    id: String,
    ended: bool,
}

impl Open {
    /// Continues by itself where no caller waits for it.
    async fn abort(mut self) -> Result<(), ObjectError> {
        let aborted = self.bucket.abort(&self.path, &self.id).await;
        self.ended = true;
        aborted
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.ended
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (bucket, path, id) = (Arc::clone(&self.bucket), self.path.clone(), std::mem::take(&mut self.id));
            runtime.spawn(async move { bucket.abort(&path, &id).await });
        }
    }
}

pub(in crate::objects) struct S3Upload {
    object: Object,
    /// There is none as long as one request may be enough.
    open: Option<Open>,
    parts: Vec<PartId>,
    sending: InFlight<PartId>,
}

impl S3Upload {
    pub(in crate::objects) fn begin(bucket: &Arc<Bucket>, path: Path, about: &About, mode: Mode) -> Self {
        let mark = Uuid::new_v4().to_string();
        let said = [("org-id", about.org_id.to_string()), ("job-id", about.job_id.to_string()), (UPLOAD, mark.clone())];
        let attributes =
            said.into_iter().map(|(name, value)| (Attribute::Metadata(name.into()), AttributeValue::from(value)));
        let object = Object { bucket: Arc::clone(bucket), path, mark, attributes: attributes.collect(), mode };
        Self { object, open: None, parts: Vec::new(), sending: InFlight::default() }
    }

    pub(in crate::objects) fn id(&self) -> Option<&str> {
        self.open.as_ref().map(|open| open.id.as_str())
    }

    /// Sends a part when the one before it has arrived.
    pub(in crate::objects) async fn part(&mut self, bytes: Bytes) -> Result<(), ObjectError> {
        self.settle().await?;
        let id = match &self.open {
            Some(open) => open.id.clone(),
            None => self.open.insert(self.open().await?).id.clone(),
        };
        let (bucket, path, at) = (Arc::clone(&self.object.bucket), self.object.path.clone(), self.parts.len());
        self.sending.start(async move { bucket.plain.put_part(&path, &id, at, PutPayload::from_bytes(bytes)).await });
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), ObjectError> {
        if let Some(part) = self.sending.settle().await? {
            self.parts.push(part.map_err(|error| self.object.bucket.failed(&error))?);
        }
        Ok(())
    }

    /// In a task of its own: where no caller waits for the response any more, the upload that it names is aborted.
    async fn open(&self) -> Result<Open, ObjectError> {
        let (bucket, path) = (Arc::clone(&self.object.bucket), self.object.path.clone());
        let options =
            PutMultipartOptions { attributes: self.object.attributes.clone(), ..PutMultipartOptions::default() };
        joined(tokio::spawn(async move {
            match bucket.writing.create_multipart_opts(&path, options).await {
                Ok(id) => Ok(Open { bucket, path, id, ended: false }),
                Err(error) => Err(bucket.failed(&error)),
            }
        }))
        .await?
    }

    pub(in crate::objects) async fn finish(mut self, rest: Bytes) -> Result<(), ObjectError> {
        if self.open.is_none() {
            return self.object.put(rest).await;
        }
        let finished = self.complete(rest).await;
        match self.open.take() {
            Some(mut open) if finished.is_ok() => open.ended = true,
            // What is said is why the upload failed, not what became of it then.
            Some(open) => drop(open.abort().await),
            None => {}
        }
        finished
    }

    async fn complete(&mut self, rest: Bytes) -> Result<(), ObjectError> {
        if !rest.is_empty() {
            self.part(rest).await?;
        }
        self.settle().await?;
        match &self.open {
            Some(open) => self.object.complete(&open.id, std::mem::take(&mut self.parts)).await,
            None => Ok(()),
        }
    }

    pub(in crate::objects) async fn abort(mut self) -> Result<(), ObjectError> {
        match self.open.take() {
            Some(open) => take_back(open, std::mem::take(&mut self.sending)).await,
            None => Ok(()),
        }
    }
}

impl Drop for S3Upload {
    fn drop(&mut self) {
        // Without a runtime the process is at its end: the bucket's own rule removes what stays.
        if let Some(open) = self.open.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(take_back(open, std::mem::take(&mut self.sending)));
        }
    }
}

/// A part that arrives after the upload was aborted would stay for ever, so it is waited for, where that is not long.
async fn take_back(open: Open, mut sending: InFlight<PartId>) -> Result<(), ObjectError> {
    if tokio::time::timeout(LAST_PART_WITHIN, sending.settle()).await.is_err() {
        sending.cancel().await;
    }
    open.abort().await
}
