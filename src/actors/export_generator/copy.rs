//! Objects piece by piece, so that memory stays the same whatever their size.

use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};

use crate::objects::{About, Mode, ObjectError, Objects};

/// Puts a copy in the place of what is there.
pub(super) async fn copy(
    objects: &Objects,
    bucket: Option<&str>,
    from: &str,
    to: &str,
    about: &About,
) -> Result<(), ObjectError> {
    let mut content = objects.get(bucket, from).await?.stream;
    let mut upload = objects.begin(bucket, to, about, Mode::Overwrite).await?;
    while let Some(piece) = content.try_next().await? {
        upload.write(&piece).await?;
    }
    upload.finish().await?;
    Ok(())
}

/// None: there is no such object.
pub(super) async fn sha256(
    objects: &Objects,
    bucket: Option<&str>,
    key: &str,
) -> Result<Option<[u8; 32]>, ObjectError> {
    let mut content = match objects.get(bucket, key).await {
        Ok(content) => content.stream,
        Err(ObjectError::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut hash = Sha256::new();
    while let Some(piece) = content.try_next().await? {
        hash.update(&piece);
    }
    Ok(Some(hash.finalize().into()))
}
