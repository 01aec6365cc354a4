//! The way from a handler to an actor that there is one of.

use std::time::Duration;

use actix::Message;

use super::error::Problem;
use crate::actors::{serving::error::QueryError, supervision::actor_ref::ActorRef};

/// Sends a message, and waits for its response.
pub async fn send<M, T>(actor: &ActorRef<M>, message: M, within: Duration) -> Result<T, Problem>
where
    M: Message<Result = Result<T, QueryError>> + Send + 'static,
    T: Send + 'static,
{
    let actor = actor.get().ok_or(Problem::Unavailable)?;
    Ok(actor.send(message).timeout(within).await??)
}
