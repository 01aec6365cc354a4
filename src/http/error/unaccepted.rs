//! What a caller whose credential is not accepted learns: no more than how to send one.

/// What is wrong with the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unaccepted {
    /// There is none.
    Missing,
    /// It is not good, or not any more.
    Refused,
    /// An API key, sent as a bearer token.
    KeyAsToken,
    /// A bearer token, sent as an API key.
    TokenAsKey,
    /// More than one, or one of another scheme.
    Ambiguous,
    /// A session of the console that has ended, or that never was.
    SessionEnded,
    /// What somebody signs in with.
    SignIn,
    /// A link to the console.
    Link,
}

impl Unaccepted {
    pub(super) const fn detail(self) -> &'static str {
        match self {
            Self::Missing => "a bearer token (Authorization: Bearer …) or an API key (X-API-Key: …) is required",
            Self::Refused => "the credential was not accepted",
            Self::KeyAsToken => "an API key belongs in the header X-API-Key, not in Authorization",
            Self::TokenAsKey => "a bearer token belongs in the header Authorization, not in X-API-Key",
            Self::SessionEnded => "the session has ended: sign in again",
            Self::SignIn => {
                "this was not accepted: check that it is whole, of this service, and has neither expired nor been revoked"
            }
            Self::Link => {
                "the link is not good, or not any more: each works once and not for long, so request another one"
            }
            Self::Ambiguous => "exactly one credential is required: Authorization: Bearer … or X-API-Key: …",
        }
    }
}
