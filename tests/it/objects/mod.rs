//! The object store does what it promises, shown with an S3 server and with a local folder alike.

mod local;
mod s3;

use analytics_service::objects::{About, Content, LINK_LIFETIME, Mode, NewLink, ObjectError, Objects, file_name};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt};
use reqwest::{StatusCode, Url};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::harness::{LocalStore, S3Server, eventually};

const KEY: &str = "analytics/exports/0b7c6e2e-5d38-4c5a-9d0e-7a4a3f1d2c11/job.csv";
const MIB: usize = 1 << 20;

enum Place {
    S3(S3Server),
    Local(LocalStore),
}

impl Place {
    fn objects(&self) -> Objects {
        match self {
            Self::S3(server) => server.objects(),
            Self::Local(folder) => folder.objects(),
        }
    }

    /// What is kept for uploads that have not become objects.
    fn unfinished(&self) -> Vec<String> {
        match self {
            Self::S3(server) => server.unfinished(),
            Self::Local(folder) => folder.files().into_iter().filter(|name| name.contains(['#', '+'])).collect(),
        }
    }

    /// Whoever has a link and nothing else. What the API would do with a local one is done here.
    async fn follow(&self, link: &str, at: DateTime<Utc>) -> Option<Vec<u8>> {
        let url = Url::parse(link).unwrap();
        match self {
            Self::S3(_) => {
                let answer = reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap();
                if answer.status() != StatusCode::OK {
                    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
                    return None;
                }
                Some(answer.bytes().await.unwrap().into())
            }
            Self::Local(folder) => {
                let key = url.path().strip_prefix("/analytics/v1/downloads/")?;
                let parameter =
                    |name| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
                let (expires, signature) = (parameter("expires")?.parse().ok()?, parameter("signature")?);
                let objects = folder.objects();
                objects.verify_link(key, expires, &signature, at).ok()?;
                Some(read(objects.get(None, key).await.unwrap()).await)
            }
        }
    }
}

fn both() -> [Place; 2] {
    [Place::S3(S3Server::start()), Place::Local(LocalStore::new())]
}

fn about() -> About {
    About { org_id: Uuid::new_v4(), job_id: Uuid::new_v4() }
}

/// Bytes of which no two parts are the same.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0]).collect()
}

async fn read(content: Content) -> Vec<u8> {
    let parts: Vec<_> = content.stream.try_collect().await.unwrap();
    parts.concat()
}

async fn keys(objects: &Objects, prefix: &str) -> Vec<String> {
    let listed = objects.list(None, prefix).await.unwrap();
    let mut keys: Vec<_> = listed.map(|listed| listed.unwrap().key).collect().await;
    keys.sort();
    keys
}

async fn write_all(objects: &Objects, key: &str, content: &[u8], mode: Mode) -> Result<(), ObjectError> {
    objects.put(None, key, content, &about(), mode).await.map(drop)
}

fn valid_for(seconds: i64) -> NewLink<'static> {
    let now = Utc::now();
    NewLink { file_name: "usage of march.csv", now, expires: now + chrono::TimeDelta::seconds(seconds) }
}

#[tokio::test]
async fn a_large_object_appears_whole_at_its_end() {
    let content = content(20 * MIB + 7);
    for place in both() {
        let objects = place.objects();
        let mut upload = objects.begin(None, KEY, &about(), Mode::Overwrite).await.unwrap();
        for piece in content.chunks(777_777) {
            upload.write(piece).await.unwrap();
        }
        assert_eq!(upload.bytes(), content.len() as u64);
        assert_eq!(objects.head(None, KEY).await.unwrap(), None);
        assert!(matches!(objects.get(None, KEY).await, Err(ObjectError::NotFound)));
        assert!(keys(&objects, "analytics").await.is_empty());
        assert!(!place.unfinished().is_empty());

        let stored = upload.finish().await.unwrap();
        assert_eq!(stored.bytes, content.len() as u64);
        assert_eq!(objects.head(None, KEY).await.unwrap().unwrap().bytes, stored.bytes);
        let whole = read(objects.get(None, KEY).await.unwrap()).await;
        assert_eq!(stored.sha256, *Sha256::digest(&whole));
        assert!(whole == content);
        assert!(place.unfinished().is_empty(), "{:?}", place.unfinished());
    }
}

