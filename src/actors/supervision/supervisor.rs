//! Supervisor: the root of the actors. Groups fail one for one, the members of a group one for all.
//! In: Supervise, Retire, Restart, Drill; Exited from members. Out: Fatal to the composition root.
//! Failure: a group's → restarted with backoff; out of restarts → parked, or the process ends. Its own → the process ends.
//! Bound: one pipeline of each group at a time; a group starts again only when all of its members have ended.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use actix::prelude::*;
use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::{
    exit::{Cause, Exited, panic_text},
    group::{Exhausted, Group, Launch, Member, Phase},
    log::{Note, SupervisionLog},
    policy::{Policy, Verdict},
    registry::Registry,
};
use crate::{
    config,
    domain::supervision::SupervisionKind,
    telemetry::{metrics::Metrics, readiness::Readiness},
};

/// How often stalled members are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A member that was asked to end and has not after so long has its thread blocked: only the process's end helps.
const END_GRACE: Duration = Duration::from_secs(10);
/// A look that comes so late means that the process was frozen.
const FROZEN: Duration = Duration::from_secs(5);
/// A fenced group looks again whether its partition is its own after so long.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The process cannot go on; the text says why.
pub struct Fatal(pub String);

pub struct Supervisor {
    pub(super) parts: SupervisorParts,
    policy: Policy,
    pub(super) groups: BTreeMap<String, Group>,
    born: Instant,
    /// When stalled members were looked for last.
    looked: Instant,
}

#[derive(Clone)]
pub struct SupervisorParts {
    pub settings: config::Supervision,
    pub log: SupervisionLog,
    pub registry: Registry,
    pub metrics: Metrics,
    pub readiness: Readiness,
    pub fatal: mpsc::UnboundedSender<Fatal>,
}

impl Supervisor {
    pub fn new(parts: SupervisorParts) -> Self {
        Self {
            policy: Policy::of(&parts.settings),
            parts,
            groups: BTreeMap::new(),
            born: Instant::now(),
            looked: Instant::now(),
        }
    }

    /// Makes the members of a group.
    pub(super) fn begin(&mut self, name: &str, ctx: &mut Context<Self>) {
        let Some(group) = self.groups.get_mut(name) else { return };
        group.generation += 1;
        group.early.clear();
        if group.generation > 1 {
            self.parts.metrics.actor_restarted(name);
        }
        group.enter(Phase::Starting);
        let (generation, supervisor) = (group.generation, ctx.address().recipient());
        let launch = Launch { group: name.into(), generation, supervisor };
        let starting = std::panic::catch_unwind(AssertUnwindSafe(|| (group.start)(launch)));
        let name = name.to_owned();
        let starting = async move {
            let Ok(starting) = starting else { return Err(Cause::Panicked(panic_text())) };
            AssertUnwindSafe(starting).catch_unwind().await.unwrap_or_else(|_| Err(Cause::Panicked(panic_text())))
        };
        self.publish(&name);
        let started = starting.into_actor(self).map({
            let name = name.clone();
            move |outcome, actor, ctx| actor.started(&name, outcome, ctx)
        });
        let handle = ctx.spawn(started);
        if let Some(group) = self.groups.get_mut(&name) {
            group.task = Some(handle);
        }
    }

    fn started(&mut self, name: &str, outcome: Result<Vec<Member>, Cause>, ctx: &mut Context<Self>) {
        let Some(group) = self.groups.get_mut(name) else { return };
        group.task = None;
        match outcome {
            Ok(members) => {
                group.members = members;
                for exited in group.early.drain(..) {
                    ctx.notify(exited);
                }
                group.enter(Phase::Running);
                let what = if group.generation == 1 { SupervisionKind::Started } else { SupervisionKind::Restarted };
                self.parts.log.note(Note::new(name, what).generation(group.generation));
                self.parts.readiness.up(name);
                self.publish(name);
            }
            Err(cause) => {
                group.failed = Some((name.to_owned(), cause));
                self.ended(name, ctx);
            }
        }
    }

    /// All members have ended: what now?
    fn ended(&mut self, name: &str, ctx: &mut Context<Self>) {
        let now = self.born.elapsed();
        let Some(group) = self.groups.get_mut(name) else { return };
        let failed = group.failed.take();
        let requested = std::mem::take(&mut group.restart_requested);
        if group.leaving {
            return self.finish(name);
        }
        let (member, cause) = match failed {
            _ if requested => return self.begin(name, ctx),
            // There was nothing to start any more.
            Some((_, Cause::Stopped)) if group.phase == Phase::Starting => return self.finish(name),
            Some(failed) => failed,
            None => (name.to_owned(), Cause::Stopped),
        };
        let why = if member == name { cause.to_string() } else { format!("{member}: {cause}") };
        let note = |what| Note::new(name, what).generation(group.generation).cause(&why);
        group.cause = Some(why.clone());
        match cause {
            Cause::Fenced(_) => {
                self.parts.log.note(note(SupervisionKind::Fenced));
                group.enter(Phase::Restarting);
                self.begin_after(name, LOOK_AGAIN, ctx);
            }
            Cause::Unfit(_) if group.exhausted == Exhausted::Park => self.park(name, &why, ctx),
            Cause::Unfit(_) => self.escalate(name, &why, why.clone()),
            Cause::Stopped | Cause::Failed(_) | Cause::Panicked(_) => match group.restarts.failed(&self.policy, now) {
                Verdict::Restart { within } => {
                    let delay = within.mul_f64(rand::random_range(0.0..=1.0));
                    self.parts.log.note(note(SupervisionKind::Failed).next_attempt(delay));
                    self.parts.readiness.down(name, &why);
                    group.enter(Phase::Restarting);
                    self.begin_after(name, delay, ctx);
                }
                Verdict::Exhausted if group.exhausted == Exhausted::Park => {
                    self.parts.log.note(note(SupervisionKind::Failed));
                    self.park(name, &why, ctx);
                }
                Verdict::Exhausted => self.escalate(name, &why, format!("{name} is out of restarts: {why}")),
            },
        }
    }

