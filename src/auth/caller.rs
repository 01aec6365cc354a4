//! The contract's role table, and the caller that it is applied to.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    api_key::{Holder, KeyRole},
    audit::CredentialKind,
    console::{ConsoleSession, Grant},
    named::named,
};

named! {
    pub enum Role {
        OrgViewer = "org_viewer",
        OrgAdmin = "org_admin",
        Finance = "finance",
        Producer = "producer",
        SystemAdmin = "system_admin",
        Operator = "operator",
    } else UnknownRole
}

/// What a route requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    ReadUsage,
    ReadReliability,
    ReadFreshness,
    ReadLedger,
    ReadRevisions,
    /// Of every org.
    ReadSummary,
    ReadDeadLetters,
    /// Correcting a dead letter.
    ReplayDeadLetters,
    /// Dead letters that do not name their org; of no org, so not confined to any.
    ReadUnreadable,
    /// Publishing events of an org.
    PublishEvents,
    /// Checking events of an org.
    ValidateEvents,
    /// What became of an event.
    ReadEvents,
    /// An org's API keys: to see, create and revoke them.
    ManageKeys,
    ReadAudit,
    /// Who spent it.
    ReadAttribution,
    /// What an org's ids are called.
    ReadNames,
    ManageNames,
    /// Exports and their files.
    ReadExports,
    /// Having files generated, cancelled and checked.
    RequestExports,
}

impl Permission {
    /// Those that have it.
    pub fn roles(self) -> Vec<Role> {
        Role::ALL.into_iter().filter(|role| role.may(self)).collect()
    }

    /// What using it is called in the audit log.
    pub const fn action(self) -> &'static str {
        match self {
            Self::ReadUsage => "usage.read",
            Self::ReadReliability => "reliability.read",
            Self::ReadFreshness => "freshness.read",
            Self::ReadLedger => "ledger.read",
            Self::ReadRevisions => "revisions.read",
            Self::ReadSummary => "summary.read",
            Self::ReadDeadLetters => "dead_letters.read",
            Self::ReplayDeadLetters => "dead_letters.replay",
            Self::ReadUnreadable => "unreadable.read",
            Self::PublishEvents => "events.publish",
            Self::ValidateEvents => "events.validate",
            Self::ReadEvents => "events.read",
            Self::ManageKeys => "api_keys.manage",
            Self::ReadAudit => "audit.read",
            Self::ReadAttribution => "attribution.read",
            Self::ReadNames => "names.read",
            Self::ManageNames => "names.manage",
            Self::ReadExports => "exports.read",
            Self::RequestExports => "exports.request",
        }
    }
}

impl Role {
    /// The role table of the contract, for the orgs that a role applies to.
    pub const fn may(self, permission: Permission) -> bool {
        match permission {
            Permission::ReadUsage
            | Permission::ReadLedger
            | Permission::ReadRevisions
            | Permission::ReadAttribution
            | Permission::ReadNames => {
                matches!(self, Self::OrgViewer | Self::OrgAdmin | Self::Finance | Self::SystemAdmin)
            }
            Permission::ReadReliability | Permission::ReadFreshness | Permission::ReadEvents => {
                matches!(self, Self::OrgViewer | Self::OrgAdmin | Self::SystemAdmin)
            }
            Permission::ReadDeadLetters
            | Permission::ReplayDeadLetters
            | Permission::ManageKeys
            | Permission::ManageNames => {
                matches!(self, Self::OrgAdmin | Self::SystemAdmin)
            }
            Permission::ReadUnreadable | Permission::ReadSummary | Permission::ReadAudit => {
                matches!(self, Self::SystemAdmin)
            }
            Permission::ReadExports | Permission::RequestExports => {
                matches!(self, Self::OrgAdmin | Self::Finance | Self::SystemAdmin)
            }
            Permission::PublishEvents => matches!(self, Self::Producer | Self::SystemAdmin),
            Permission::ValidateEvents => matches!(self, Self::Producer | Self::OrgAdmin | Self::SystemAdmin),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("must be org_viewer, org_admin, finance, producer, system_admin or operator")]
pub struct UnknownRole;

/// By what a caller was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A bearer token.
    Token,
    /// The API key of this id.
    ApiKey(Uuid),
    /// A link to the console that was made at the command line.
    Link,
}

impl Credential {
    pub const fn kind(self) -> CredentialKind {
        match self {
            Self::Token => CredentialKind::Token,
            Self::ApiKey(_) => CredentialKind::ApiKey,
            Self::Link => CredentialKind::CommandLine,
        }
    }
}

/// Whose credential a request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The credential's subject.
    pub subject: String,
    pub org_ids: Vec<Uuid>,
    pub roles: Vec<Role>,
    pub credential: Credential,
    /// When the credential expires; none: it does not.
    pub expires_at: Option<DateTime<Utc>>,
}

