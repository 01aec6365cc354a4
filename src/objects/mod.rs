//! The object store: where exports are kept, in S3 or in a folder of this machine.

mod error;
mod key;
mod link;
mod local;
mod s3;
mod sending;
mod upload;

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};
use uuid::Uuid;

pub use error::ObjectError;
pub use key::{content_disposition, file_name, is_key};
pub use link::InvalidLink;
pub use upload::{Stored, Upload};

use self::{
    local::Local,
    s3::{Bucket, S3, S3Upload},
    upload::Sink,
};
use crate::config::{self, Encryption, ObjectStoreKind};

/// How long a link to an object is good for.
pub const LINK_LIFETIME: Duration = Duration::from_secs(86_400);

/// The owner of an object. S3 keeps it with the object, as `x-amz-meta-org-id` and `-job-id`.
#[derive(Clone, Copy, Debug)]
pub struct About {
    pub org_id: Uuid,
    pub job_id: Uuid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Where an object of that key is there, [`ObjectError::Exists`].
    Create,
    Overwrite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Length of the whole object.
    pub bytes: u64,
    pub modified: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub bytes: u64,
    pub modified: DateTime<Utc>,
}

/// Content as it comes from the store. A stream that ends by an error has not given all of it.
pub struct Content {
    pub info: Info,
    /// Which bytes of the object it is.
    pub range: Range<u64>,
    pub stream: BoxStream<'static, Result<Bytes, ObjectError>>,
}

/// What a link is to be.
#[derive(Clone, Copy, Debug)]
pub struct NewLink<'a> {
    /// What a download is saved as. Only S3 heeds it: what the service itself serves is named by its key.
    pub file_name: &'a str,
    pub now: DateTime<Utc>,
    pub expires: DateTime<Utc>,
}

/// Clones share the store and its connections. A bucket of none is the configured one; keys are checked by [`is_key`].
#[derive(Clone)]
pub struct Objects(Arc<Inner>);

struct Inner {
    store: Store,
    part_bytes: usize,
    timeout: Duration,
}

enum Store {
    Local(Local),
    S3(S3),
}

