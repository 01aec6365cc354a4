//! The console: the two ports that serve it, each to people of its own, and what it is to be signed in there.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{audit::CredentialKind, named::named};

named! {
    /// Whose console it is: that of organisations on the API's port, that of operators on the operations port.
    #[derive(Hash)]
    pub enum ConsolePort {
        Api = "api",
        Operations = "operations",
    } else UnknownPort
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be api or operations")]
pub struct UnknownPort;

/// What is held against a secret that a browser presents.
pub type SecretHash = [u8; 32];

/// What a session or a link stands for: the rights of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub subject: String,
    pub credential: CredentialKind,
    /// Of an API key. When that ends, so does the session.
    pub key_id: Option<Uuid>,
    pub org_ids: Vec<Uuid>,
    /// By their names.
    pub roles: Vec<String>,
}

/// A session that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleSession {
    pub grant: Grant,
    /// However much it is used.
    pub expires_at: DateTime<Utc>,
}