impl From<KeyRole> for Role {
    fn from(role: KeyRole) -> Self {
        match role {
            KeyRole::OrgViewer => Self::OrgViewer,
            KeyRole::OrgAdmin => Self::OrgAdmin,
            KeyRole::Finance => Self::Finance,
            KeyRole::Producer => Self::Producer,
        }
    }
}

impl Caller {
    /// The holder of an API key.
    pub fn of_key(key_id: Uuid, holder: Holder) -> Self {
        Self {
            subject: Self::subject_of_key(key_id),
            org_ids: vec![holder.org_id],
            roles: vec![holder.role.into()],
            credential: Credential::ApiKey(key_id),
            expires_at: holder.expires_at,
        }
    }

    /// Whoever is signed in to the console: the caller that the session stands for. None where it stands for nothing that a caller
    /// can have.
    pub fn of_session(ConsoleSession { grant, expires_at }: ConsoleSession) -> Option<Self> {
        let credential = match (grant.credential, grant.key_id) {
            (CredentialKind::Token, _) => Credential::Token,
            (CredentialKind::ApiKey, Some(key_id)) => Credential::ApiKey(key_id),
            (CredentialKind::CommandLine, _) => Credential::Link,
            (CredentialKind::ApiKey | CredentialKind::None, _) => return None,
        };
        Some(Self {
            subject: grant.subject,
            org_ids: grant.org_ids,
            // As in tokens, those that are not known are ignored.
            roles: grant.roles.iter().filter_map(|role| role.parse().ok()).collect(),
            credential,
            expires_at: Some(expires_at),
        })
    }

    /// What a session of the caller stands for.
    pub fn grant(&self) -> Grant {
        let key_id = match self.credential {
            Credential::ApiKey(key_id) => Some(key_id),
            Credential::Token | Credential::Link => None,
        };
        Grant {
            subject: self.subject.clone(),
            credential: self.credential.kind(),
            key_id,
            org_ids: self.org_ids.clone(),
            roles: self.roles.iter().map(|role| role.as_str().to_owned()).collect(),
        }
    }

    /// The organisation that what the caller does is counted with: the first of its own.
    pub fn tenant(&self) -> Option<Uuid> {
        self.org_ids.first().copied()
    }

    /// What a key is called where subjects are.
    pub fn subject_of_key(key_id: Uuid) -> String {
        format!("api-key/{}", key_id.simple())
    }

    /// Whether the caller may do this to an org. A system_admin may to every org; what it does outside its own is an
    /// audit event.
    pub fn may(&self, permission: Permission, org_id: Uuid) -> bool {
        let own = self.org_ids.contains(&org_id);
        self.roles.iter().any(|role| role.may(permission) && (own || *role == Role::SystemAdmin))
    }

    /// Whether the caller may do this to some org, or where no org is concerned.
    pub fn may_anywhere(&self, permission: Permission) -> bool {
        self.roles.iter().any(|role| role.may(permission))
    }

    /// Whether the caller may change something on the operations port. Nothing there is an org's.
    pub fn may_operate(&self) -> bool {
        self.roles.contains(&Role::Operator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_system_admins_reach_other_orgs() {
        let (own, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for role in Role::ALL {
            let caller = Caller {
                subject: "s".into(),
                org_ids: vec![own],
                roles: vec![role],
                credential: Credential::Token,
                expires_at: None,
            };
            assert_eq!(caller.may(Permission::ReadUsage, own), role.may(Permission::ReadUsage), "{role}");
            assert_eq!(caller.may(Permission::ReadUsage, other), role == Role::SystemAdmin, "{role}");
        }
        let anonymous = Caller {
            subject: "s".into(),
            org_ids: vec![own],
            roles: vec![],
            credential: Credential::Token,
            expires_at: None,
        };
        assert!(!anonymous.may(Permission::ReadUsage, own));
        let both = Caller { roles: vec![Role::OrgViewer, Role::Operator], ..anonymous };
        assert!(!both.may(Permission::ReadUsage, other));
    }

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse::<Role>().ok(), Some(role));
        }
        assert!("Org_viewer".parse::<Role>().is_err());
    }
}
