//! S3 and what speaks its protocol. A large object is a multipart upload: it appears when that is completed, and what was sent
//! for one that never is costs space until it is aborted, so each upload that is not finished is.

mod upload;

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use object_store::{
    BackoffConfig, ClientOptions, Error, HeaderMap, HeaderValue, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey as Key, AwsCredentialProvider},
    client::{HttpClient, HttpConnector, ReqwestConnector},
    multipart::MultipartStore,
    path::Path,
    signer::{HeaderName, Method, SignedUrlOptions, Signer},
};

pub(super) use upload::S3Upload;

use super::{ObjectError, key};
use crate::config::{self, Encryption, RETRIES};

pub(super) struct S3 {
    pub(super) default_bucket: String,
    buckets: HashMap<String, Arc<Bucket>>,
}

/// One bucket in three manners.
pub(super) struct Bucket {
    pub(super) plain: AmazonS3,
    /// Sets the encryption. S3 refuses that of requests that do not begin an object.
    writing: AmazonS3,
    /// Completes uploads only where nothing is there yet. The library has no other way to do so.
    exclusive: AmazonS3,
    pub(super) timeout: Duration,
}

impl S3 {
    /// Looks for credentials in these variables, then at the machine's metadata service. Nothing is requested yet.
    pub(super) fn new(
        settings: &config::Objects,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ObjectError> {
        let failed = |error: Error| ObjectError::of(&error, settings.timeout());
        let options = client_options(settings);
        let mut builder = AmazonS3Builder::new().with_retry(retries(settings)).with_client_options(options.clone());
        for (name, value) in environment {
            let key = name.strip_prefix("AWS_").and_then(|_| name.to_ascii_lowercase().parse().ok());
            if let Some(key) = key.filter(tells_credentials) {
                builder = builder.with_config(key, value);
            }
        }
        if !settings.region.is_empty() {
            builder = builder.with_region(&settings.region);
        }
        let region = builder.get_config_value(&Key::Region);
        // One source of credentials and one pool of connections for all buckets.
        let first = builder.with_bucket_name(&settings.bucket).build();
        let credentials =
            first.map_err(|_| ObjectError::permanent("credentials that are incomplete"))?.credentials().clone();
        let http = ReqwestConnector::default().connect(&options).map_err(failed)?;
        let manner = Manner { settings, region, credentials, http };
        let buckets = settings.buckets().into_iter().map(|name| Ok((name.to_owned(), Arc::new(manner.bucket(name)?))));
        let buckets = buckets.collect::<Result<_, Error>>().map_err(failed)?;
        Ok(Self { default_bucket: settings.bucket.clone(), buckets })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.buckets.keys().map(String::as_str)
    }

    /// None where the bucket is not among those that may be used.
    pub(super) fn bucket(&self, name: Option<&str>) -> Option<&Arc<Bucket>> {
        self.buckets.get(name.unwrap_or(&self.default_bucket))
    }
}

/// Everything else that the environment could say of S3 is for settings to say.
fn tells_credentials(key: &Key) -> bool {
    matches!(
        key,
        Key::AccessKeyId
            | Key::SecretAccessKey
            | Key::Token
            | Key::Region
            | Key::DefaultRegion
            | Key::ImdsV1Fallback
            | Key::MetadataEndpoint
            | Key::ContainerCredentialsRelativeUri
            | Key::ContainerCredentialsFullUri
            | Key::ContainerAuthorizationTokenFile
            | Key::WebIdentityTokenFile
            | Key::RoleArn
            | Key::RoleSessionName
            | Key::StsEndpoint
    )
}

fn client_options(settings: &config::Objects) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(settings.allow_http)
        .with_connect_timeout(settings.timeout())
        // From the request to the first byte of the response, and from one byte of it to the next: a large object may take
        // as long as it goes on.
        .with_timeout_disabled()
        .with_read_timeout(settings.timeout())
        .with_content_type_for_suffix("csv", "text/csv; charset=utf-8")
        .with_content_type_for_suffix("json", "application/json")
}

