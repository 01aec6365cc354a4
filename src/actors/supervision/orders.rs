//! The supervisor's messages: which groups to supervise, which to end, and what operators request of an actor.

use actix::prelude::*;
use tokio::sync::oneshot;

use super::{
    exit::End,
    group::{Exhausted, Group, Phase, Start},
    log::Note,
    supervisor::Supervisor,
};
use crate::domain::supervision::SupervisionKind;

/// Supervise this group from now on. An existing group of that name stays as it is.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Supervise {
    pub name: String,
    pub exhausted: Exhausted,
    pub start: Start,
}

impl Handler<Supervise> for Supervisor {
    type Result = ();

    fn handle(&mut self, Supervise { name, exhausted, start }: Supervise, ctx: &mut Self::Context) {
        if !self.groups.contains_key(&name) {
            self.groups.insert(name.clone(), Group::new(start, exhausted));
            self.begin(&name, ctx);
        }
    }
}

/// End this group for good. Its result comes when it has ended, at once where there is none.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Retire {
    pub name: String,
    pub mode: StopMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// What is in flight is finished.
    Drain,
    /// Now.
    Drop,
}

impl Handler<Retire> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Retire { name, mode }: Retire, ctx: &mut Self::Context) -> Self::Result {
        let Some(group) = self.groups.get_mut(&name) else { return Box::pin(async {}) };
        let (sender, ended) = oneshot::channel();
        group.waiting.push(sender);
        group.leaving = true;
        match group.phase {
            Phase::Running if mode == StopMode::Drain => group.drain(),
            Phase::Running | Phase::Draining if mode == StopMode::Drop => group.end_all(),
            Phase::Running | Phase::Draining | Phase::Ending => {}
            Phase::Starting | Phase::Restarting | Phase::Parked => {
                if let Some(task) = group.task.take() {
                    ctx.cancel_future(task);
                }
                self.finish(&name);
            }
        }
        self.publish(&name);
        Box::pin(async move {
            // Closed: the supervisor is gone, and the group with it.
            let _ = ended.await;
        })
    }
}

/// An operator's order: restart the group of this actor now, with all its restarts.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), RestartError>")]
pub struct Restart {
    pub actor: String,
    pub by_whom: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    #[error("there is no actor of this name in this process")]
    Unknown,
    #[error("the actor is about to end")]
    Leaving,
}

impl Handler<Restart> for Supervisor {
    type Result = Result<(), RestartError>;

    fn handle(&mut self, Restart { actor, by_whom }: Restart, ctx: &mut Self::Context) -> Self::Result {
        let name = self.parts.registry.group_of(&actor).ok_or(RestartError::Unknown)?;
        let group = self.groups.get_mut(&name).ok_or(RestartError::Unknown)?;
        if group.leaving {
            return Err(RestartError::Leaving);
        }
        let note = Note::new(&actor, SupervisionKind::RestartRequested).generation(group.generation);
        self.parts.log.note(note.by_whom(by_whom));
        group.restarts.forgive();
        match group.phase {
            Phase::Running => {
                group.restart_requested = true;
                group.end_all();
                self.publish(&name);
            }
            // What they wait for does not come sooner by a restart.
            Phase::Starting => {}
            Phase::Ending | Phase::Draining => group.restart_requested = true,
            Phase::Restarting | Phase::Parked => {
                if let Some(task) = group.task.take() {
                    ctx.cancel_future(task);
                }
                self.begin(&name, ctx);
            }
        }
        Ok(())
    }
}

/// An operator's drill: make this actor fail.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), RestartError>")]
pub struct Drill {
    pub actor: String,
    pub end: End,
    pub by_whom: String,
}

impl Handler<Drill> for Supervisor {
    type Result = Result<(), RestartError>;

    fn handle(&mut self, Drill { actor, end, by_whom }: Drill, _: &mut Self::Context) -> Self::Result {
        let name = self.parts.registry.group_of(&actor).ok_or(RestartError::Unknown)?;
        let group = self.groups.get(&name).ok_or(RestartError::Unknown)?;
        let member = group.members.iter().find(|member| member.name == actor).ok_or(RestartError::Unknown)?;
        let note = Note::new(&actor, SupervisionKind::Drilled).generation(group.generation);
        self.parts.log.note(note.cause(format!("{end:?}")).by_whom(by_whom));
        member.end.do_send(end);
        Ok(())
    }
}
