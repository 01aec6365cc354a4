//! Who works at the command line, as the service's records name them.

use crate::domain::audit::{Actor, AuditEvent, Outcome};

/// `command-line/` and the variable `USER`.
pub fn name() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    format!("command-line/{}", user.as_deref().unwrap_or("unknown"))
}

/// What is done at the command line, for the audit log.
pub fn act(action: &'static str) -> AuditEvent {
    AuditEvent::new(Actor::command_line(name()), action, Outcome::Allowed)
}
