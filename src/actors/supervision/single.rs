//! A group of one actor.

use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt;

use super::{
    exit::{Drain, End, ExitGuard},
    group::{Member, Start},
    liveness::Liveness,
};

/// The factory of a group that is a single actor, which may be at work for `deadline` without progress. `make` runs on the actor's thread; `announce` receives each new
/// address, and gives what the actor is drained by, if it can be.
pub fn single<A, M>(
    name: &str,
    deadline: Duration,
    thread: ArbiterHandle,
    make: M,
    mut announce: impl FnMut(&Addr<A>) -> Option<Recipient<Drain>> + Send + 'static,
) -> Start
where
    A: Actor<Context = Context<A>> + Handler<End>,
    M: Fn(Liveness, ExitGuard) -> A + Clone + Send + 'static,
{
    let name = name.to_owned();
    Box::new(move |launch| {
        let (liveness, exit, make) = (Liveness::default(), launch.exit(&name), make.clone());
        let given = liveness.clone();
        let actor = A::start_in_arbiter(&thread, move |_| make(given, exit));
        let drain = announce(&actor);
        let member = Member { name: name.clone(), end: actor.recipient(), drain, liveness, deadline };
        async move { Ok(vec![member]) }.boxed_local()
    })
}
