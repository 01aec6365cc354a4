//! Group: what the supervisor knows of actors that start and end together.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Addr, Handler, Recipient, SpawnHandle};
use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;
use tokio::sync::oneshot;

use super::{
    exit::{Cause, Drain, End, ExitGuard, Exited},
    liveness::Liveness,
    policy::Restarts,
    registry::{ActorState, GroupEntry},
    vitals::{Supervised, Vitals},
};

/// An actor of a group before it has an address: its name, and what it may wait for.
pub struct Stage {
    name: String,
    liveness: Liveness,
    deadline: Duration,
}

impl Stage {
    /// It has nothing to finish: in an orderly end it is ended after those that have.
    pub fn ends<A: Supervised + Handler<End>>(self, actor: &Addr<A>) -> Member {
        let Self { name, liveness, deadline } = self;
        Member { name, end: actor.clone().recipient(), drain: None, liveness, deadline }
    }

    /// It finishes what it has begun when it is drained, then ends.
    pub fn drains<A: Supervised + Handler<End> + Handler<Drain>>(self, actor: &Addr<A>) -> Member {
        let drain = Some(actor.clone().recipient());
        Member { drain, ..self.ends(actor) }
    }
}

/// An actor of a group, as its supervisor holds it.
pub struct Member {
    pub name: String,
    pub end: Recipient<End>,
    /// Members that have one are drained in their order; the others are ended after the last of them.
    pub drain: Option<Recipient<Drain>>,
    pub liveness: Liveness,
    /// Longest that it may be at work without progress.
    pub deadline: Duration,
}

/// What the members of one start of a group are made with.
#[derive(Clone)]
pub struct Launch {
    pub(super) group: Arc<str>,
    pub(super) generation: u64,
    pub(super) supervisor: Recipient<Exited>,
}

impl Launch {
    /// A member of that name, which may be at work for so long without progress; and what it is to own.
    pub fn stage(&self, name: String, deadline: Duration) -> (Stage, Vitals) {
        let exit = ExitGuard::new(Arc::clone(&self.group), name.clone(), self.generation, self.supervisor.clone());
        let liveness = Liveness::default();
        (Stage { name, liveness: liveness.clone(), deadline }, Vitals::new(liveness, exit))
    }
}

/// Creates all members of a group. May wait for what they need; starts them all at once at its end.
///
/// # Errors
/// Why they cannot be started; `Stopped` where there is nothing to start any more.
pub type Start = Box<dyn FnMut(Launch) -> LocalBoxFuture<'static, Result<Vec<Member>, Cause>> + Send>;

/// What becomes of a group that is out of restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// It rests, the others go on.
    Park,
    /// The process ends with the cause.
    Escalate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its start waits for what the members need.
    Starting,
    Running,
    /// Its members were asked to end.
    Ending,
    /// Its members finish what they have begun, one after another.
    Draining,
    /// It waits for its next start.
    Restarting,
    /// As well, for long.
    Parked,
}

pub struct Group {
    pub start: Start,
    pub exhausted: Exhausted,
    pub restarts: Restarts,
    pub generation: u64,
    pub phase: Phase,
    pub entered: Instant,
    since: DateTime<Utc>,
    /// Those that have not ended.
    pub members: Vec<Member>,
    /// Ends that were reported before the start itself was over.
    pub early: Vec<Exited>,
    /// The member that drains now.
    draining: Option<String>,
    /// Why the first of them ended.
    pub failed: Option<(String, Cause)>,
    /// Of the last failure, for operators.
    pub cause: Option<String>,
    pub next_attempt: Option<Duration>,
    /// What the phases Starting, Restarting and Parked wait for.
    pub task: Option<SpawnHandle>,
    /// To be started again at once when it has ended.
    pub restart_requested: bool,
    /// To be forgotten when it has ended.
    pub leaving: bool,
    pub waiting: Vec<oneshot::Sender<()>>,
}

impl Group {
    pub fn new(start: Start, exhausted: Exhausted) -> Self {
        Self {
            start,
            exhausted,
            restarts: Restarts::default(),
            generation: 0,
            phase: Phase::Starting,
            entered: Instant::now(),
            since: Utc::now(),
            members: Vec::new(),
            early: Vec::new(),
            draining: None,
            failed: None,
            cause: None,
            next_attempt: None,
            task: None,
            restart_requested: false,
            leaving: false,
            waiting: Vec::new(),
        }
    }

    pub fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.entered = Instant::now();
        self.since = Utc::now();
        self.next_attempt = None;
    }

    /// Notes that a member has ended; false where it was not known to live.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.members.len();
        self.members.retain(|member| member.name != name);
        self.members.len() < before
    }

    pub fn end_all(&mut self) {
        self.enter(Phase::Ending);
        self.members.iter().for_each(|member| member.end.do_send(End::Stop));
    }

    pub fn drain(&mut self) {
        self.enter(Phase::Draining);
        self.drain_next();
    }

    /// A member has ended in order: the next one's turn, if it was this one's.
    pub fn drain_on(&mut self, ended: &str) {
        if self.draining.as_deref() == Some(ended) {
            self.drain_next();
        }
    }

    fn drain_next(&mut self) {
        self.draining = None;
        for member in &mut self.members {
            if let Some(drain) = member.drain.take() {
                self.draining = Some(member.name.clone());
                drain.do_send(Drain);
                return;
            }
        }
        // Nothing is in flight any more.
        self.members.iter().for_each(|member| member.end.do_send(End::Stop));
    }

    pub fn entry(&self, restarts: usize) -> GroupEntry {
        GroupEntry {
            state: match self.phase {
                Phase::Starting => ActorState::Starting,
                Phase::Running => ActorState::Running,
                Phase::Ending | Phase::Restarting => ActorState::Restarting,
                Phase::Parked => ActorState::Parked,
                Phase::Draining => ActorState::Draining,
            },
            generation: self.generation,
            restarts,
            since: self.since,
            cause: self.cause.clone(),
            next_attempt_at: self.next_attempt.map(|after| self.since + after),
            members: self.members.iter().map(|member| (member.name.clone(), member.liveness.clone())).collect(),
        }
    }
}