#[tokio::test]
async fn sizes_at_part_boundaries_are_kept() {
    let content = content(10 * MIB);
    for place in both() {
        let objects = place.objects();
        for length in [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 10 * MIB] {
            let stored = objects.put(None, KEY, &content[..length], &about(), Mode::Overwrite).await.unwrap();
            assert_eq!(stored.bytes, length as u64);
            assert_eq!(stored.sha256, *Sha256::digest(&content[..length]));
            assert!(read(objects.get(None, KEY).await.unwrap()).await == content[..length], "{length}");
        }
    }
}

#[tokio::test]
async fn a_range_is_those_bytes_of_the_object() {
    let content = content(100_000);
    for place in both() {
        let objects = place.objects();
        write_all(&objects, KEY, &content, Mode::Create).await.unwrap();
        for (asked, given) in [(0..1, 0..1), (9_000..70_001, 9_000..70_001), (99_999..200_000, 99_999..100_000)] {
            let part = objects.get_range(None, KEY, asked).await.unwrap();
            assert_eq!((part.range.clone(), part.info.bytes), (given.start as u64..given.end as u64, 100_000));
            assert!(read(part).await == content[given]);
        }
        assert!(objects.get_range(None, KEY, 100_000..100_001).await.is_err());
    }
}

#[tokio::test]
async fn an_upload_that_ends_early_leaves_nothing() {
    for place in both() {
        let objects = place.objects();
        for length in [10, 12 * MIB] {
            let mut upload = objects.begin(None, KEY, &about(), Mode::Create).await.unwrap();
            upload.write(&content(length)).await.unwrap();
            upload.abort().await.unwrap();
            assert!(place.unfinished().is_empty(), "{:?}", place.unfinished());

            let mut upload = objects.begin(None, KEY, &about(), Mode::Overwrite).await.unwrap();
            upload.write(&content(length)).await.unwrap();
            drop(upload);
            eventually("a dropped upload is gone", async || place.unfinished().is_empty().then_some(())).await;
        }
        assert_eq!(objects.head(None, KEY).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_upload_can_be_ended_from_elsewhere() {
    for place in both() {
        let objects = place.objects();
        let mut upload = objects.begin(None, KEY, &about(), Mode::Overwrite).await.unwrap();
        upload.write(&content(6 * MIB)).await.unwrap();
        let id = upload.id().map(str::to_owned);
        assert_eq!(id.is_some(), matches!(place, Place::S3(_)));
        // S3 may take a part that is on its way after the upload has ended: it arrives first.
        let part = async || {
            place.unfinished().iter().any(|name| name.contains(['#', '+']) || name.contains(".part-1")).then_some(())
        };
        eventually("the part is there", part).await;
        let elsewhere = place.objects();
        elsewhere.abort_upload(None, KEY, id.as_deref()).await.unwrap();
        elsewhere.abort_upload(None, KEY, id.as_deref()).await.unwrap();

        let error = upload.finish().await.unwrap_err();
        assert_eq!(error.to_string(), "object store: the upload was ended by another process");
        assert_eq!(objects.head(None, KEY).await.unwrap(), None);
        eventually("nothing is left", async || place.unfinished().is_empty().then_some(())).await;
    }
}

#[tokio::test]
async fn protected_objects_are_never_overwritten() {
    for place in both() {
        let objects = place.objects();
        for (key, length) in [("versions/small.csv", 1000), ("versions/large.csv", 6 * MIB)] {
            let (first, second) = (content(length), content(length + 1));
            let mut one = objects.begin(None, key, &about(), Mode::Create).await.unwrap();
            let mut other = objects.begin(None, key, &about(), Mode::Create).await.unwrap();
            one.write(&first).await.unwrap();
            other.write(&second).await.unwrap();
            one.finish().await.unwrap();
            assert!(matches!(other.finish().await, Err(ObjectError::Exists)), "{key}");
            let late = write_all(&objects, key, &second, Mode::Create).await;
            assert!(matches!(late, Err(ObjectError::Exists)), "{key}");
            assert!(read(objects.get(None, key).await.unwrap()).await == first);
            assert!(place.unfinished().is_empty(), "{:?}", place.unfinished());

            write_all(&objects, key, &second, Mode::Overwrite).await.unwrap();
            assert!(read(objects.get(None, key).await.unwrap()).await == second);
        }
    }
}

#[tokio::test]
async fn objects_are_listed_by_whole_segments() {
    for place in both() {
        let objects = place.objects();
        for key in ["exports/a/1.csv", "exports/a/2.csv", "exports/a/deep/3.csv", "exports/ab/4.csv"] {
            write_all(&objects, key, key.as_bytes(), Mode::Create).await.unwrap();
        }
        assert_eq!(keys(&objects, "exports/a").await, ["exports/a/1.csv", "exports/a/2.csv", "exports/a/deep/3.csv"]);
        assert_eq!(keys(&objects, "exports").await.len(), 4);
        assert!(keys(&objects, "nothing/here").await.is_empty());
        let listed: Vec<_> = objects.list(None, "exports/ab").await.unwrap().collect().await;
        let listed = listed[0].as_ref().unwrap();
        assert_eq!(listed.bytes, 16);
        assert!((Utc::now() - listed.modified).num_seconds().abs() < 60);

        objects.delete(None, "exports/a/1.csv").await.unwrap();
        objects.delete(None, "exports/a/1.csv").await.unwrap();
        assert_eq!(keys(&objects, "exports/a").await, ["exports/a/2.csv", "exports/a/deep/3.csv"]);
    }
}

#[tokio::test]
async fn a_link_gives_access_to_its_object() {
    let seconds = i64::try_from(LINK_LIFETIME.as_secs()).unwrap();
    for place in both() {
        let objects = place.objects();
        write_all(&objects, KEY, b"a,b\r\n", Mode::Create).await.unwrap();
        write_all(&objects, "another.csv", b"c,d\r\n", Mode::Create).await.unwrap();
        let link = objects.link(None, KEY, &valid_for(seconds)).await.unwrap();
        let now = Utc::now();
        assert_eq!(place.follow(&link, now).await.as_deref(), Some(&b"a,b\r\n"[..]), "{link}");

        let (path, query) = link.split_once('?').unwrap();
        let elsewhere = path.replace(KEY, "another.csv");
        assert_ne!(elsewhere, path);
        assert_eq!(place.follow(&format!("{elsewhere}?{query}"), now).await, None, "another object");
        // Each parameter is signed, and the signature is one of them. Of each, the first character is changed.
        for (at, _) in link.match_indices('=') {
            let mut changed = link.clone().into_bytes();
            changed[at + 1] = if changed[at + 1] == b'1' { b'2' } else { b'1' };
            let changed = String::from_utf8(changed).unwrap();
            if let Place::S3(_) = place
                && !["X-Amz-Signature", "X-Amz-Expires", "response-content-disposition"]
                    .iter()
                    .any(|name| link[..at].ends_with(name))
            {
                // A date or an algorithm that is none is answered by 400.
                continue;
            }
            assert_eq!(place.follow(&changed, now).await, None, "{changed}");
        }
    }
}

#[tokio::test]
async fn a_link_is_over_when_its_time_is() {
    for place in both() {
        let objects = place.objects();
        write_all(&objects, KEY, b"a,b\r\n", Mode::Create).await.unwrap();
        let link = objects.link(None, KEY, &valid_for(1)).await.unwrap();
        let over = eventually("the link is over", async || {
            let answer = place.follow(&link, Utc::now()).await;
            answer.is_none().then_some(Utc::now())
        });
        assert!((Utc::now() - over.await).num_seconds() < 10);
        let fresh = objects.link(None, KEY, &valid_for(60)).await.unwrap();
        assert!(place.follow(&fresh, Utc::now()).await.is_some(), "{}", file_name(KEY));
    }
}

#[tokio::test]
async fn neither_keys_nor_buckets_lead_elsewhere() {
    for place in both() {
        let objects = place.objects();
        let refused = |error: ObjectError| assert!(matches!(error, ObjectError::Permanent(_)), "{error}");
        for key in ["../outside.csv", "/etc/passwd", "a/../../b", "a//b", "", "job.csv#1", "a\0b"] {
            refused(write_all(&objects, key, b"x", Mode::Overwrite).await.unwrap_err());
            refused(objects.get(None, key).await.err().unwrap());
            refused(objects.head(None, key).await.unwrap_err());
            refused(objects.delete(None, key).await.unwrap_err());
            refused(objects.abort_upload(None, key, Some("id")).await.unwrap_err());
            refused(objects.link(None, key, &valid_for(60)).await.unwrap_err());
            refused(objects.list(None, key).await.err().unwrap());
        }
        for bucket in ["other", "", "exports/..", "Exports"] {
            refused(objects.put(Some(bucket), KEY, b"x", &about(), Mode::Overwrite).await.unwrap_err());
            refused(objects.get(Some(bucket), KEY).await.err().unwrap());
        }
        assert!(objects.head(None, KEY).await.unwrap().is_none());
    }
}
