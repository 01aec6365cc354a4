//! What each problem is called, and what it says.

use actix_web::http::StatusCode;

use super::Problem;

/// Status, the last part of the type, title, detail.
type ProblemSpec = (StatusCode, &'static str, &'static str, &'static str);

impl Problem {
    pub(super) const fn spec(&self) -> ProblemSpec {
        match self {
            Self::InvalidParameters(_) => (
                StatusCode::BAD_REQUEST,
                "invalid-parameters",
                "Invalid parameters",
                "one or more parameters are wrong: errors names each and what it may be",
            ),
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad-request", "Bad request", "the request cannot be read"),
            Self::Unauthorized(why) => (StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", why.detail()),
            // Which roles is in `detail`.
            Self::Forbidden | Self::MissingRole(_) => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "Forbidden",
                "the credential does not allow this, or not for this organisation",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found", "there is nothing at this path"),
            Self::NoSuch(missing) => (StatusCode::NOT_FOUND, "not-found", "Not found", missing),
            Self::MethodNotAllowed { .. } => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
                "the Allow header lists the methods of this path",
            ),
            Self::Conflict => (
                StatusCode::CONFLICT,
                "already-corrected",
                "Already corrected",
                "the first correction of a message counts, and it was another event than this one",
            ),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-large",
                "Body too large",
                "the request's body is larger than is accepted",
            ),
            Self::BodyLate => {
                (StatusCode::REQUEST_TIMEOUT, "body-late", "Body late", "the request's body did not come in time")
            }
            Self::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Unsupported media type",
                "the body must be application/json, without a Content-Encoding",
            ),
            Self::EventsOff => (
                StatusCode::NOT_FOUND,
                "not-enabled",
                "Not enabled",
                "events are not accepted over HTTP here: publish them to the stream, or have ingest.enabled set to true",
            ),
            Self::ExportsOff => (
                StatusCode::NOT_FOUND,
                "not-enabled",
                "Not enabled",
                "there are no exports here: they need an object store, which objects.store sets up",
            ),
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "Idempotency-Key reused",
                "this Idempotency-Key was used for another request: take a new one",
            ),
            Self::TooManyApiKeys => (
                StatusCode::CONFLICT,
                "too-many-api-keys",
                "Too many API keys",
                "this organisation has as many active API keys as it may: revoke one first",
            ),
            Self::TooManyNames => (
                StatusCode::CONFLICT,
                "too-many-names",
                "Too many names",
                "this organisation has as many names as it may: delete one first",
            ),
            Self::TooManyExports => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-exports",
                "Too many exports",
                "this organisation has as many open exports as it may: try again when some are done",
            ),
            Self::NoFile => (
                StatusCode::CONFLICT,
                "no-file",
                "No file",
                "the export has no file yet, or could not be generated: its status says which",
            ),
            Self::FileExpired => (
                StatusCode::GONE,
                "file-expired",
                "File expired",
                "the export's file is not kept any more: request a new one",
            ),
            Self::LinkNotGood => (
                StatusCode::FORBIDDEN,
                "link-not-good",
                "Link not good",
                "the link is not good, or not any more: the export's download gives a new one",
            ),
            Self::NotOfPage => (
                StatusCode::FORBIDDEN,
                "not-of-the-console",
                "Not of the console",
                "only the console's own pages sign in and out: their requests have the header X-Console, and no page of \
                 another origin causes them",
            ),
            Self::NoSuchRange { .. } => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "no-such-range",
                "No such range",
                "the file has none of these bytes",
            ),
            Self::RateLimited { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate-limited",
                "Too many requests",
                "the credential, or all clients of this organisation together, sent too many requests: try again after the time \
                 in Retry-After",
            ),
            Self::AddressLimited { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate-limited",
                "Too many requests",
                "too many requests of this address had no good credential: try again after the time in Retry-After",
            ),
            Self::UnreadResponses => (
                StatusCode::TOO_MANY_REQUESTS,
                "unread-responses",
                "Unread responses",
                "responses of this organisation that are not read yet hold as many bytes as they may: read them, or try \
                 again after the time in Retry-After",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Busy",
                "too many requests are in progress: try again after the time in Retry-After",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Unavailable",
                "a server that this request needs does not respond at the moment: try again after the time in Retry-After",
            ),
            Self::TooSlow => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too-slow",
                "Too slow",
                "the response took too long: try again after the time in Retry-After, or request a shorter range",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Internal error",
                "the request failed inside the service: name the requestId when you report it",
            ),
            Self::Other(status) => (*status, "refused", "Refused", "the request was refused"),
        }
    }
}