fn retries(settings: &config::Objects) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
        },
        max_retries: RETRIES as usize,
        retry_timeout: settings.longest_call(),
    }
}

struct Manner<'a> {
    settings: &'a config::Objects,
    region: Option<String>,
    credentials: AwsCredentialProvider,
    http: HttpClient,
}

impl Manner<'_> {
    fn bucket(&self, name: &str) -> Result<Bucket, Error> {
        let settings = self.settings;
        let base = || {
            let mut builder = AmazonS3Builder::new()
                .with_retry(retries(settings))
                .with_http_connector(Shared(self.http.clone()))
                .with_credentials(self.credentials.clone())
                .with_bucket_name(name)
                .with_virtual_hosted_style_request(!settings.path_style)
                // Not all that speaks the protocol knows the request that deletes many.
                .with_disable_bulk_delete(true);
            if let Some(region) = &self.region {
                builder = builder.with_region(region);
            }
            if !settings.endpoint.is_empty() {
                builder = builder.with_endpoint(endpoint(settings, name));
            }
            builder
        };
        // These keys have names in the environment alone.
        let encryption = match settings.encryption {
            Encryption::None => None,
            Encryption::SseS3 => Some("AES256"),
            Encryption::SseKms => Some("aws:kms"),
        };
        let key_id = Some(settings.kms_key_id.as_str()).filter(|id| !id.is_empty());
        let mut writing = base().with_client_options(client_options(settings));
        for (name, value) in [("aws_server_side_encryption", encryption), ("aws_sse_kms_key_id", key_id)] {
            if let Some(value) = value {
                writing = writing.with_config(name.parse()?, value);
            }
        }
        let if_none_match =
            HeaderMap::from_iter([(HeaderName::from_static("if-none-match"), HeaderValue::from_static("*"))]);
        Ok(Bucket {
            plain: base().with_client_options(client_options(settings)).build()?,
            writing: writing.build()?,
            exclusive: base()
                .with_client_options(client_options(settings).with_default_headers(if_none_match))
                .build()?,
            timeout: settings.timeout(),
        })
    }
}

/// Where buckets are hosts, the library wants the bucket in an endpoint of our own.
fn endpoint(settings: &config::Objects, bucket: &str) -> String {
    match settings.endpoint.split_once("://") {
        Some((scheme, host)) if !settings.path_style => format!("{scheme}://{bucket}.{}", host.trim_end_matches('/')),
        _ => settings.endpoint.clone(),
    }
}

/// Gives the same client, and so its connections, to all.
#[derive(Debug)]
struct Shared(HttpClient);

impl HttpConnector for Shared {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

impl Bucket {
    fn failed(&self, error: &Error) -> ObjectError {
        ObjectError::of(error, self.timeout)
    }

    /// A link that needs no credentials.
    pub(super) async fn link(&self, path: &Path, file_name: &str, lifetime: Duration) -> Result<String, ObjectError> {
        let disposition = key::content_disposition(file_name);
        let options = SignedUrlOptions::new().with_query([("response-content-disposition", disposition)]);
        let url = self.plain.signed_url_opts(Method::GET, path, lifetime, &options).await;
        Ok(url.map_err(|error| self.failed(&error))?.into())
    }

    pub(super) async fn abort(&self, path: &Path, id: &str) -> Result<(), ObjectError> {
        match self.plain.abort_multipart(path, &id.to_owned()).await {
            Err(Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }
}

/// From now on, as S3 counts: by whole seconds, a week at most.
pub(super) fn lifetime(now: DateTime<Utc>, expires: DateTime<Utc>) -> Duration {
    (expires - now).clamp(TimeDelta::seconds(1), TimeDelta::days(7)).to_std().unwrap_or_default()
}
