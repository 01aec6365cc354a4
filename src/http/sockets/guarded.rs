//! A connection's stream, which obeys when the connection is closed.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    connection::{Connection, Stage},
    table::{Connections, Place},
};

/// Most bytes of a request's head. The server itself would hold four times as many for each connection.
const MAX_HEAD: usize = 32 << 10;
/// What is read and thrown away behind a last response: closing over unread bytes resets the connection, and the
/// client might lose the response.
const MAX_DISCARDED: usize = 256 << 10;

/// A client's stream: bounded by its port's deadlines, and counted while it is open.
pub struct Guarded {
    io: TcpStream,
    place: Place,
    /// Of the request's head at hand, and which request that is.
    head: usize,
    request: u64,
    /// The server had a look at a head that is as long as it may be.
    seen: bool,
    discarded: usize,
}

impl Guarded {
    /// Takes a client's stream in; none where there is no room for it.
    pub fn new(io: TcpStream, connections: &Connections) -> Option<Self> {
        let peer = io.peer_addr().ok()?.ip();
        // A response of more than one packet does not wait for the acknowledgement of its first, 40 ms.
        let _ = io.set_nodelay(true);
        let place = connections.place(peer)?;
        Some(Self { io, place, head: 0, request: 0, seen: false, discarded: 0 })
    }

    pub fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.place.connection)
    }

    fn read_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let connection = &self.place.connection;
        let request = connection.requests.load(Ordering::Relaxed);
        if request != self.request {
            (self.request, self.head, self.seen) = (request, 0, false);
        }
        if self.head >= MAX_HEAD {
            if self.seen {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            // The server decodes what it has when nothing more comes: what was read may be a body already.
            self.seen = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        self.head += read;
        if read > 0 && connection.stage() == Stage::Idle {
            connection.enter(Stage::Head);
        }
        Poll::Ready(Ok(()))
    }

    /// To the client's own end, or to as much as is worth it.
    fn discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 4096];
        while self.discarded < MAX_DISCARDED {
            let mut scratch = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut scratch))?;
            if scratch.filled().is_empty() {
                break;
            }
            self.discarded += scratch.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.place.connection.check(cx)?;
        match this.place.connection.stage() {
            Stage::Closing => this.discard(cx),
            Stage::Idle | Stage::Head => this.read_head(cx, buf),
            Stage::Body | Stage::Handling | Stage::Responding | Stage::Flushing => {
                Pin::new(&mut this.io).poll_read(cx, buf)
            }
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.place.connection.check(cx)?;
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
        this.place.connection.written.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    /// Called when all that there was to write is written.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let connection = &this.place.connection;
        connection.check(cx)?;
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        if connection.stage() == Stage::Flushing {
            if connection.last_response.load(Ordering::Relaxed) {
                connection.enter(Stage::Closing);
                return Pin::new(&mut this.io).poll_shutdown(cx);
            }
            connection.enter(Stage::Idle);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
