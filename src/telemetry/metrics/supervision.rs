//! What the supervisor and its log count.

use super::{Actor, Metrics, Scope, SupervisionKind, of};

impl Metrics {
    pub fn actor_restarted(&self, actor: &str) {
        self.series.actor_restarts.get_or_create(&of::actor_restarts { actor: Actor(actor.to_owned()) }).inc();
    }

    pub fn actor_up(&self, actor: &str, up: bool) {
        self.series.begin(&Scope::Actor(actor));
        self.series.actor_up.get_or_create(&of::actor_up { actor: Actor(actor.to_owned()) }).set(i64::from(up));
    }

    /// It is none of this process's any more: another one may have the partition.
    pub fn actor_ended(&self, actor: &str) {
        self.series.actor_up.remove(&of::actor_up { actor: Actor(actor.to_owned()) });
    }

    pub fn supervision_event(&self, actor: &str, what: SupervisionKind) {
        self.series
            .supervision_events
            .get_or_create(&of::supervision_events { actor: Actor(actor.to_owned()), what })
            .inc();
    }
}
