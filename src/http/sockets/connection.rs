//! One connection: its stage, and the stream that obeys when it is closed.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::table::Place;

/// Most bytes of a request's head. The server itself would hold four times as many for each connection.
const MAX_HEAD: usize = 32 << 10;
/// What is read and thrown away behind a last response: closing over unread bytes resets the connection, and the
/// client might lose the response.
const MAX_DISCARDED: usize = 256 << 10;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing came since the last response.
    Idle,
    /// A request's head is awaited or has begun.
    Head,
    /// A handler waits for the request's body.
    Body,
    /// A handler is at work.
    Handling,
    /// A response is under way.
    Responding,
    /// The whole response is made, and not yet taken.
    Flushing,
    /// Nothing more is read.
    Closing,
}

impl Stage {
    const ALL: [Self; 7] =
        [Self::Idle, Self::Head, Self::Body, Self::Handling, Self::Responding, Self::Flushing, Self::Closing];
}

/// A stage, for how long it lasts, and how many bytes of the response were taken.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    pub stage: Stage,
    pub lasts: Duration,
    pub written: u64,
}

/// What the stream, the request's handling and the port's table know of a connection together.
pub struct Connection {
    pub(super) address: IpAddr,
    opened: Instant,
    /// The stage in the lowest byte, and since when, in milliseconds of the connection: read and written as one.
    stage: AtomicU64,
    written: AtomicU64,
    requests: AtomicU64,
    last_response: AtomicBool,
    closed: AtomicBool,
    waker: AtomicWaker,
}

impl Connection {
    pub(super) fn new(address: IpAddr) -> Self {
        Self {
            address,
            opened: Instant::now(),
            stage: AtomicU64::new(pack(Stage::Head, 0)),
            written: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            last_response: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// A request's head was read.
    pub fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.enter(Stage::Handling);
    }

    /// The handler waits for the body, or has all of it.
    pub fn awaits_body(&self, awaits: bool) {
        self.enter(if awaits { Stage::Body } else { Stage::Handling });
    }

    /// The response is the connection's last one where the request's body will not be read.
    pub fn begin_response(&self, last: bool) {
        self.written.store(0, Ordering::Relaxed);
        if last {
            self.last_response.store(true, Ordering::Relaxed);
        }
        self.enter(Stage::Responding);
    }

    pub fn end_response(&self) {
        let (stage, since) = unpack(self.stage.load(Ordering::Acquire));
        if stage == Stage::Responding {
            self.stage.store(pack(Stage::Flushing, since), Ordering::Release);
        }
    }

    /// Ends the connection wherever its stream is waited for.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(super) fn observe(&self) -> Observed {
        let (stage, since) = unpack(self.stage.load(Ordering::Acquire));
        let lasts = self.opened.elapsed().saturating_sub(Duration::from_millis(since));
        Observed { stage, lasts, written: self.written.load(Ordering::Relaxed) }
    }

    fn stage(&self) -> Stage {
        unpack(self.stage.load(Ordering::Acquire)).0
    }

    fn enter(&self, stage: Stage) {
        let since = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.stage.store(pack(stage, since), Ordering::Release);
    }

    /// Fails once the connection is closed; until then the task is woken by that.
    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        self.waker.register(cx.waker());
        if self.closed.load(Ordering::Acquire) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

const fn pack(stage: Stage, since: u64) -> u64 {
    (since << 8) | stage as u64
}

fn unpack(packed: u64) -> (Stage, u64) {
    let index = usize::try_from(packed & 0xff).unwrap_or_default();
    (Stage::ALL.get(index).copied().unwrap_or(Stage::Closing), packed >> 8)
}

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
    pub(super) fn new(io: TcpStream, place: Place) -> Self {
        Self { io, place, head: 0, request: 0, seen: false, discarded: 0 }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_and_its_beginning_are_read_as_they_were_written() {
        for stage in Stage::ALL {
            assert_eq!(unpack(pack(stage, 123_456_789)), (stage, 123_456_789));
        }
    }

    #[test]
    fn flushing_lasts_since_the_response_began() {
        let connection = Connection::new(IpAddr::from([10, 0, 0, 1]));
        connection.begin_request();
        connection.begin_response(false);
        std::thread::sleep(Duration::from_millis(20));
        connection.end_response();
        let observed = connection.observe();
        assert_eq!(observed.stage, Stage::Flushing);
        assert!(observed.lasts >= Duration::from_millis(20), "{observed:?}");
    }
}
