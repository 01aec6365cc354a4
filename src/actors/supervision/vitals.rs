//! Vitals: what every supervised actor is given and does the same way, so that each declares only what is its own.

use actix::{fut::wrap_future, prelude::*};

use super::{
    exit::{Cause, ExitGuard},
    liveness::{Liveness, Working},
};

/// Owned by the actor for as long as it lives: its signs of life, and the report of its end.
pub struct Vitals {
    pub(super) liveness: Liveness,
    exit: ExitGuard,
}

impl Vitals {
    pub fn new(liveness: Liveness, exit: ExitGuard) -> Self {
        Self { liveness, exit }
    }

    /// Something is begun; see [`Liveness::work`].
    pub fn work(&self) -> Working {
        self.liveness.work()
    }

    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }
}

/// An actor that has vitals. [`supervised!`] implements it, and that it ends when asked to.
pub trait Supervised: Actor<Context = Context<Self>> {
    fn vitals(&mut self) -> &mut Vitals;

    /// Ends, and reports why.
    fn end_with(&mut self, cause: impl Into<Cause>, ctx: &mut Context<Self>) {
        self.vitals().exit.note(cause.into());
        ctx.stop();
    }
}

/// An actor that does one piece of work at a time, with what it takes for that: its tool, which is away meanwhile.
pub trait OneAtATime<Tool: 'static>: Supervised {
    /// None while it is at work.
    fn tool(&mut self) -> &mut Option<Tool>;

    fn is_at_work(&mut self) -> bool {
        self.tool().is_none()
    }

    /// Begins a piece of work, unless one is under way. When it is over the tool is back, and `then` receives what came of it.
    /// The mailbox stays open meanwhile.
    fn begin<R: 'static>(
        &mut self,
        ctx: &mut Context<Self>,
        work: impl AsyncFnOnce(&mut Tool, &Working) -> R + 'static,
        then: impl FnOnce(&mut Self, R, &mut Context<Self>) + 'static,
    ) {
        let Some(mut tool) = self.tool().take() else { return };
        let working = self.vitals().work();
        let work = async move {
            let result = work(&mut tool, &working).await;
            (tool, result)
        };
        ctx.spawn(wrap_future(work).map(|(tool, result), actor: &mut Self, ctx| {
            *actor.tool() = Some(tool);
            then(actor, result, ctx);
        }));
    }
}

/// Makes an actor [`Supervised`] by its field `vitals`, and has it end when it is asked to. With a field and its type:
/// [`OneAtATime`] too.
macro_rules! supervised {
    ($actor:ty) => {
        impl $crate::actors::supervision::vitals::Supervised for $actor {
            fn vitals(&mut self) -> &mut $crate::actors::supervision::vitals::Vitals {
                &mut self.vitals
            }
        }

        impl actix::Handler<$crate::actors::supervision::exit::End> for $actor {
            type Result = ();

            fn handle(&mut self, end: $crate::actors::supervision::exit::End, ctx: &mut Self::Context) {
                end.obey(self.vitals.liveness(), ctx);
            }
        }
    };
    ($actor:ty, $tool:ident: $kind:ty) => {
        supervised!($actor);

        impl $crate::actors::supervision::vitals::OneAtATime<$kind> for $actor {
            fn tool(&mut self) -> &mut Option<$kind> {
                &mut self.$tool
            }
        }
    };
}
pub(crate) use supervised;
