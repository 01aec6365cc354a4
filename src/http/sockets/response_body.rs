//! A response's body: its connection knows when the last of it was made.

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

/// The body, which says to its connection when it has ended.
pub fn watched(body: BoxBody, connection: Arc<Connection>) -> BoxBody {
    BoxBody::new(Watched { body, connection })
}

struct Watched {
    body: BoxBody,
    connection: Arc<Connection>,
}

impl MessageBody for Watched {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(cx)
    }
}

impl Drop for Watched {
    /// The server drops a body as soon as it has all of it.
    fn drop(&mut self) {
        self.connection.end_response();
    }
}
