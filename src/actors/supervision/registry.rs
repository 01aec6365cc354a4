//! What every actor is doing, for operators: one table that supervisors write and the operations port reads.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{liveness::Liveness, position::PartitionPosition};
use crate::domain::named::named;

named! {
    #[derive(Deserialize)]
    pub enum ActorState {
        /// What it needs to start is waited for.
        Starting = "starting",
        Running = "running",
        /// Failed; it starts again soon.
        Restarting = "restarting",
        /// Out of restarts: it waits for an operator, or for a long time.
        Parked = "parked",
        Draining = "draining",
    }
}

/// A group as its supervisor describes it; its members run while it does.
#[derive(Clone, Debug)]
pub struct GroupEntry {
    pub state: ActorState,
    pub generation: u64,
    /// Restarts that count against the limit.
    pub restarts: usize,
    pub since: DateTime<Utc>,
    /// Of its last failure.
    pub cause: Option<String>,
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub members: Vec<(String, Liveness)>,
}

/// Clones see the same table.
#[derive(Clone, Default)]
pub struct Registry(Arc<RwLock<Tables>>);

#[derive(Default)]
struct Tables {
    groups: BTreeMap<String, GroupEntry>,
    /// The group of every member, also while that is away: just then operators name it.
    homes: BTreeMap<String, String>,
    progress: BTreeMap<String, PartitionPosition>,
}

impl Registry {
    pub fn set(&self, group: &str, entry: GroupEntry) {
        let mut tables = self.write();
        tables.homes.extend(entry.members.iter().map(|(member, _)| (member.clone(), group.to_owned())));
        tables.groups.insert(group.to_owned(), entry);
    }

    pub fn remove(&self, group: &str) {
        let mut tables = self.write();
        tables.groups.remove(group);
        tables.homes.retain(|_, home| home != group);
        tables.progress.remove(group);
    }

    pub fn contains(&self, group: &str) -> bool {
        self.read().groups.contains_key(group)
    }

    /// Whether there is a group of that name whose members do not run.
    pub fn rests(&self, group: &str) -> bool {
        let tables = self.read();
        let state = tables.groups.get(group).map(|entry| entry.state);
        matches!(state, Some(ActorState::Starting | ActorState::Restarting | ActorState::Parked))
    }

    pub fn is_parked(&self, group: &str) -> bool {
        self.read().groups.get(group).is_some_and(|entry| entry.state == ActorState::Parked)
    }

    /// The progress that a partition's actors share, made when it is first requested.
    pub fn progress(&self, group: &str) -> PartitionPosition {
        self.write().progress.entry(group.to_owned()).or_default().clone()
    }

    /// The group that an actor belongs to: itself, or the one that it is a member of whenever that runs.
    pub fn group_of(&self, actor: &str) -> Option<String> {
        let tables = self.read();
        if tables.groups.contains_key(actor) {
            return Some(actor.to_owned());
        }
        tables.homes.get(actor).cloned()
    }

    /// The tree under the root, in the order of names.
    pub fn tree(&self) -> Vec<ActorView> {
        let tables = self.read();
        tables.groups.iter().map(|(name, entry)| entry.view(name, tables.progress.get(name))).collect()
    }

    // A panic while the lock was held leaves whole tables: every change is a single one.
    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An actor as `/ops/actors` shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActorView {
    pub name: String,
    pub state: ActorState,
    pub generation: u64,
    /// Restarts after failures that counted against the limit when the state last changed; none is by an operator.
    pub restarts: usize,
    /// In this state since then.
    pub since: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Pieces of work that are begun and not done.
    pub in_flight: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_progress_at: Option<DateTime<Utc>>,
    /// Next stream offset to commit, of a partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ActorView>,
}

impl GroupEntry {
    fn view(&self, name: &str, progress: Option<&PartitionPosition>) -> ActorView {
        let mut view = ActorView {
            name: name.to_owned(),
            state: self.state,
            generation: self.generation,
            restarts: self.restarts,
            since: self.since,
            cause: self.cause.clone(),
            next_attempt_at: self.next_attempt_at,
            in_flight: self.members.iter().map(|(_, liveness)| liveness.in_flight()).sum(),
            last_progress_at: self.members.iter().map(|(_, liveness)| ago(liveness.silent())).max(),
            offset: progress.filter(|progress| progress.incarnation() > 0).map(PartitionPosition::committed_offset),
            lag_seconds: progress.and_then(PartitionPosition::lag).map(|lag| lag.as_secs_f64()),
            children: Vec::new(),
        };
        // A group of one is its member.
        let members = self.members.iter().filter(|(member, _)| member != name);
        view.children = members.map(|(member, liveness)| view.member(member, liveness)).collect();
        view
    }
}

impl ActorView {
    fn member(&self, name: &str, liveness: &Liveness) -> Self {
        Self {
            name: name.to_owned(),
            cause: None,
            next_attempt_at: None,
            in_flight: liveness.in_flight(),
            last_progress_at: Some(ago(liveness.silent())),
            offset: None,
            lag_seconds: None,
            children: Vec::new(),
            ..*self
        }
    }
}

fn ago(duration: Duration) -> DateTime<Utc> {
    Utc::now() - TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(members: &[&str]) -> GroupEntry {
        GroupEntry {
            state: ActorState::Running,
            generation: 2,
            restarts: 1,
            since: DateTime::UNIX_EPOCH,
            cause: Some("writer/0: no luck".to_owned()),
            next_attempt_at: None,
            members: members.iter().map(|name| ((*name).to_owned(), Liveness::default())).collect(),
        }
    }

    #[test]
    fn the_tree_shows_members_below_their_group() {
        let registry = Registry::default();
        registry.set("freshness", entry(&["freshness"]));
        registry.set("partition/0", entry(&["consumer/0", "writer/0"]));
        registry.progress("partition/0").claimed(1, 17);
        let tree = registry.tree();
        assert_eq!(tree.iter().map(|actor| actor.name.as_str()).collect::<Vec<_>>(), ["freshness", "partition/0"]);
        assert!(tree[0].children.is_empty());
        assert_eq!(tree[1].offset, Some(17));
        assert_eq!(
            tree[1].children.iter().map(|actor| actor.name.as_str()).collect::<Vec<_>>(),
            ["consumer/0", "writer/0"]
        );
        assert_eq!(registry.group_of("writer/0").as_deref(), Some("partition/0"));
        assert_eq!(registry.group_of("writer/1"), None);
        assert!(!registry.rests("partition/0") && !registry.rests("partition/1"));
        registry.set("partition/0", GroupEntry { state: ActorState::Parked, ..entry(&[]) });
        assert!(registry.rests("partition/0"));
        registry.set("partition/0", entry(&[]));
        assert_eq!(registry.group_of("writer/0").as_deref(), Some("partition/0"), "while it rests");
        registry.remove("partition/0");
        assert_eq!(registry.group_of("writer/0"), None);
        assert!(!registry.contains("partition/0"));
    }
}
