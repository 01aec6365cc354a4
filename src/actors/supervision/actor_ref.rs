//! Line: the way to an actor that may be restarted, and then has another address.

use std::sync::{Arc, PoisonError, RwLock};

use actix::prelude::*;

/// Clones lead to the same actor.
pub struct ActorRef<M>(Arc<RwLock<Option<Recipient<M>>>>)
where
    M: Message + Send,
    M::Result: Send;

impl<M> ActorRef<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// From now on it leads there.
    pub fn set(&self, recipient: Recipient<M>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(recipient);
    }

    /// Where it leads now, if anybody lives there.
    pub fn get(&self) -> Option<Recipient<M>> {
        let recipient = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        recipient.filter(Recipient::connected)
    }

    /// Sends a message that may be lost: while the actor is away it is dropped.
    pub fn notify(&self, message: M) {
        if let Some(recipient) = self.get() {
            recipient.do_send(message);
        }
    }
}

impl<M> Default for ActorRef<M>
where
    M: Message + Send,
    M::Result: Send,
{
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<M> Clone for ActorRef<M>
where
    M: Message + Send,
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
