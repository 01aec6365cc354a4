//! An organisation's files in the object store.

use futures_util::TryStreamExt;
use uuid::Uuid;

use crate::{
    domain::export::keys::PREFIX,
    objects::{ObjectError, Objects},
    store::exports::AbandonedUpload,
};

/// Deletes all of them, and ends uploads that are under way. How many objects it were.
pub async fn remove(objects: &Objects, org_id: Uuid, uploads: &[AbandonedUpload]) -> Result<i64, ObjectError> {
    // One that cannot be ended keeps nothing else.
    let mut ended = Ok(());
    for upload in uploads {
        let aborted = objects.abort_upload(upload.bucket.as_deref(), &upload.key, Some(&upload.upload_id)).await;
        ended = ended.and(aborted);
    }
    let mut gone = 0;
    for bucket in objects.buckets() {
        let mut listed = objects.list(bucket.as_deref(), &prefix(org_id)).await?;
        while let Some(object) = listed.try_next().await? {
            objects.delete(bucket.as_deref(), &object.key).await?;
            gone += 1;
        }
    }
    ended.map(|()| gone)
}

/// How many there are.
pub async fn count(objects: &Objects, org_id: Uuid) -> Result<i64, ObjectError> {
    let mut found = 0;
    for bucket in objects.buckets() {
        let listed = objects.list(bucket.as_deref(), &prefix(org_id)).await?;
        found += listed.try_fold(0, async |n, _| Ok(n + 1)).await?;
    }
    Ok(found)
}

fn prefix(org_id: Uuid) -> String {
    format!("{PREFIX}{org_id}")
}
