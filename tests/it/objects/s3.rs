//! What is requested of S3, and what is said and left behind when it does not answer as it should.

use std::time::Duration;

use analytics_service::{
    config::Encryption,
    objects::{Mode, ObjectError, Objects},
};
use chrono::Utc;
use uuid::Uuid;

use super::{KEY, MIB, Place, about, content, read, valid_for, write_all};
use crate::harness::{Asked, BUCKET, Fault, S3Server, SECOND_BUCKET, bound, eventually};

#[tokio::test]
async fn objects_carry_their_owner_and_encryption() {
    let server = S3Server::start();
    let mut settings = server.settings();
    let about = about();
    let mut expected = Vec::new();
    for (encryption, key_id, header) in [
        (Encryption::SseS3, "", Some("AES256")),
        (Encryption::SseKms, "alias/exports", Some("aws:kms")),
        (Encryption::None, "", None),
    ] {
        settings.encryption = encryption;
        settings.allow_unencrypted = encryption == Encryption::None;
        settings.kms_key_id = key_id.to_owned();
        let objects = server.objects_with(&settings);
        objects.put(None, KEY, b"small", &about, Mode::Overwrite).await.unwrap();
        objects.put(None, KEY, &content(6 * MIB), &about, Mode::Overwrite).await.unwrap();
        expected.push((header, Some(key_id).filter(|id| !id.is_empty())));
    }
    for asked in [Asked::Put, Asked::Begin] {
        let seen = server.seen(asked);
        assert_eq!(seen.len(), expected.len());
        for (request, (encryption, key_id)) in seen.iter().zip(&expected) {
            let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(header("x-amz-server-side-encryption"), *encryption);
            assert_eq!(header("x-amz-server-side-encryption-aws-kms-key-id"), *key_id);
            assert_eq!(header("x-amz-meta-org-id"), Some(about.org_id.to_string().as_str()));
            assert_eq!(header("x-amz-meta-job-id"), Some(about.job_id.to_string().as_str()));
            assert_eq!(header("content-type"), Some("text/csv; charset=utf-8"));
        }
    }
    // S3 refuses these of requests that do not begin an object.
    for asked in [Asked::Part(1), Asked::Part(2), Asked::Complete] {
        for request in server.seen(asked) {
            let wrong = |name: &str| name.starts_with("x-amz-server-side") || name.starts_with("x-amz-meta");
            assert!(!request.headers.keys().any(|name| wrong(name.as_str())), "{request:?}");
        }
    }
    assert_eq!(server.seen(Asked::Complete).len(), 3);
}

#[tokio::test]
async fn an_allowed_bucket_can_be_asked_for() {
    let server = S3Server::start();
    let objects = server.objects();
    let allowed = [BUCKET, SECOND_BUCKET].map(|name| Some(name.to_owned()));
    assert!(allowed.iter().all(|bucket| objects.buckets().contains(bucket)));
    assert_eq!(objects.default_bucket(), Some(BUCKET));
    objects.put(Some(SECOND_BUCKET), KEY, b"x", &about(), Mode::Create).await.unwrap();
    assert_eq!(objects.head(None, KEY).await.unwrap(), None);
    assert_eq!(objects.head(Some(SECOND_BUCKET), KEY).await.unwrap().unwrap().bytes, 1);
    assert_eq!(objects.uri(Some(SECOND_BUCKET), KEY), format!("s3://{SECOND_BUCKET}/{KEY}"));
    assert_eq!(objects.uri(None, KEY), format!("s3://{BUCKET}/{KEY}"));
}

#[tokio::test]
async fn a_short_trouble_is_gone_through() {
    let server = S3Server::start();
    let objects = server.objects();
    server.fault(Asked::Part(2), Fault::Status(500), 1);
    server.fault(Asked::Complete, Fault::Status(503), 2);
    let content = content(11 * MIB);
    write_all(&objects, KEY, &content, Mode::Overwrite).await.unwrap();
    assert!(read(objects.get(None, KEY).await.unwrap()).await == content);
    assert_eq!((server.seen(Asked::Part(2)).len(), server.seen(Asked::Complete).len()), (2, 3));
}

