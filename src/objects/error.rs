//! Why the object store refused or failed, in words that a person can act on.

use std::{error::Error, io, time::Duration};

use object_store::client::{HttpError, HttpErrorKind};

/// Never holds what the store returned: that may have parts of credentials and signatures.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The store's trouble or the network's: the same may go through later.
    #[error("object store: {0}")]
    Transient(String),
    /// Will not go away by itself: settings, rights, a name that cannot be.
    #[error("object store: {0}")]
    Permanent(String),
    #[error("object store: no such object")]
    NotFound,
    /// Something is there that must not be overwritten.
    #[error("object store: the object exists already")]
    Exists,
}

impl ObjectError {
    /// Whether the same may go through later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }

    pub(super) fn permanent(reason: impl Into<String>) -> Self {
        Self::Permanent(reason.into())
    }

    pub(super) fn transient(reason: impl Into<String>) -> Self {
        Self::Transient(reason.into())
    }

    /// What the library says, where one request is waited for at most `timeout`.
    pub(super) fn of(error: &object_store::Error, timeout: Duration) -> Self {
        use object_store::Error as E;
        let refusal = Refusal::of(error);
        let code = refusal.code.as_deref();
        match (error, code) {
            (_, Some("NoSuchBucket")) => Self::permanent("bucket not found"),
            (_, Some("NoSuchUpload")) => Self::permanent("the upload was ended by another process"),
            // Two requests about one object at the same moment.
            (_, Some("ConditionalRequestConflict" | "OperationAborted")) => {
                Self::transient("another request about the same object is under way")
            }
            (_, Some("ExpiredToken" | "RequestTimeout" | "SlowDown" | "InternalError")) => {
                Self::transient(refusal.text())
            }
            (E::NotFound { .. }, _) => Self::NotFound,
            (E::AlreadyExists { .. } | E::Precondition { .. }, _) => Self::Exists,
            (E::PermissionDenied { .. } | E::Unauthenticated { .. }, Some(code)) => {
                Self::permanent(format!("access denied ({code})"))
            }
            (E::PermissionDenied { .. } | E::Unauthenticated { .. }, None) => Self::permanent("access denied"),
            _ => Self::deeper(error, &refusal, timeout),
        }
    }

    /// What has no name of its own in the library.
    fn deeper(error: &(dyn Error + 'static), refusal: &Refusal, timeout: Duration) -> Self {
        if chain(error).any(|cause| cause.to_string().contains("/latest/api/token")) {
            return Self::transient("no credentials in the environment, nor from the machine's metadata service");
        }
        // The status first: a request that was refused was not lost.
        match refusal.status {
            Some(408 | 429 | 500..=599) => return Self::transient(refusal.text()),
            Some(300..=399) => return Self::permanent("the bucket is in another region, or behind another endpoint"),
            Some(_) => return Self::permanent(refusal.text()),
            None => {}
        }
        for cause in chain(error) {
            if let Some(error) = cause.downcast_ref::<io::Error>() {
                return Self::of_io(error);
            }
            if let Some(error) = cause.downcast_ref::<HttpError>() {
                return Self::transient(match error.kind() {
                    HttpErrorKind::Timeout => format!("no response within {} ms", timeout.as_millis()),
                    HttpErrorKind::Connect => "no connection".to_owned(),
                    _ => "the connection was lost".to_owned(),
                });
            }
            if cause.to_string().contains("redirect without LOCATION") {
                return Self::permanent("the bucket is in another region, or behind another endpoint");
            }
        }
        Self::transient("a response that cannot be read")
    }

    pub(super) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull => Self::transient("no space left on device"),
            io::ErrorKind::QuotaExceeded => Self::transient("disk quota exceeded"),
            io::ErrorKind::PermissionDenied => Self::permanent("the folder's rights do not allow it"),
            io::ErrorKind::ReadOnlyFilesystem => Self::permanent("the folder is on a read-only disk"),
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::AlreadyExists => Self::Exists,
            // Of the texts only what the system says of the number: others may have paths.
            _ => match error.raw_os_error() {
                Some(number) => Self::transient(io::Error::from_raw_os_error(number).to_string().to_lowercase()),
                None => Self::transient("the disk failed"),
            },
        }
    }
}

