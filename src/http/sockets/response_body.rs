//! A response's body: its connection knows when the last of it was made, and metrics how much there was.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    web::Bytes,
};

use super::Connection;
use crate::telemetry::metrics::RequestInFlight;

/// The body, which says to its connection when it has ended. The request is in flight until then.
pub fn watched(body: BoxBody, connection: Arc<Connection>, in_flight: RequestInFlight) -> BoxBody {
    BoxBody::new(Watched { body, connection, in_flight })
}

struct Watched {
    body: BoxBody,
    connection: Arc<Connection>,
    in_flight: RequestInFlight,
}

impl MessageBody for Watched {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let Self { body, in_flight, .. } = self.get_mut();
        let polled = Pin::new(body).poll_next(cx);
        if let Poll::Ready(Some(Ok(piece))) = &polled {
            in_flight.sent(piece.len());
        }
        polled
    }
}

impl Drop for Watched {
    /// The server drops a body as soon as it has all of it.
    fn drop(&mut self) {
        self.connection.end_response();
    }
}
