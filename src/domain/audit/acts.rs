//! What the audit log records: one table, which the documentation repeats and tests hold against the routes and the commands.

/// When an act is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The caller; before it is done, or in the transaction that does it.
    Always,
    /// Of a system_admin outside its own orgs, before anything is read; and where it is refused, of anybody.
    OutsideOwnOrgs,
    /// Only where it is refused.
    Refused,
    /// Always, a moment after it was done; several of one address within a minute may be one row.
    Afterwards,
}

use Recorded::{Afterwards, Always, OutsideOwnOrgs, Refused};

/// Every act and when it is recorded.
pub const ACTS: &[(&str, Recorded)] = &[
    ("authenticate", Refused),
    ("actors.operate", Refused),
    ("console.link", Always),
    ("console.sign_in", Always),
    ("console.sign_out", Always),
    ("usage.read", OutsideOwnOrgs),
    ("reliability.read", OutsideOwnOrgs),
    ("freshness.read", OutsideOwnOrgs),
    ("ledger.read", OutsideOwnOrgs),
    ("revisions.read", OutsideOwnOrgs),
    ("events.read", OutsideOwnOrgs),
    ("dead_letters.read", OutsideOwnOrgs),
    ("dead_letters.replay", OutsideOwnOrgs),
    ("events.publish", OutsideOwnOrgs),
    ("events.validate", OutsideOwnOrgs),
    ("api_keys.manage", OutsideOwnOrgs),
    ("attribution.read", OutsideOwnOrgs),
    ("names.read", OutsideOwnOrgs),
    ("names.manage", OutsideOwnOrgs),
    ("exports.read", OutsideOwnOrgs),
    ("exports.request", OutsideOwnOrgs),
    ("summary.read", Always),
    ("unreadable.read", Always),
    ("audit.read", Always),
    ("api_key.create", Always),
    ("api_key.revoke", Always),
    ("name.set", Always),
    ("name.delete", Always),
    ("dead_letter.correct", Always),
    ("dead_letter.show", Always),
    ("export.create", Always),
    ("export.cancel", Always),
    ("export.download", Always),
    ("export.fetch", Afterwards),
    ("export.monthly", Always),
    ("export_bucket.set", Always),
    ("export_bucket.clear", Always),
    ("retention.set", Always),
    ("retention.clear", Always),
    ("actor.restart", Always),
    ("actor.drill", Always),
    ("org.erase", Always),
    ("actor.erase", Always),
    ("data.purge", Always),
    ("data.maintain", Always),
    ("rollups.refresh", Always),
    ("rollups.switch", Always),
    ("stream.replay", Always),
    ("partition.reset", Always),
    ("partition.layout", Always),
    ("partition.skip", Always),
    ("partition.acknowledge", Always),
    ("partition.reopen", Always),
];

/// When the act is recorded; none: it is no act of the table.
pub fn recorded(action: &str) -> Option<Recorded> {
    ACTS.iter().find(|(name, _)| *name == action).map(|(_, recorded)| *recorded)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_documentation_has_every_act_and_no_other() {
        let text = include_str!("../../../docs/security.md");
        let table = text.split("### What is recorded").nth(1).unwrap().split("\n### ").next().unwrap();
        let row = |line: &str| line.strip_prefix("| `").and_then(|rest| rest.split('|').next()).map(str::to_owned);
        let cells: Vec<String> = table.lines().filter_map(row).collect();
        let documented: BTreeSet<&str> =
            cells.iter().flat_map(|cell| cell.split(',')).map(|name| name.trim().trim_matches('`')).collect();
        assert_eq!(documented, ACTS.iter().map(|(name, _)| *name).collect());
    }
}
