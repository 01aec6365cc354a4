//! One connection: what it is doing, and whether it was closed.

use std::{
    io,
    net::IpAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::Context,
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;

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
    pub(super) written: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) last_response: AtomicBool,
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

    pub(super) fn stage(&self) -> Stage {
        unpack(self.stage.load(Ordering::Acquire)).0
    }

    pub(super) fn enter(&self, stage: Stage) {
        let since = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.stage.store(pack(stage, since), Ordering::Release);
    }

    /// Fails once the connection is closed; until then the task is woken by that.
    pub(super) fn check(&self, cx: &Context<'_>) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_read_as_it_was_written() {
        for stage in Stage::ALL {
            assert_eq!(unpack(pack(stage, 123_456_789)), (stage, 123_456_789));
        }
    }

    #[test]
    fn flushing_lasts_since_the_response_began() {
        let connection = Connection::new(IpAddr::from([10, 0, 0, 1]));
        connection.begin_request();
        connection.begin_response(false);
        // The time that the response takes.
        std::thread::sleep(Duration::from_millis(20));
        connection.end_response();
        let observed = connection.observe();
        assert_eq!(observed.stage, Stage::Flushing);
        assert!(observed.lasts >= Duration::from_millis(20), "{observed:?}");
    }
}
