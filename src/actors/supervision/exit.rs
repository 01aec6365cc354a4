//! How an actor's end becomes known: a guard in its struct, whose drop runs on stop, failure and panic alike.

use std::fmt;

use actix::prelude::*;

/// Why an actor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was asked to.
    Stopped,
    Failed(String),
    /// Another process took over: this one must not go on.
    Fenced(String),
    Panicked,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Failed(why) | Self::Fenced(why) => f.write_str(why),
            Self::Panicked => f.write_str("panicked"),
        }
    }
}

/// An actor ended. Sent to its supervisor.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Exited {
    pub role: &'static str,
    /// Which start of the supervisor's children it belonged to.
    pub generation: u64,
    pub cause: Cause,
}

/// Lives in an actor's struct and reports when that is dropped.
pub struct ExitGuard {
    role: &'static str,
    generation: u64,
    supervisor: Recipient<Exited>,
    cause: Cause,
}

impl ExitGuard {
    pub fn new(role: &'static str, generation: u64, supervisor: Recipient<Exited>) -> Self {
        Self { role, generation, supervisor, cause: Cause::Stopped }
    }

    /// Notes why the actor is about to stop.
    pub fn note(&mut self, cause: Cause) {
        self.cause = cause;
    }
}

impl Drop for ExitGuard {
    fn drop(&mut self) {
        let cause = if std::thread::panicking() { Cause::Panicked } else { self.cause.clone() };
        self.supervisor.do_send(Exited { role: self.role, generation: self.generation, cause });
    }
}

/// Asks an actor to end now. What it has in flight is lost to it, never to the database.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    struct Supervisor(mpsc::UnboundedSender<Exited>);
    impl Actor for Supervisor {
        type Context = Context<Self>;
    }
    impl Handler<Exited> for Supervisor {
        type Result = ();
        fn handle(&mut self, exited: Exited, _: &mut Context<Self>) {
            let _ = self.0.send(exited);
        }
    }

    struct Child(ExitGuard);
    impl Actor for Child {
        type Context = Context<Self>;
    }
    #[derive(Message)]
    #[rtype(result = "()")]
    enum Do {
        Stop,
        Fail,
        PanicInHandler,
        PanicInFuture,
    }
    impl Handler<Do> for Child {
        type Result = ();
        fn handle(&mut self, order: Do, ctx: &mut Context<Self>) {
            match order {
                Do::Stop => ctx.stop(),
                Do::Fail => {
                    self.0.note(Cause::Failed("no luck".to_owned()));
                    ctx.stop();
                }
                Do::PanicInHandler => panic!("in a handler"),
                Do::PanicInFuture => {
                    ctx.spawn(async { panic!("in a future") }.into_actor(self));
                }
            }
        }
    }

    #[actix::test]
    async fn every_kind_of_end_is_reported_once() {
        let (sender, mut exits) = mpsc::unbounded_channel();
        let supervisor = Supervisor(sender).start();
        for (n, (order, cause)) in [
            (Do::Stop, Cause::Stopped),
            (Do::Fail, Cause::Failed("no luck".to_owned())),
            (Do::PanicInHandler, Cause::Panicked),
            (Do::PanicInFuture, Cause::Panicked),
        ]
        .into_iter()
        .enumerate()
        {
            // On a thread of its own, as in the service: a panic here would end the test instead.
            let guard = ExitGuard::new("child", n as u64, supervisor.clone().recipient());
            let child = Child::start_in_arbiter(&Arbiter::new().handle(), |_| Child(guard));
            child.do_send(order);
            drop(child);
            let exited = exits.recv().await.unwrap();
            assert_eq!((exited.generation, exited.cause), (n as u64, cause));
        }
        assert!(exits.try_recv().is_err());
    }
}
