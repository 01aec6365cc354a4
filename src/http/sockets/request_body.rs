//! A request's body: within its deadline, and known to be read or not.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    HttpMessage,
    dev::{Payload, ServiceRequest},
    error::PayloadError,
    web::Bytes,
};
use futures_util::{FutureExt, Stream};
use tokio::time::Sleep;

use super::Connection;

/// What became of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Not all of it was read.
    Unread,
    Read,
    /// It did not come in time.
    Late,
}

/// Of a request whose body is bounded in time.
pub struct RequestBody(Rc<Cell<Fate>>);

impl RequestBody {
    /// Bounds the time that the body may take, from when it is waited for.
    pub fn watch(request: &mut ServiceRequest, within: Duration, connection: Option<Arc<Connection>>) -> Self {
        let fate = Rc::new(Cell::new(Fate::Unread));
        match request.take_payload() {
            Payload::None => fate.set(Fate::Read),
            body => {
                let watched = Watched { body, within, timer: None, fate: Rc::clone(&fate), connection };
                request.set_payload(Payload::Stream { payload: Box::pin(watched) });
            }
        }
        Self(fate)
    }

    pub fn is_unread(&self) -> bool {
        self.0.get() != Fate::Read
    }

    pub fn is_late(&self) -> bool {
        self.0.get() == Fate::Late
    }
}

struct Watched {
    body: Payload,
    within: Duration,
    /// From when the body was first waited for.
    timer: Option<Pin<Box<Sleep>>>,
    fate: Rc<Cell<Fate>>,
    connection: Option<Arc<Connection>>,
}

impl Watched {
    fn say(&self, awaits: bool) {
        if let Some(connection) = &self.connection {
            connection.awaits_body(awaits);
        }
    }
}

impl Stream for Watched {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_next(cx) {
            Poll::Ready(None) => {
                this.fate.set(Fate::Read);
                if this.timer.is_some() {
                    this.say(false);
                }
                Poll::Ready(None)
            }
            Poll::Ready(piece) => Poll::Ready(piece),
            Poll::Pending => {
                if this.timer.is_none() {
                    this.timer = Some(Box::pin(tokio::time::sleep(this.within)));
                    this.say(true);
                }
                let late = this.timer.as_mut().is_some_and(|timer| timer.poll_unpin(cx).is_ready());
                if !late {
                    return Poll::Pending;
                }
                this.fate.set(Fate::Late);
                Poll::Ready(Some(Err(PayloadError::Io(io::ErrorKind::TimedOut.into()))))
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The handler goes on without the rest.
        if self.timer.is_some() && self.fate.get() != Fate::Read {
            self.say(false);
        }
    }
}
