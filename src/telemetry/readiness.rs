//! Readiness: where each part of the service says how it is, and `/readyz` reads it.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Names of the dependencies.
pub const DATABASE: &str = "database";
pub const BROKER: &str = "broker";
pub const CACHE: &str = "cache";
/// The object store of exports.
pub const OBJECTS: &str = "objects";
/// Where the keys of tokens come from.
pub const JWKS: &str = "jwks";

/// The background jobs that the database runs for the service: never down, with a remark.
pub const JOBS: &str = "background_jobs";

/// The API's own port, as the process itself sees it respond.
pub const API: &str = "api";

/// What the process as a whole is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    #[default]
    Starting,
    Serving,
    Draining,
}

/// How a dependency or a partition is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    Up,
    /// Away for now; the service goes on without it and says `degraded`.
    Down {
        since: DateTime<Utc>,
        cause: String,
    },
    /// Wrong in a way that waiting does not fix, such as an API that does not respond: no traffic must come here.
    Unfit {
        cause: String,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct Component {
    /// A dependency (`database`, `broker`) or a partition (`partition/0`).
    pub name: String,
    #[serde(flatten)]
    pub state: State,
    /// What is worth knowing even when all is well, such as what the database's edition cannot do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ready,
    Degraded,
    Starting,
    Draining,
    Unfit,
}

impl Status {
    /// A dependency that is away takes no instance out of service: it would take all of them at once.
    pub const fn takes_traffic(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded)
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    pub status: Status,
    /// In order of name.
    pub components: Vec<Component>,
}

/// A handle on the shared state: clones see the same.
#[derive(Clone, Default)]
pub struct Readiness(Arc<RwLock<Inner>>);

#[derive(Default)]
struct Inner {
    phase: Phase,
    components: BTreeMap<String, (State, Option<String>)>,
    /// Of components that several actors report: each of these, and why it is down for it.
    reporters: BTreeMap<(String, String), Option<String>>,
}

impl Readiness {
    pub fn set_phase(&self, phase: Phase) {
        self.write().phase = phase;
    }

    /// Whether the process is asked to end.
    pub fn is_draining(&self) -> bool {
        self.read().phase == Phase::Draining
    }

    /// Reports a component's state. Being down again keeps the moment when it first went down.
    pub fn set(&self, name: &str, state: State) {
        let mut inner = self.write();
        match inner.components.get_mut(name) {
            Some((State::Down { cause, .. }, _)) if matches!(state, State::Down { .. }) => {
                if let State::Down { cause: latest, .. } = state {
                    *cause = latest;
                }
            }
            Some((current, _)) => *current = state,
            None => {
                inner.components.insert(name.to_owned(), (state, None));
            }
        }
    }

    /// Forgets a component that is not this process's any more.
    pub fn remove(&self, name: &str) {
        self.write().components.remove(name);
    }

    pub fn up(&self, name: &str) {
        self.set(name, State::Up);
    }

    /// Down from now, unless it was down already. The cause is shown on the operations port: no secret, no event.
    pub fn down(&self, name: &str, cause: impl Into<String>) {
        self.set(name, State::Down { since: Utc::now(), cause: cause.into() });
    }

    /// One of several that use a component reports it down: it is while it is for anybody.
    pub fn down_for(&self, name: &str, who: &str, cause: impl Into<String>) {
        let cause = cause.into();
        self.write().reporters.insert((name.to_owned(), who.to_owned()), Some(cause.clone()));
        self.down(name, cause);
    }

    pub fn up_for(&self, name: &str, who: &str) {
        self.write().reporters.insert((name.to_owned(), who.to_owned()), None);
        self.judge(name);
    }

    /// That reporter does not use it any more: its last report is dropped, and with the last reporter the component.
    pub fn forget(&self, name: &str, who: &str) {
        if self.write().reporters.remove(&(name.to_owned(), who.to_owned())).is_some() {
            self.judge(name);
        }
    }

    /// By what its reporters say.
    fn judge(&self, name: &str) {
        let said: Vec<Option<String>> = {
            let inner = self.read();
            let of_it = inner.reporters.iter().filter(|((component, _), _)| component == name);
            of_it.map(|(_, cause)| cause.clone()).collect()
        };
        if said.is_empty() {
            self.remove(name);
        } else if let Some(cause) = said.into_iter().flatten().next() {
            self.down(name, cause);
        } else {
            self.up(name);
        }
    }

    /// Adds a remark to a component that has reported before.
    pub fn detail(&self, name: &str, detail: impl Into<String>) {
        if let Some((_, remark)) = self.write().components.get_mut(name) {
            *remark = Some(detail.into());
        }
    }

    /// Whether a component is up; none: it has not reported, or is not used any more.
    pub fn is_up(&self, name: &str) -> Option<bool> {
        self.read().components.get(name).map(|(state, _)| *state == State::Up)
    }

    pub fn snapshot(&self) -> Snapshot {
        let inner = self.read();
        let components: Vec<Component> = inner
            .components
            .iter()
            .map(|(name, (state, detail))| Component {
                name: name.clone(),
                state: state.clone(),
                detail: detail.clone(),
            })
            .collect();
        let any = |wanted: fn(&State) -> bool| components.iter().any(|component| wanted(&component.state));
        let status = match inner.phase {
            Phase::Draining => Status::Draining,
            _ if any(|state| matches!(state, State::Unfit { .. })) => Status::Unfit,
            Phase::Starting => Status::Starting,
            Phase::Serving if any(|state| *state != State::Up) => Status::Degraded,
            Phase::Serving => Status::Ready,
        };
        Snapshot { status, components }
    }

    // A panic while the lock was held leaves a whole state: every change is a single assignment.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_away_degrades_and_takes_nothing_out() {
        let readiness = Readiness::default();
        readiness.up("database");
        assert_eq!(readiness.snapshot().status, Status::Starting);
        readiness.set_phase(Phase::Serving);
        assert_eq!(readiness.snapshot().status, Status::Ready);
        readiness.down("broker", "connection refused");
        assert_eq!(readiness.snapshot().status, Status::Degraded);
        assert!(readiness.snapshot().status.takes_traffic());
        readiness.up("broker");
        assert_eq!(readiness.snapshot().status, Status::Ready);
        readiness.set_phase(Phase::Draining);
        assert!(!readiness.snapshot().status.takes_traffic());
    }

    #[test]
    fn a_shared_component_is_down_for_any_reporter() {
        let readiness = Readiness::default();
        let state = || readiness.snapshot().components.first().map(|component| component.state.clone());
        readiness.down_for("broker", "partition/0", "refused");
        readiness.up_for("broker", "partition/1");
        assert!(matches!(state(), Some(State::Down { cause, .. }) if cause == "refused"));
        readiness.down_for("broker", "partition/1", "timed out");
        readiness.up_for("broker", "partition/0");
        assert!(matches!(state(), Some(State::Down { cause, .. }) if cause == "timed out"));
        readiness.forget("broker", "partition/1");
        assert_eq!(state(), Some(State::Up));
        readiness.forget("broker", "partition/0");
        assert_eq!(state(), None, "nobody here knows any more");
    }

    #[test]
    fn a_wrong_schema_takes_the_process_out() {
        let readiness = Readiness::default();
        readiness.set_phase(Phase::Serving);
        readiness.set("schema", State::Unfit { cause: "the schema's version is 1, not 2".into() });
        assert!(!readiness.snapshot().status.takes_traffic());
    }

    #[test]
    fn a_repeated_outage_keeps_its_first_moment() {
        let readiness = Readiness::default();
        let first = DateTime::UNIX_EPOCH;
        readiness.set("database", State::Down { since: first, cause: "refused".into() });
        readiness.down("database", "timed out");
        let component = readiness.snapshot().components.remove(0);
        assert_eq!(component.state, State::Down { since: first, cause: "timed out".into() });
    }
}
