//! The audit log: who did what, to which org, and what came of it.

pub mod acts;

use std::{fmt, net::IpAddr, time::Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    named::named,
    page::{Entry, Page},
};

/// Longest text that is kept of what comes from outside, in characters.
const MAX_TEXT: usize = 200;

named! {
    /// What came of it.
    pub enum Outcome {
        Allowed = "allowed",
        Denied = "denied",
        /// Allowed, and it did not come off.
        Failed = "failed",
    }
}

named! {
    /// The kind of credential that a caller was authenticated by.
    #[derive(ToSchema)]
    pub enum CredentialKind {
        /// By nothing that was accepted
        None = "none",
        Token = "token",
        ApiKey = "api_key",
        /// Anyone who may read the service's settings
        CommandLine = "command_line",
    }
}

/// Who does something, and by which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The credential's subject; none where none was accepted.
    pub subject: Option<String>,
    pub credential: CredentialKind,
    pub roles: Vec<&'static str>,
    pub request_id: Option<String>,
    pub address: Option<IpAddr>,
}

impl Actor {
    /// The user of the command line.
    pub fn command_line(name: String) -> Self {
        let credential = CredentialKind::CommandLine;
        Self { subject: Some(name), credential, roles: Vec::new(), request_id: None, address: None }
    }
}

/// Something that is to be recorded. It holds no secret, no token and nothing of an event.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// Version 7. Recorded again, it is the same one.
    pub id: Uuid,
    /// Its age is known whatever the clocks say.
    pub noted_at: Instant,
    /// Of how many it is the last, and when the first of them was where it is not the only one.
    pub count: u64,
    pub first_at: Option<Instant>,
    pub actor: Actor,
    pub action: &'static str,
    pub outcome: Outcome,
    pub org_id: Option<Uuid>,
    pub target: Option<String>,
    pub detail: Option<String>,
}

impl AuditEvent {
    pub fn new(actor: Actor, action: &'static str, outcome: Outcome) -> Self {
        debug_assert!(acts::recorded(action).is_some(), "{action} is not in the table of what is audited");
        let (id, noted_at) = (Uuid::now_v7(), Instant::now());
        let (count, first_at) = (1, None);
        Self { id, noted_at, count, first_at, actor, action, outcome, org_id: None, target: None, detail: None }
    }

    pub fn of_org(self, org_id: impl Into<Option<Uuid>>) -> Self {
        Self { org_id: org_id.into(), ..self }
    }

    /// One of many that belong to no caller in particular.
    pub fn of_nobody(mut self) -> Self {
        self.actor = Actor { subject: None, roles: Vec::new(), request_id: None, address: None, ..self.actor };
        self
    }

    pub fn target(self, target: impl fmt::Display) -> Self {
        Self { target: Some(target.to_string()), ..self }
    }

    pub fn detail(self, detail: impl fmt::Display) -> Self {
        Self { detail: Some(detail.to_string()), ..self }
    }
}

/// What comes from outside is cut, and rid of the one character that the database has no place for.
pub fn storable(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(MAX_TEXT).collect()
}

/// Something that was recorded
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    pub id: Uuid,
    pub occurred_at: DateTime<Utc>,
    /// The credential's subject; null where none was accepted
    pub subject: Option<String>,
    pub credential: CredentialKind,
    pub roles: Vec<String>,
    pub action: String,
    pub org_id: Option<Uuid>,
    /// What it was done to, such as a key's id
    pub target: Option<String>,
    pub outcome: Outcome,
    pub request_id: Option<String>,
    pub address: Option<String>,
    pub detail: Option<String>,
    /// So many of the same, the last at occurredAt
    pub count: u64,
    /// When the first of them was; null where there is one
    pub first_at: Option<DateTime<Utc>>,
}

/// A page of the audit log, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    pub start: Option<DateTime<Utc>>,
    pub end: Option<DateTime<Utc>>,
    pub org_id: Option<Uuid>,
    pub action: Option<String>,
    pub subject: Option<String>,
    pub outcome: Option<Outcome>,
    /// Those older than this one.
    pub before: Option<Uuid>,
    pub limit: u16,
}

pub type AuditPage = Page<AuditRecord>;

impl Entry for AuditRecord {
    fn id(&self) -> Uuid {
        self.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome.as_str().parse::<Outcome>().ok(), Some(outcome));
        }
        for kind in CredentialKind::ALL {
            assert_eq!(kind.as_str().parse::<CredentialKind>().ok(), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert!("nobody".parse::<CredentialKind>().is_err());
    }

    #[test]
    fn external_values_can_be_stored() {
        let text = storable(&format!("a\0b{}", "é".repeat(500)));
        assert!(text.starts_with("abé") && text.chars().count() == MAX_TEXT);
    }
}
