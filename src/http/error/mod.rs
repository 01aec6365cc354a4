//! The one mapping of whatever goes wrong to a response: RFC 7807.
//!
//! Every text is a constant or one of our own about a parameter that we know: nothing that the caller sent and nothing
//! internal is in it. Each `type` is documented in docs/problems.md.

mod body;
mod causes;
mod spec;
mod unaccepted;

use std::{borrow::Cow, fmt};

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{ALLOW, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use serde_json::{Value, json};

pub use self::{
    body::{Body, FieldError},
    unaccepted::Unaccepted,
};
use crate::{auth::Role, domain::event::Reason};

pub const PROBLEM_JSON: &str = "application/problem+json";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Parameters that are wrong: all of them.
    InvalidParameters(Vec<FieldError>),
    /// The request itself cannot be read.
    BadRequest,
    Unauthorized(Unaccepted),
    Forbidden,
    /// The org is the caller's, or none is concerned, and one of these roles is needed.
    MissingRole(Vec<Role>),
    /// There is nothing at this path, whatever its ids.
    NotFound,
    /// The path leads to things of a kind, and there is none of this id: what is missing.
    NoSuch(&'static str),
    MethodNotAllowed {
        allow: String,
    },
    /// Another correction was first.
    Conflict,
    BodyTooLarge,
    /// The body did not come in time.
    BodyLate,
    MediaType,
    /// The Idempotency-Key was used for another request.
    KeyReused,
    /// The org has as many active API keys as it may.
    TooManyApiKeys,
    /// The org has as many names as it may.
    TooManyNames,
    /// The org has as many open exports as it may.
    TooManyExports,
    /// The export has no file yet, or could not be generated.
    NoFile,
    /// The export's file is not kept any more.
    FileExpired,
    /// A signed link is not good, or not any more.
    LinkNotGood,
    /// It signs somebody in or out, and no page of the console has sent it.
    NotOfPage,
    /// The file has none of the bytes that are requested.
    NoSuchRange {
        length: u64,
    },
    /// Events over HTTP are switched off by a setting.
    EventsOff,
    /// Exports are not set up.
    ExportsOff,
    /// Seconds after which one more request is within the limit.
    RateLimited {
        retry_after: u32,
    },
    /// The same, for requests of an address that had no good credential.
    AddressLimited {
        retry_after: u32,
    },
    /// Responses of the tenant that are not read yet hold as many bytes as they may.
    UnreadResponses,
    Busy,
    Unavailable,
    TooSlow,
    Internal,
    /// An error of the framework that none of the others is, by its status.
    Other(StatusCode),
}

impl Problem {
    /// The problem of an error that the framework made.
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST => Self::BadRequest,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::MediaType,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            status if status.is_client_error() => Self::Other(status),
            _ => Self::Internal,
        }
    }

    /// Every rule that a body breaks.
    pub fn of_reasons(reasons: Vec<Reason>) -> Self {
        Self::InvalidParameters(reasons.into_iter().map(FieldError::from).collect())
    }

    pub fn field(field: &str, message: impl Into<String>) -> Self {
        Self::InvalidParameters(vec![FieldError { field: field.to_owned(), message: message.into() }])
    }

    /// One problem of each type, for the API's description.
    pub fn of_each_type() -> Vec<Self> {
        vec![
            Self::field("start", "is required"),
            Self::BadRequest,
            Self::Unauthorized(Unaccepted::Refused),
            Self::Forbidden,
            Self::NotFound,
            Self::MethodNotAllowed { allow: "GET, HEAD".to_owned() },
            Self::Conflict,
            Self::BodyTooLarge,
            Self::BodyLate,
            Self::MediaType,
            Self::KeyReused,
            Self::TooManyApiKeys,
            Self::TooManyNames,
            Self::TooManyExports,
            Self::NoFile,
            Self::FileExpired,
            Self::LinkNotGood,
            Self::NotOfPage,
            Self::NoSuchRange { length: 0 },
            Self::EventsOff,
            Self::RateLimited { retry_after: 1 },
            Self::UnreadResponses,
            Self::Busy,
            Self::Unavailable,
            Self::TooSlow,
            Self::Internal,
        ]
    }

    pub const fn status(&self) -> StatusCode {
        self.spec().0
    }

    /// The last part of the type.
    pub const fn slug(&self) -> &'static str {
        self.spec().1
    }

    pub const fn title(&self) -> &'static str {
        self.spec().2
    }

    /// Seconds after which the same request may go through.
    pub const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::RateLimited { retry_after } | Self::AddressLimited { retry_after } => Some(*retry_after),
            Self::TooManyExports => Some(10),
            Self::Busy | Self::UnreadResponses => Some(1),
            Self::Unavailable | Self::TooSlow => Some(5),
            _ => None,
        }
    }

    /// What went wrong, for people.
    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::MissingRole(roles) => {
                let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
                match names[..] {
                    [role] => format!("the role {role} is needed, and the credential does not have it").into(),
                    _ => {
                        format!("one of the roles {} is needed, and the credential has none of them", names.join(", "))
                            .into()
                    }
                }
            }
            _ => self.spec().3.into(),
        }
    }

    fn body<'a>(&'a self, request_id: Option<&'a str>) -> Body<'a> {
        let ((status, slug, title, _), detail) = (self.spec(), self.detail());
        Body {
            kind: format!("/problems/{slug}"),
            title,
            status: status.as_u16(),
            detail,
            instance: request_id.map(|id| format!("/requests/{id}")),
            request_id,
            errors: if let Self::InvalidParameters(errors) = self { Some(errors) } else { None },
        }
    }

    /// What the response looks like.
    pub fn example(&self) -> Value {
        json!(self.body(Some("4f6c1f0e-6f0b-4c0e-9d5e-3c8b8a1f2d77")))
    }

    /// The response, with the request's id where there is one.
    pub fn response(&self, request_id: Option<&str>) -> HttpResponse {
        let (status, body) = (self.status(), self.body(request_id));
        let mut response = HttpResponse::build(status);
        response.insert_header((CONTENT_TYPE, PROBLEM_JSON));
        response.insert_header((CACHE_CONTROL, "no-store"));
        if let Some(seconds) = self.retry_after() {
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        match self {
            // RFC 6750, section 3: without a credential no error code.
            Self::Unauthorized(Unaccepted::Missing) => {
                response.insert_header((WWW_AUTHENTICATE, "Bearer"));
            }
            Self::Unauthorized(_) => {
                response.insert_header((WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""));
            }
            Self::MethodNotAllowed { allow } => {
                response.insert_header((ALLOW, allow.as_str()));
            }
            Self::NoSuchRange { length } => {
                response.insert_header((CONTENT_RANGE, format!("bytes */{length}")));
            }
            _ => {}
        }
        response.json(body)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail())
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    /// Without the request's id: `observe` writes the response again with it.
    fn error_response(&self) -> HttpResponse {
        self.response(None)
    }
}
