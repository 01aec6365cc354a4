//! A group of one actor, on a thread of its own.

use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt;

use super::{
    group::{Member, Stage, Start},
    vitals::{Supervised, Vitals},
};

/// How long an actor may be at work without progress, and whether it has anything to finish when it is drained.
pub struct Single<A: Actor> {
    pub deadline: Duration,
    /// [`Stage::ends`] or [`Stage::drains`].
    pub ending: fn(Stage, &Addr<A>) -> Member,
}

impl<A: Supervised> Single<A> {
    /// The factory. `make` runs on the actor's thread, with a copy of the parts each time; `announce` receives each new address.
    pub fn start<P: Clone + Send + 'static>(
        self,
        name: &str,
        make: fn(P, Vitals) -> A,
        parts: P,
        mut announce: impl FnMut(&Addr<A>) + Send + 'static,
    ) -> Start {
        let (name, thread) = (name.to_owned(), Arbiter::new().handle());
        Box::new(move |launch| {
            let ((stage, vitals), parts) = (launch.stage(name.clone(), self.deadline), parts.clone());
            let actor = A::start_in_arbiter(&thread, move |_| make(parts, vitals));
            announce(&actor);
            let member = (self.ending)(stage, &actor);
            async move { Ok(vec![member]) }.boxed_local()
        })
    }
}