#[tokio::test]
async fn a_longer_outage_aborts_the_upload() {
    let server = S3Server::start();
    let objects = server.objects();
    for asked in [Asked::Begin, Asked::Part(1), Asked::Part(2), Asked::Complete] {
        server.fault(asked, Fault::Status(500), usize::MAX);
        let error = write_all(&objects, KEY, &content(11 * MIB), Mode::Create).await.unwrap_err();
        assert_eq!(error.to_string(), "object store: the store returned 500 (InternalError)", "{asked:?}");
        assert!(error.is_transient());
        server.heal();
        eventually("the upload is aborted", async || server.unfinished().is_empty().then_some(())).await;
        assert_eq!(objects.head(None, KEY).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_lost_response_does_not_change_ownership() {
    let server = S3Server::start();
    let objects = server.objects();
    for (asked, length) in [(Asked::Put, 10), (Asked::Complete, 6 * MIB)] {
        for mode in [Mode::Create, Mode::Overwrite] {
            let key = format!("versions/{}.csv", Uuid::new_v4());
            let attempts = server.seen(asked).len();
            server.fault(asked, Fault::Lost, 1);
            write_all(&objects, &key, &content(length), mode).await.unwrap();
            assert!(server.seen(asked).len() > attempts);
            assert_eq!(objects.head(None, &key).await.unwrap().unwrap().bytes, length as u64);
            let again = write_all(&objects, &key, &content(length), Mode::Create).await;
            assert!(matches!(again, Err(ObjectError::Exists)));
        }
    }
}

#[tokio::test]
async fn an_unresponsive_store_times_out() {
    let server = S3Server::start();
    let mut settings = server.settings();
    settings.timeout_ms = 300;
    let objects = server.objects_with(&settings);
    server.fault(Asked::Part(1), Fault::Slow(Duration::from_secs(60)), usize::MAX);
    let began = std::time::Instant::now();
    let error = write_all(&objects, KEY, &content(6 * MIB), Mode::Overwrite).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.is_transient()), ("object store: no response within 300 ms", true));
    assert!(began.elapsed() < settings.longest_call() + bound(Duration::from_secs(5)), "{:?}", began.elapsed());
    eventually("the upload is aborted", async || server.unfinished().is_empty().then_some(())).await;
}

#[tokio::test]
async fn an_abandoned_upload_is_aborted() {
    let server = S3Server::start();
    let objects = server.objects();
    server.fault(Asked::Begin, Fault::Slow(Duration::from_millis(500)), 1);
    let mut upload = objects.begin(None, KEY, &about(), Mode::Overwrite).await.unwrap();
    let given_up = tokio::time::timeout(Duration::from_millis(100), upload.write(&content(6 * MIB))).await;
    assert!(given_up.is_err());
    // What of the content went in is unknown.
    assert!(upload.write(b"more").await.is_err());
    assert!(upload.finish().await.is_err());
    eventually("it is aborted", async || (server.seen(Asked::Abort).len() == 1).then_some(())).await;
    eventually("nothing is left", async || server.unfinished().is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_store_is_used_again_after_an_outage() {
    let server = S3Server::start();
    let objects = server.objects();
    write_all(&objects, KEY, b"before", Mode::Overwrite).await.unwrap();
    server.refuse();
    for error in [
        write_all(&objects, KEY, b"x", Mode::Overwrite).await.unwrap_err(),
        objects.get(None, KEY).await.err().unwrap(),
        objects.delete(None, KEY).await.unwrap_err(),
    ] {
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains("connection"), "{error}");
    }
    server.heal();
    write_all(&objects, KEY, b"after", Mode::Overwrite).await.unwrap();
    assert_eq!(read(objects.get(None, KEY).await.unwrap()).await, b"after");
}

#[tokio::test]
async fn a_refusal_names_its_reason_and_no_secret() {
    let server = S3Server::start();
    let wrong = [("AWS_ACCESS_KEY_ID", "AKIATESTS"), ("AWS_SECRET_ACCESS_KEY", "wrong-secret")];
    let wrong = wrong.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let strangers = Objects::with_environment(&server.settings(), wrong).unwrap();
    for error in [
        write_all(&strangers, KEY, b"x", Mode::Overwrite).await.unwrap_err(),
        write_all(&strangers, KEY, &content(6 * MIB), Mode::Create).await.unwrap_err(),
        strangers.get(None, KEY).await.err().unwrap(),
    ] {
        assert_eq!(error.to_string(), "object store: access denied (SignatureDoesNotMatch)");
        assert!(!error.is_transient());
        assert!(!format!("{error:?}").contains("AKIATESTS") && !format!("{error:?}").contains("secret"));
    }
    let incomplete = [("AWS_ACCESS_KEY_ID".to_owned(), "AKIATESTS".to_owned())];
    let error = Objects::with_environment(&server.settings(), incomplete).err().unwrap();
    assert_eq!(error.to_string(), "object store: credentials that are incomplete");

    let mut settings = server.settings();
    settings.bucket = "nobodys-bucket".to_owned();
    let objects = server.objects_with(&settings);
    let error = write_all(&objects, KEY, b"x", Mode::Overwrite).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.is_transient()), ("object store: bucket not found", false));
}

#[tokio::test]
async fn an_unencrypted_store_has_to_be_allowed() {
    let server = S3Server::start();
    let mut settings = server.settings();
    settings.encryption = Encryption::None;
    let error = Objects::with_environment(&settings, []).err().unwrap();
    assert!(error.to_string().contains("objects.allow_unencrypted"), "{error}");
    settings.allow_unencrypted = true;
    assert!(Objects::with_environment(&settings, []).is_ok());
}

#[tokio::test]
async fn a_link_names_the_downloaded_file() {
    let server = S3Server::start();
    let objects = server.objects();
    write_all(&objects, KEY, b"x", Mode::Create).await.unwrap();
    let link = objects.link(None, KEY, &valid_for(60)).await.unwrap();
    let url = reqwest::Url::parse(&link).unwrap();
    let saved_as = url.query_pairs().find(|(name, _)| name == "response-content-disposition").unwrap().1;
    assert_eq!(saved_as, "attachment; filename=\"usage of march.csv\"");
    assert!(!link.contains("a-secret-that-nobody-may-see"));
    // Nor are the service's own links good for objects of S3.
    assert!(objects.verify_link(KEY, Utc::now().timestamp() + 60, "", Utc::now()).is_err());
    assert!(Place::S3(server).follow(&link, Utc::now()).await.is_some());
}

#[tokio::test]
async fn buckets_can_be_hosts() {
    let server = S3Server::start();
    let mut settings = server.settings();
    settings.path_style = false;
    settings.endpoint = "http://store.example.org:9000/".to_owned();
    let link = server.objects_with(&settings).link(Some(SECOND_BUCKET), KEY, &valid_for(60)).await.unwrap();
    assert!(link.starts_with(&format!("http://{SECOND_BUCKET}.store.example.org:9000/{KEY}?")), "{link}");
    settings.endpoint = String::new();
    let link = server.objects_with(&settings).link(None, KEY, &valid_for(60)).await.unwrap();
    assert!(link.starts_with(&format!("https://{BUCKET}.s3.eu-test-1.amazonaws.com/{KEY}?")), "{link}");
}