/// What a server returned in place of doing it.
struct Refusal {
    status: Option<u16>,
    code: Option<String>,
}

impl Refusal {
    /// The library keeps status and body in its texts alone. Of the response only the error's code is taken.
    fn of(error: &(dyn Error + 'static)) -> Self {
        let mut refusal = Self { status: None, code: None };
        for cause in chain(error) {
            let text = cause.to_string();
            if refusal.status.is_none() {
                let status = text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3));
                refusal.status = status.and_then(|digits| digits.parse().ok());
            }
            if refusal.code.is_none() {
                let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
                refusal.code = code
                    .map(|(code, _)| code.to_owned())
                    .filter(|code| (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric()));
            }
        }
        refusal
    }

    fn text(&self) -> String {
        match (self.status, &self.code) {
            (Some(status), Some(code)) => format!("the store returned {status} ({code})"),
            (Some(status), None) => format!("the store returned {status}"),
            (None, Some(code)) => format!("the store returned {code}"),
            (None, None) => "the store refuses".to_owned(),
        }
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_millis(5000);

    fn generic(source: impl Into<Box<dyn Error + Send + Sync>>) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: source.into() }
    }

    fn said(error: &object_store::Error) -> (String, bool) {
        let error = ObjectError::of(error, WITHIN);
        (error.to_string(), error.is_transient())
    }

    #[test]
    fn a_full_disk_is_a_transient_error() {
        let full = io::Error::from_raw_os_error(28);
        assert_eq!(said(&generic(full)), ("object store: no space left on device".to_owned(), true));
        let denied = io::Error::new(io::ErrorKind::PermissionDenied, "/srv/secret/place");
        assert_eq!(said(&generic(denied)), ("object store: the folder's rights do not allow it".to_owned(), false));
        let other = io::Error::from_raw_os_error(5);
        assert_eq!(said(&generic(other)), ("object store: input/output error (os error 5)".to_owned(), true));
    }

    #[test]
    fn a_refusal_is_reported_by_its_code() {
        let response = |status: &str, code: &str| {
            generic(format!(
                "Server returned non-2xx status code: {status}: <Error><Code>{code}</Code>\
                 <AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>"
            ))
        };
        for (status, code, expected, transient) in [
            ("503 Service Unavailable", "SlowDown", "the store returned 503 (SlowDown)", true),
            ("500 Internal Server Error", "Odd one", "the store returned 500", true),
            ("400 Bad Request", "InvalidRequest", "the store returned 400 (InvalidRequest)", false),
            ("400 Bad Request", "ExpiredToken", "the store returned 400 (ExpiredToken)", true),
            ("404 Not Found", "NoSuchBucket", "bucket not found", false),
            (
                "301 Moved Permanently",
                "PermanentRedirect",
                "the bucket is in another region, or behind another endpoint",
                false,
            ),
        ] {
            assert_eq!(said(&response(status, code)), (format!("object store: {expected}"), transient));
        }
        let denied = object_store::Error::PermissionDenied {
            path: "key".to_owned(),
            source: "status code: 403 Forbidden: <Code>SignatureDoesNotMatch</Code><StringToSign>x</StringToSign>"
                .into(),
        };
        assert_eq!(said(&denied), ("object store: access denied (SignatureDoesNotMatch)".to_owned(), false));
    }

    #[test]
    fn silent_and_unreachable_stores_are_distinguished() {
        let lost = |kind| generic(HttpError::new(kind, io::Error::other("detail")));
        for (kind, expected) in [
            (HttpErrorKind::Timeout, "no response within 5000 ms"),
            (HttpErrorKind::Connect, "no connection"),
            (HttpErrorKind::Interrupted, "the connection was lost"),
        ] {
            assert_eq!(said(&lost(kind)), (format!("object store: {expected}"), true));
        }
    }
}
