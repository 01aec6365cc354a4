//! How actors are asked to end and how their end becomes known: a guard in the actor's struct, whose drop runs on stop,
//! failure and panic alike.

use std::{cell::RefCell, fmt, panic::PanicHookInfo, sync::Arc};

use actix::prelude::*;

use super::liveness::Liveness;

/// Why an actor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was asked to, or had nothing left to do.
    Stopped,
    Failed(String),
    /// Another process took over, or an operator started a new incarnation.
    Fenced(String),
    /// Starting again at once would be of no use: an operator has to fix something first.
    Unfit(String),
    Panicked(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Failed(why) | Self::Fenced(why) | Self::Unfit(why) => f.write_str(why),
            Self::Panicked(why) => write!(f, "panicked: {why}"),
        }
    }
}

/// A member of a group ended. Sent to the supervisor.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Exited {
    pub group: Arc<str>,
    pub member: String,
    /// Which start of the group it belonged to.
    pub generation: u64,
    pub cause: Cause,
}

/// Lives in an actor's struct and reports when that is dropped.
pub struct ExitGuard {
    report: Exited,
    supervisor: Recipient<Exited>,
}

impl ExitGuard {
    pub fn new(group: Arc<str>, member: String, generation: u64, supervisor: Recipient<Exited>) -> Self {
        Self { report: Exited { group, member, generation, cause: Cause::Stopped }, supervisor }
    }

    /// Notes why the actor is about to stop.
    pub fn note(&mut self, cause: Cause) {
        self.report.cause = cause;
    }
}

impl Drop for ExitGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.report.cause = Cause::Panicked(panic_text());
        }
        self.supervisor.do_send(self.report.clone());
    }
}

thread_local! {
    /// What the last panic of this thread said. A guard is dropped on the thread that panicked.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What the panic that this thread caught last said.
pub fn panic_text() -> String {
    LAST_PANIC.try_with(|text| text.borrow().clone()).unwrap_or_default()
}

/// Makes panics log lines, and their texts known to the guards. Once a process.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let text = panic.payload_as_str().unwrap_or("without a text");
        let text = match panic.location() {
            Some(at) => format!("{text}, at {}:{}", at.file(), at.line()),
            None => text.to_owned(),
        };
        tracing::error!(panic = text, thread = std::thread::current().name(), "a thread panicked");
        let _ = LAST_PANIC.try_with(|last| last.replace(text));
    }));
}

/// Asks an actor to end now. What it has in flight is lost to it, never to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum End {
    Stop,
    /// Ways to fail on purpose, for drills and tests: in a handler, in a future, by getting nowhere.
    Panic,
    PanicInFuture,
    Hang,
}

impl End {
    pub const DRILLS: [(&'static str, Self); 3] =
        [("panic", Self::Panic), ("panic-in-future", Self::PanicInFuture), ("hang", Self::Hang)];

    #[expect(clippy::panic, reason = "a drill")]
    pub fn obey<A: Actor<Context = Context<A>>>(self, liveness: &Liveness, ctx: &mut Context<A>) {
        match self {
            Self::Stop => ctx.stop(),
            Self::Panic => panic!("a drill in a handler"),
            Self::PanicInFuture => {
                ctx.spawn(actix::fut::wrap_future(async { panic!("a drill in a future") }));
            }
            Self::Hang => {
                let working = liveness.work();
                ctx.spawn(actix::fut::wrap_future(async move {
                    let _working = working;
                    std::future::pending().await
                }));
            }
        }
    }
}

/// Asks an actor to finish what it has begun, and then to end.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Drain;

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
        fn handle(&mut self, exited: Exited, _: &mut Self::Context) {
            self.0.send(exited).unwrap();
        }
    }

    enum Order {
        Fail,
        Obey(End),
    }
    struct Child(ExitGuard, Liveness);
    impl Actor for Child {
        type Context = Context<Self>;
    }
    impl Message for Order {
        type Result = ();
    }
    impl Handler<Order> for Child {
        type Result = ();
        fn handle(&mut self, order: Order, ctx: &mut Self::Context) {
            match order {
                Order::Fail => {
                    self.0.note(Cause::Failed("no luck".into()));
                    ctx.stop();
                }
                Order::Obey(end) => end.obey(&self.1, ctx),
            }
        }
    }

    #[actix::test]
    async fn every_kind_of_end_is_reported_once() {
        let (sender, mut exits) = mpsc::unbounded_channel();
        let supervisor = Supervisor(sender).start();
        for (n, (order, cause)) in [
            (Order::Obey(End::Stop), "stopped"),
            (Order::Fail, "no luck"),
            (Order::Obey(End::Panic), "panicked"),
            (Order::Obey(End::PanicInFuture), "panicked"),
        ]
        .into_iter()
        .enumerate()
        {
            // On a thread of its own, as in the service: a panic here would end the test instead.
            let guard = ExitGuard::new("group".into(), "child".into(), n as u64, supervisor.clone().recipient());
            let child = Child::start_in_arbiter(&Arbiter::new().handle(), |_| Child(guard, Liveness::default()));
            child.do_send(order);
            drop(child);
            let exited = exits.recv().await.unwrap();
            assert_eq!(exited.generation, n as u64);
            assert!(exited.cause.to_string().starts_with(cause), "{}", exited.cause);
        }
        assert!(exits.try_recv().is_err());
    }

    #[actix::test]
    async fn a_hung_actor_is_detected() {
        let (sender, _exits) = mpsc::unbounded_channel();
        let supervisor = Supervisor(sender).start();
        let liveness = Liveness::default();
        let child = Child(ExitGuard::new("group".into(), "child".into(), 0, supervisor.recipient()), liveness.clone());
        let child = child.start();
        child.send(Order::Obey(End::Hang)).await.unwrap();
        // As long as it hangs, at least.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        assert!(liveness.stuck() > std::time::Duration::from_millis(5));
        child.send(Order::Obey(End::Stop)).await.unwrap();
        while child.connected() {
            tokio::task::yield_now().await;
        }
        assert_eq!(liveness.in_flight(), 0);
    }
}
