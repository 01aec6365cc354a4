//! What a connection's task and those who use the connection share: requests that wait for a response, who gets which chunks,
//! and why it ended.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::framing::End;

/// A response's body.
pub type PendingResponse = oneshot::Receiver<Bytes>;

pub struct Link {
    state: Mutex<State>,
    /// How often a chunk began or ended to come: while that is odd nothing else is read, neither while the task waits for memory.
    chunk_bounds: AtomicU64,
}

struct State {
    /// Frames to be sent. Few wait: a request waits for its response, and credit is given for chunks that came. None at the end.
    outbox: Option<mpsc::UnboundedSender<Vec<u8>>>,
    next: u32,
    requests: HashMap<u32, (u16, oneshot::Sender<Bytes>)>,
    receivers: HashMap<u8, Receiver>,
    /// Where a free subscription id is looked for. What still comes of the last one must not be taken for the next one's.
    next_subscription: u8,
    ended: Option<End>,
}

/// Who gets what a subscription delivers.
enum Receiver {
    /// Whole chunks; as many as there is credit for.
    Chunks { to: mpsc::UnboundedSender<Bytes>, credit: u32 },
    /// The header of the first chunk. Its rest is passed over.
    Header(Option<oneshot::Sender<Bytes>>),
}

/// What becomes of a delivery.
pub enum Delivered {
    Keep,
    ShowHeader,
    PassOver,
}

impl Link {
    /// Correlation ids go on from `next`.
    pub fn new(outbox: mpsc::UnboundedSender<Vec<u8>>, next: u32) -> Self {
        let (requests, receivers) = (HashMap::new(), HashMap::new());
        let state = State { outbox: Some(outbox), next, requests, receivers, next_subscription: 0, ended: None };
        Self { state: Mutex::new(state), chunk_bounds: AtomicU64::new(0) }
    }

    /// Sends a request, whose response comes by what is returned, unless the connection ends.
    pub fn request(&self, key: u16, request: impl FnOnce(u32) -> Vec<u8>) -> PendingResponse {
        let (to, response) = oneshot::channel();
        let mut state = self.state();
        let id = state.next;
        state.next = id.wrapping_add(1);
        if state.ended.is_none() {
            state.requests.insert(id, (key, to));
            state.send(request(id));
        }
        response
    }

    /// A response came. One that nobody waits for any more is dropped.
    pub fn respond(&self, key: u16, correlation: u32, body: Bytes) {
        let waiting = self.state().requests.remove(&correlation);
        if let Some((of, to)) = waiting
            && of == key
        {
            let _ = to.send(body);
        }
    }

    /// Where the connection has ended, nothing is sent any more.
    pub fn send(&self, frame: Vec<u8>) {
        self.state().send(frame);
    }

    /// Begins to receive chunks by a subscription id that nobody has. None where all are taken.
    pub fn receive_chunks(&self, credit: u16) -> Option<(u8, mpsc::UnboundedReceiver<Bytes>)> {
        let (to, chunks) = mpsc::unbounded_channel();
        let id = self.state().receive(Receiver::Chunks { to, credit: credit.into() })?;
        Some((id, chunks))
    }

    /// The same of the header of one chunk.
    pub fn receive_header(&self) -> Option<(u8, PendingResponse)> {
        let (to, header) = oneshot::channel();
        Some((self.state().receive(Receiver::Header(Some(to)))?, header))
    }

    pub fn stop_receiving(&self, subscription: u8) {
        self.state().receivers.remove(&subscription);
    }

    /// Gives a subscription credit for more chunks, by that frame.
    pub fn credit(&self, subscription: u8, more: u16, frame: Vec<u8>) {
        let mut state = self.state();
        if let Some(Receiver::Chunks { credit, .. }) = state.receivers.get_mut(&subscription) {
            *credit = credit.saturating_add(more.into());
            state.send(frame);
        }
    }

    /// A chunk of a subscription begins to come.
    ///
    /// # Errors
    /// There was no credit for it.
    pub fn deliver(&self, subscription: u8) -> Result<Delivered, End> {
        match self.state().receivers.get_mut(&subscription) {
            Some(Receiver::Chunks { credit, .. }) => {
                *credit = credit.checked_sub(1).ok_or(End::Unrequested)?;
                Ok(Delivered::Keep)
            }
            Some(Receiver::Header(_)) => Ok(Delivered::ShowHeader),
            // It was on its way when the subscription ended.
            None => Ok(Delivered::PassOver),
        }
    }

    pub fn chunk(&self, subscription: u8, chunk: Bytes) {
        if let Some(Receiver::Chunks { to, .. }) = self.state().receivers.get(&subscription) {
            let _ = to.send(chunk);
        }
    }

    pub fn header(&self, subscription: u8, header: Bytes) {
        if let Some(Receiver::Header(to)) = self.state().receivers.get_mut(&subscription)
            && let Some(to) = to.take()
        {
            let _ = to.send(header);
        }
    }

    /// Nothing comes any more, and nothing is sent behind what waits: who waits learns why.
    pub fn end(&self, end: End) {
        let mut state = self.state();
        state.ended.get_or_insert(end);
        state.outbox = None;
        state.requests.clear();
        state.receivers.clear();
    }

    pub fn ended(&self) -> End {
        self.state().ended.clone().unwrap_or(End::Closed)
    }

    /// A chunk begins to come, or has come.
    pub fn passes_chunk_bound(&self) {
        self.chunk_bounds.fetch_add(1, Ordering::Relaxed);
    }

    pub fn chunk_bounds(&self) -> u64 {
        self.chunk_bounds.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn send(&self, frame: Vec<u8>) {
        if let Some(outbox) = &self.outbox {
            let _ = outbox.send(frame);
        }
    }

    fn receive(&mut self, receiver: Receiver) -> Option<u8> {
        let mut ids = (0..=u8::MAX).map(|n| self.next_subscription.wrapping_add(n));
        let id = ids.find(|id| !self.receivers.contains_key(id))?;
        self.next_subscription = id.wrapping_add(1);
        // Where it has ended, the receiver is dropped, which says so.
        if self.ended.is_none() {
            self.receivers.insert(id, receiver);
        }
        Some(id)
    }
}
