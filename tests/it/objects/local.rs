//! What the local folder promises beyond that.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    time::Duration,
};

use analytics_service::objects::{Mode, ObjectError, Objects};

use super::{KEY, MIB, about, content, keys, write_all};
use crate::harness::LocalStore;

#[tokio::test]
async fn local_stores_need_permission_and_a_secret() {
    let folder = LocalStore::new();
    let mut settings = folder.settings();
    settings.allow_unencrypted = false;
    let error = Objects::new(&settings).err().unwrap();
    assert!(error.to_string().contains("objects.allow_unencrypted") && !error.is_transient(), "{error}");
    let mut settings = folder.settings();
    settings.link_secret = analytics_service::config::Secret::default();
    let error = Objects::new(&settings).err().unwrap();
    assert!(error.to_string().contains("objects.link_secret"), "{error}");
}

#[tokio::test]
async fn the_folder_is_made_for_its_owner_alone() {
    let folder = LocalStore::new();
    let mut settings = folder.settings();
    settings.directory = folder.folder.path().join("deep/er");
    let objects = Objects::new(&settings).unwrap();
    write_all(&objects, KEY, b"x", Mode::Create).await.unwrap();
    assert_eq!(fs::metadata(&settings.directory).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(folder.files(), [format!("deep/er/{KEY}")]);
    assert_eq!(objects.uri(None, KEY), format!("local:///{KEY}"));
}

#[tokio::test]
async fn symbolic_links_do_not_leave_the_folder() {
    let (folder, outside) = (LocalStore::new(), tempfile::tempdir().unwrap());
    let objects = folder.objects();
    let secret = outside.path().join("secret.csv");
    fs::write(&secret, "secret").unwrap();
    symlink(outside.path(), folder.folder.path().join("way")).unwrap();
    symlink(&secret, folder.folder.path().join("file.csv")).unwrap();
    symlink(outside.path().join("nowhere"), folder.folder.path().join("broken.csv")).unwrap();
    write_all(&objects, "own/plain.csv", b"x", Mode::Create).await.unwrap();
    symlink(&secret, folder.folder.path().join("own/linked.csv")).unwrap();
    symlink(outside.path(), folder.folder.path().join("own/way")).unwrap();

    let refused = |error: ObjectError| assert!(error.to_string().contains("symbolic link"), "{error}");
    for key in ["way/secret.csv", "way/new.csv", "file.csv", "broken.csv"] {
        refused(objects.get(None, key).await.err().unwrap());
        refused(objects.get_range(None, key, 0..1).await.err().unwrap());
        refused(objects.head(None, key).await.unwrap_err());
        refused(objects.delete(None, key).await.unwrap_err());
        refused(objects.abort_upload(None, key, None).await.unwrap_err());
        refused(write_all(&objects, key, b"x", Mode::Overwrite).await.unwrap_err());
        refused(write_all(&objects, key, b"x", Mode::Create).await.unwrap_err());
    }
    refused(objects.list(None, "way").await.err().unwrap());
    assert_eq!(keys(&objects, "own").await, ["own/plain.csv"]);
    assert_eq!(objects.sweep_uploads(Duration::ZERO).await.unwrap(), 0);
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn sweeping_removes_only_abandoned_files() {
    let folder = LocalStore::new();
    let objects = folder.objects();
    write_all(&objects, "exports/whole.csv", b"x", Mode::Create).await.unwrap();
    for left in ["exports/a.csv#1", "exports/a.csv+0badcafe", "exports/a.csv+0badcafe#2", "exports/not ours #1"] {
        fs::write(folder.folder.path().join(left), "left").unwrap();
    }
    let mut upload = objects.begin(None, "exports/b.csv", &about(), Mode::Overwrite).await.unwrap();
    upload.write(&content(6 * MIB)).await.unwrap();
    assert_eq!(keys(&objects, "exports").await, ["exports/whole.csv"]);

    assert_eq!(objects.sweep_uploads(Duration::from_secs(3600)).await.unwrap(), 0, "nothing is that old");
    let old = std::time::SystemTime::now() - Duration::from_secs(7200);
    for left in ["exports/a.csv#1", "exports/a.csv+0badcafe", "exports/a.csv+0badcafe#2", "exports/whole.csv"] {
        fs::File::options().write(true).open(folder.folder.path().join(left)).unwrap().set_modified(old).unwrap();
    }
    assert_eq!(objects.sweep_uploads(Duration::from_secs(3600)).await.unwrap(), 3);
    upload.finish().await.unwrap();
    let mut files = folder.files();
    files.sort();
    assert_eq!(files, ["exports/b.csv", "exports/not ours #1", "exports/whole.csv"]);
}

#[tokio::test]
async fn folders_go_with_their_last_object() {
    let folder = LocalStore::new();
    let objects = folder.objects();
    write_all(&objects, "exports/org/a.csv", b"x", Mode::Create).await.unwrap();
    objects.delete(None, "exports/org/a.csv").await.unwrap();
    assert_eq!(fs::read_dir(folder.folder.path()).unwrap().count(), 0);
    write_all(&objects, "exports/org/a.csv", b"x", Mode::Create).await.unwrap();
}