    /// The process cannot do without it.
    fn escalate(&mut self, name: &str, why: &str, fatal: String) {
        let Some(group) = self.groups.get_mut(name) else { return };
        self.parts.log.note(Note::new(name, SupervisionKind::Escalated).generation(group.generation).cause(why));
        self.parts.readiness.down(name, why);
        // Nothing of it is left that the process's drain could wait for.
        group.enter(Phase::Parked);
        self.publish(name);
        self.give_up(fatal);
    }

    fn park(&mut self, name: &str, why: &str, ctx: &mut Context<Self>) {
        let pause = self.parts.settings.park();
        let Some(group) = self.groups.get_mut(name) else { return };
        let note = Note::new(name, SupervisionKind::Parked).generation(group.generation).cause(why).next_attempt(pause);
        self.parts.log.note(note);
        self.parts.readiness.down(name, why);
        group.restarts.forgive();
        group.enter(Phase::Parked);
        self.begin_after(name, pause, ctx);
    }

    fn begin_after(&mut self, name: &str, delay: Duration, ctx: &mut Context<Self>) {
        let later = name.to_owned();
        let handle = ctx.run_later(delay, move |actor, ctx| actor.begin(&later, ctx));
        if let Some(group) = self.groups.get_mut(name) {
            group.task = Some(handle);
            group.next_attempt = Some(delay);
        }
        self.publish(name);
    }

    /// The group has ended for good.
    pub(super) fn finish(&mut self, name: &str) {
        let Some(group) = self.groups.remove(name) else { return };
        self.parts.log.note(Note::new(name, SupervisionKind::Stopped).generation(group.generation));
        self.parts.registry.remove(name);
        self.parts.readiness.remove(name);
        self.parts.metrics.actor_ended(name);
        // Who waited may be gone.
        for waiting in group.waiting {
            let _ = waiting.send(());
        }
    }

    pub(super) fn publish(&mut self, name: &str) {
        let now = self.born.elapsed();
        if let Some(group) = self.groups.get_mut(name) {
            self.parts.metrics.actor_up(name, matches!(group.phase, Phase::Running | Phase::Draining));
            let restarts = group.restarts.within(&self.policy, now);
            self.parts.registry.set(name, group.entry(restarts));
        }
    }

    /// Ends what is stalled, and the process where even that does not help.
    fn look(&mut self) {
        let late = self.looked.elapsed().saturating_sub(LOOK_EVERY);
        self.looked = Instant::now();
        if late > FROZEN {
            // Every actor stood still: none of them is at fault.
            self.groups.values_mut().for_each(|group| group.entered += late);
            return;
        }
        let mut stuck = None;
        for (name, group) in &mut self.groups {
            if matches!(group.phase, Phase::Running | Phase::Draining)
                && let Some(member) = group.members.iter().find(|member| member.liveness.stuck() > member.deadline)
            {
                let why = format!("no progress for {} ms", member.liveness.stuck().as_millis());
                let note = Note::new(&member.name, SupervisionKind::Stalled).generation(group.generation);
                self.parts.log.note(note.cause(&why));
                group.failed = Some((member.name.clone(), Cause::Failed(why)));
                group.end_all();
            } else if group.phase == Phase::Ending && group.entered.elapsed() > END_GRACE {
                stuck = group.members.first().map(|member| format!("{} of {name} does not end", member.name));
            }
        }
        if let Some(why) = stuck {
            self.give_up(why);
        }
    }

    fn give_up(&self, why: String) {
        // The composition root may be gone already, on its own way out.
        let _ = self.parts.fatal.send(Fatal(why));
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(LOOK_EVERY, |actor, _| actor.look());
    }
}

impl Handler<Exited> for Supervisor {
    type Result = ();

    fn handle(&mut self, exited: Exited, ctx: &mut Self::Context) {
        let Some(group) = self.groups.get_mut(&*exited.group) else { return };
        if exited.generation != group.generation {
            return;
        }
        if group.phase == Phase::Starting {
            group.early.push(exited);
            return;
        }
        if !group.remove(&exited.member) {
            return;
        }
        tracing::debug!(actor = exited.member, cause = %exited.cause, "ended");
        match group.phase {
            Phase::Draining if exited.cause == Cause::Stopped => group.drain_on(&exited.member),
            // The first end is the cause; the others are asked to end.
            Phase::Running | Phase::Draining => {
                group.failed = Some((exited.member, exited.cause));
                group.end_all();
            }
            _ => {}
        }
        if group.members.is_empty() {
            self.ended(&exited.group, ctx);
        } else {
            self.publish(&exited.group);
        }
    }
}