/// The part of the store that a bucket's name leads to.
#[derive(Clone, Copy)]
enum Place<'a> {
    Local(&'a Local),
    S3(&'a Arc<Bucket>),
}

impl Objects {
    /// Opens the store; credentials of S3 are looked for in the process's environment. Nothing is requested of S3 yet.
    ///
    /// # Errors
    /// Where settings are missing that only generating exports needs, or the store may be unencrypted and
    /// `objects.allow_unencrypted` is not set.
    pub fn new(settings: &config::Objects) -> Result<Self, ObjectError> {
        let variables = std::env::vars_os();
        Self::with_environment(
            settings,
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// The same, with variables that are given instead of the environment's.
    pub fn with_environment(
        settings: &config::Objects,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ObjectError> {
        let local = settings.store == ObjectStoreKind::Local;
        if !settings.allow_unencrypted && (local || settings.encryption == Encryption::None) {
            return Err(ObjectError::permanent(if local {
                "objects.allow_unencrypted must be true where objects.store is local: encrypting is the disk's affair"
            } else {
                "objects.allow_unencrypted must be true where objects.encryption is none"
            }));
        }
        let store = match settings.store {
            ObjectStoreKind::Local => Store::Local(Local::new(settings)?),
            ObjectStoreKind::S3 => Store::S3(S3::new(settings, environment)?),
        };
        Ok(Self(Arc::new(Inner { store, part_bytes: settings.part_bytes, timeout: settings.timeout() })))
    }

    /// The bucket that is used where none is named; a local store has none.
    pub fn default_bucket(&self) -> Option<&str> {
        match &self.0.store {
            Store::Local(_) => None,
            Store::S3(s3) => Some(&s3.default_bucket),
        }
    }

    /// All places where objects may be, for [`Objects::list`].
    pub fn buckets(&self) -> Vec<Option<String>> {
        match &self.0.store {
            Store::Local(_) => vec![None],
            Store::S3(s3) => s3.names().map(|name| Some(name.to_owned())).collect(),
        }
    }

    /// Where an object is, in words without a meaning outside: `s3://bucket/key` or `local:///key`.
    pub fn uri(&self, bucket: Option<&str>, key: &str) -> String {
        match &self.0.store {
            Store::Local(_) => format!("local:///{key}"),
            Store::S3(s3) => format!("s3://{}/{key}", bucket.unwrap_or(&s3.default_bucket)),
        }
    }

    /// Begins an object that is written piece by piece.
    pub async fn begin(
        &self,
        bucket: Option<&str>,
        key: &str,
        about: &About,
        mode: Mode,
    ) -> Result<Upload, ObjectError> {
        let (place, path) = self.find(bucket, key).await?;
        let sink = match place {
            Place::Local(local) => Sink::Local(local.begin(path, mode).await?),
            Place::S3(bucket) => Sink::S3(S3Upload::begin(bucket, path, about, mode)),
        };
        Ok(Upload::new(sink, self.0.part_bytes))
    }

    /// Makes a small object.
    pub async fn put(
        &self,
        bucket: Option<&str>,
        key: &str,
        content: &[u8],
        about: &About,
        mode: Mode,
    ) -> Result<Stored, ObjectError> {
        let mut upload = self.begin(bucket, key, about, mode).await?;
        upload.write(content).await?;
        upload.finish().await
    }

    /// Ends uploads that another process began and cannot end any more: of S3 that of the id, of a local store all of the
    /// key. A process that still works on one cannot finish it. One that is gone is no error.
    pub async fn abort_upload(
        &self,
        bucket: Option<&str>,
        key: &str,
        upload_id: Option<&str>,
    ) -> Result<(), ObjectError> {
        match (self.find(bucket, key).await?, upload_id) {
            ((Place::Local(local), _), _) => local.unstage(key).await,
            ((Place::S3(bucket), path), Some(id)) => bucket.abort(&path, id).await,
            ((Place::S3(_), _), None) => Ok(()),
        }
    }

    /// Removes what a local store has of uploads without a write for so long; returns the number of files. S3 does
    /// the same by a rule of the bucket, so with S3 there is nothing to do.
    pub async fn sweep_uploads(&self, older_than: Duration) -> Result<u64, ObjectError> {
        match &self.0.store {
            Store::Local(local) => local.sweep(older_than).await,
            Store::S3(_) => Ok(0),
        }
    }

    /// All of an object.
    pub async fn get(&self, bucket: Option<&str>, key: &str) -> Result<Content, ObjectError> {
        self.read(bucket, key, None).await
    }

    /// Some bytes of an object. A range that reaches beyond its end is cut there; one that begins there is an error.
    pub async fn get_range(&self, bucket: Option<&str>, key: &str, range: Range<u64>) -> Result<Content, ObjectError> {
        self.read(bucket, key, Some(range)).await
    }

    async fn read(&self, bucket: Option<&str>, key: &str, range: Option<Range<u64>>) -> Result<Content, ObjectError> {
        let (place, path) = self.find(bucket, key).await?;
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let found = place.reader().get_opts(&path, options).await.map_err(|error| self.failed(&error))?;
        let timeout = self.0.timeout;
        Ok(Content {
            info: info(&found.meta),
            range: found.range.clone(),
            stream: found.into_stream().map_err(move |error| ObjectError::of(&error, timeout)).boxed(),
        })
    }

    /// None where there is no such object.
    pub async fn head(&self, bucket: Option<&str>, key: &str) -> Result<Option<Info>, ObjectError> {
        let (place, path) = self.find(bucket, key).await?;
        match place.reader().head(&path).await.map_err(|error| self.failed(&error)) {
            Ok(meta) => Ok(Some(info(&meta))),
            Err(ObjectError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object; one that is not there is no error.
    pub async fn delete(&self, bucket: Option<&str>, key: &str) -> Result<(), ObjectError> {
        let (place, path) = self.find(bucket, key).await?;
        match place.reader().delete(&path).await.map_err(|error| self.failed(&error)) {
            Err(ObjectError::NotFound) => Ok(()),
            deleted => deleted,
        }
    }

    /// Objects whose keys begin with the prefix's segments, in no order. What is no key of ours is left out.
    pub async fn list(
        &self,
        bucket: Option<&str>,
        prefix: &str,
    ) -> Result<BoxStream<'static, Result<Listed, ObjectError>>, ObjectError> {
        let (place, path) = self.find(bucket, prefix).await?;
        let timeout = self.0.timeout;
        Ok(match place {
            Place::Local(local) => stream::iter(local.list(prefix).await?.into_iter().map(Ok)).boxed(),
            Place::S3(bucket) => {
                let listed = bucket.plain.list(Some(&path)).map_err(move |error| ObjectError::of(&error, timeout));
                listed.try_filter_map(async |meta| Ok(ours(&meta))).boxed()
            }
        })
    }

    /// A URL that gives access to the object until it expires, without credentials.
    pub async fn link(&self, bucket: Option<&str>, key: &str, link: &NewLink<'_>) -> Result<String, ObjectError> {
        match self.find(bucket, key).await? {
            (Place::Local(local), _) => {
                let url = local.links.url(key, link.expires);
                url.ok_or_else(|| ObjectError::permanent("the link cannot be signed"))
            }
            (Place::S3(bucket), path) => bucket.link(&path, link.file_name, s3::lifetime(link.now, link.expires)).await,
        }
    }

    /// Checks a link to the service's own API: `expires` in seconds since 1970, as it stands in the link. Only a local
    /// store's links lead there.
    pub fn verify_link(&self, key: &str, expires: i64, signature: &str, now: DateTime<Utc>) -> Result<(), InvalidLink> {
        match &self.0.store {
            Store::Local(local) => local.links.verify(key, expires, signature, now),
            Store::S3(_) => Err(InvalidLink),
        }
    }

    fn place(&self, bucket: Option<&str>) -> Result<Place<'_>, ObjectError> {
        let place = match &self.0.store {
            Store::Local(local) => bucket.is_none().then_some(Place::Local(local)),
            Store::S3(s3) => s3.bucket(bucket).map(Place::S3),
        };
        place.ok_or_else(|| ObjectError::permanent("the bucket is not among those that are allowed"))
    }

    async fn find(&self, bucket: Option<&str>, key: &str) -> Result<(Place<'_>, Path), ObjectError> {
        let (place, path) = (self.place(bucket)?, key::path(key)?);
        if let Place::Local(local) = place {
            local.guard(key).await?;
        }
        Ok((place, path))
    }

    fn failed(&self, error: &object_store::Error) -> ObjectError {
        ObjectError::of(error, self.0.timeout)
    }
}

impl<'a> Place<'a> {
    fn reader(self) -> &'a dyn ObjectStore {
        match self {
            Self::Local(local) => &local.files,
            Self::S3(bucket) => &bucket.plain,
        }
    }
}

fn info(meta: &ObjectMeta) -> Info {
    Info { bytes: meta.size, modified: meta.last_modified }
}

fn ours(meta: &ObjectMeta) -> Option<Listed> {
    let key = meta.location.to_string();
    is_key(&key).then_some(Listed { key, bytes: meta.size, modified: meta.last_modified })
}
