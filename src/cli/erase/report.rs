//! What an erasure says of itself.

use std::{fmt, process::ExitCode};

use serde::Serialize;
use uuid::Uuid;

use crate::{
    cli::maintenance::Summary,
    store::{lifecycle::erase::Counts, rollups::recount::Rebuilt},
};

const STREAM: &str = "the broker's stream may still have messages of it: they are not read again by themselves, but \
    `partitions reset` to before them would store them again, and `replay --partition` would keep rejected ones again";
const LATER: &str = "messages that were not read yet, and those that are sent again, are stored when they come: run this \
    again then";

/// Whose data it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasee {
    Org(Uuid),
    /// In one org or in all of them.
    Person {
        actor_id: Uuid,
        org_id: Option<Uuid>,
    },
}

impl fmt::Display for Erasee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Org(org_id) => write!(f, "organisation {org_id}"),
            Self::Person { actor_id, org_id: None } => write!(f, "person {actor_id}"),
            Self::Person { actor_id, org_id: Some(org_id) } => write!(f, "person {actor_id} in organisation {org_id}"),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    org_id: Option<Uuid>,
    actor_id: Option<Uuid>,
    dry_run: bool,
    pub removed: Counts,
    /// What was counted afterwards.
    pub left: Counts,
    /// Days of orgs that were counted again without the person.
    days_counted_again: u64,
    /// Rollups that changed by that.
    rollups_put: u64,
    /// Rollups that no raw event stands behind any more.
    rollups_removed: u64,
    /// Final hours that changed by that.
    revisions_added: u64,
    /// What could not be checked, and why.
    pub not_checked: Vec<String>,
    notes: [&'static str; 2],
}

impl Report {
    pub fn new(erasee: Erasee, dry_run: bool) -> Self {
        let (org_id, actor_id) = match erasee {
            Erasee::Org(org_id) => (Some(org_id), None),
            Erasee::Person { actor_id, org_id } => (org_id, Some(actor_id)),
        };
        Self {
            org_id,
            actor_id,
            dry_run,
            removed: Counts::default(),
            left: Counts::default(),
            days_counted_again: 0,
            rollups_put: 0,
            rollups_removed: 0,
            revisions_added: 0,
            not_checked: Vec::new(),
            notes: [STREAM, LATER],
        }
    }

    pub fn counted_again(&mut self, rebuilt: Rebuilt) {
        self.days_counted_again += 1;
        self.rollups_put += rebuilt.put;
        self.rollups_removed += rebuilt.removed;
        self.revisions_added += rebuilt.revisions;
    }

    /// Whether nothing is left, as far as there is anything to check.
    pub fn holds(&self) -> bool {
        self.left.is_nothing() && self.not_checked.is_empty()
    }

    /// For the audit log: it says how much, and nothing of what it was.
    pub fn in_short(&self) -> String {
        format!("left {}; removed {}", words(&self.left), words(&self.removed))
    }

    fn erasee(&self) -> Option<Erasee> {
        match (self.actor_id, self.org_id) {
            (Some(actor_id), org_id) => Some(Erasee::Person { actor_id, org_id }),
            (None, org_id) => org_id.map(Erasee::Org),
        }
    }
}

impl Summary for Report {
    fn line(&self) -> String {
        let erasee = self.erasee().map_or_else(String::new, |erasee| erasee.to_string());
        let mut text = String::new();
        for what in &self.not_checked {
            text += &format!("not checked: {what}\n");
        }
        if self.dry_run {
            return text + &format!("erase: {erasee}: would remove {}; nothing was changed", words(&self.left));
        }
        text += &format!("removed: {}\n", words(&self.removed));
        if self.days_counted_again > 0 {
            let Self { days_counted_again: days, rollups_put, rollups_removed, revisions_added, .. } = self;
            text += &format!(
                "counted again: {days} days, {rollups_put} rollups put, {rollups_removed} removed, \
                 {revisions_added} revisions\n"
            );
        }
        text += &format!("left: {}\n", words(&self.left));
        for note in self.notes {
            text += &format!("note: {note}\n");
        }
        let outcome = if self.holds() { "nothing of it is left" } else { "not all of it is gone, run this again" };
        text + &format!("erase: {erasee}: {outcome}")
    }

    /// Without the ids: of erasee nothing may be left, nothing is.
    fn for_the_record(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(Self { org_id: None, actor_id: None, ..self.clone() })
    }

    fn exit_code(&self) -> ExitCode {
        if self.dry_run || self.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Those that are not zero.
fn words(counts: &Counts) -> String {
    let some: Vec<String> =
        counts.named().iter().filter(|(_, n)| *n != 0).map(|(name, n)| format!("{n} {name}")).collect();
    if some.is_empty() { "nothing".to_owned() } else { some.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORG: Uuid = Uuid::from_u128(7);

    #[test]
    fn the_record_of_an_erasure_names_no_person() {
        let mut report = Report::new(Erasee::Org(ORG), false);
        report.removed = Counts { raw_events: 3, api_keys: 1, ..Counts::default() };
        assert_eq!(report.in_short(), "left nothing; removed 3 raw events, 1 API keys");
        let text = report.line();
        assert!(text.ends_with(&format!("erase: organisation {ORG}: nothing of it is left")), "{text}");
        assert!(text.contains("`partitions reset`"), "{text}");
        assert!(!report.for_the_record().unwrap().to_string().contains(&ORG.to_string()));

        report.left.dead_letters = 2;
        assert!(!report.holds());
        assert!(report.line().contains("left: 2 dead letters"));
        report.left = Counts::default();
        report.not_checked.push("markers in Redis: away".to_owned());
        assert!(!report.holds(), "what was not looked at may be left");
    }

    #[test]
    fn a_dry_run_only_says_what_there_is() {
        let erasee = Erasee::Person { actor_id: Uuid::from_u128(8), org_id: Some(ORG) };
        let mut report = Report::new(erasee, true);
        report.left.raw_events = 5;
        let expected = format!("erase: {erasee}: would remove 5 raw events; nothing was changed");
        assert_eq!(report.line(), expected);
        assert_eq!(report.exit_code(), ExitCode::SUCCESS);
    }
}
