//! Proxy: the network between the service and one of its servers, which a test can cut, stall, slow down and heal.
//! It has a thread and a runtime of its own, so that it goes on while the test is busy.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// Bytes of one read, and reads that are under way in one direction, at most.
const CHUNK_BYTES: usize = 16 * 1024;
const CHUNKS_UNDER_WAY: usize = 64;

pub struct Proxy {
    /// Where clients connect to in place of the server.
    pub address: SocketAddr,
    faults: Arc<watch::Sender<Faults>>,
    connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// What happens to connections, which are numbered as they come.
#[derive(Default)]
struct Faults {
    next: u64,
    /// Another server than the first one.
    upstream: Option<SocketAddr>,
    cut: bool,
    stalled: bool,
    delay: Duration,
    /// Connections below this number are closed.
    closed: u64,
    /// Connections below this number get no answers, and are closed at that moment.
    silenced: Option<(u64, Instant)>,
    /// The next requests that end so lose their answers.
    trap: Option<(&'static [u8], usize)>,
    lost: usize,
    /// Answers with these bytes are damaged there, so many times.
    damaged: Option<(&'static [u8], usize)>,
    ended: bool,
}

impl Proxy {
    /// Listens on a free port and leads every connection to `upstream`.
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (faults, connections) = (Arc::new(watch::Sender::new(Faults::default())), Arc::new(AtomicUsize::new(0)));
        let network = Network { upstream, faults: Arc::clone(&faults), connections: Arc::clone(&connections) };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(network.serve(listener));
        });
        Self { address, faults, connections, thread: Some(thread) }
    }

    /// Closes the present connections, and new ones as they come, until [`Proxy::heal`].
    pub fn cut(&self) {
        self.faults.send_modify(|faults| (faults.cut, faults.closed) = (true, faults.next));
    }

    /// Closes the present connections once.
    pub fn drop_connections(&self) {
        self.faults.send_modify(|faults| faults.closed = faults.next);
    }

    /// Closes the present connections and leads new ones to another server.
    pub fn switch_to(&self, upstream: SocketAddr) {
        self.faults.send_modify(|faults| (faults.upstream, faults.closed) = (Some(upstream), faults.next));
    }

    /// Holds all bytes back, of new connections too, until [`Proxy::heal`].
    pub fn stall(&self) {
        self.faults.send_modify(|faults| faults.stalled = true);
    }

    /// Makes bytes take this much longer each way.
    pub fn delay(&self, delay: Duration) {
        self.faults.send_modify(|faults| faults.delay = delay);
    }

    /// The present connections get no more answers, while their requests still arrive, and are closed after a while.
    pub fn swallow_answers(&self, during: Duration) {
        self.faults.send_modify(|faults| faults.silenced = Some((faults.next, Instant::now() + during)));
    }

    /// The next `times` requests that end in these bytes arrive and are answered, but each connection is closed in place
    /// of giving the answer. A request that is waited for ends with its own last bytes.
    pub fn lose_answers_to(&self, request: &'static [u8], times: usize) {
        self.faults.send_modify(|faults| faults.trap = Some((request, times)));
    }

    /// The next `times` answers with these bytes in them arrive with one of the bytes changed.
    pub fn damage(&self, bytes: &'static [u8], times: usize) {
        self.faults.send_modify(|faults| faults.damaged = Some((bytes, times)));
    }

    /// Answers that were lost by [`Proxy::lose_answers_to`].
    pub fn lost_answers(&self) -> usize {
        self.faults.borrow().lost
    }

    /// Removes all faults. Connections that lack answers are closed.
    pub fn heal(&self) {
        self.faults.send_modify(|faults| {
            (faults.cut, faults.stalled, faults.delay, faults.trap) = (false, false, Duration::ZERO, None);
            if let Some((below, _)) = faults.silenced.take() {
                faults.closed = faults.closed.max(below);
            }
        });
    }

    /// Connections that lead to the server now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.faults.send_modify(|faults| faults.ended = true);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// The proxy's side that runs on its thread.
struct Network {
    upstream: SocketAddr,
    faults: Arc<watch::Sender<Faults>>,
    connections: Arc<AtomicUsize>,
}

impl Network {
    async fn serve(self, listener: std::net::TcpListener) {
        let listener = TcpListener::from_std(listener).unwrap();
        let mut faults = self.faults.subscribe();
        loop {
            let client = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((client, _)) => client,
                    Err(_) => continue,
                },
                _ = faults.wait_for(|faults| faults.ended) => return,
            };
            let (mut number, mut upstream) = (None, self.upstream);
            self.faults.send_if_modified(|faults| {
                upstream = faults.upstream.unwrap_or(upstream);
                if !faults.cut {
                    number = Some(faults.next);
                    faults.next += 1;
                }
                false
            });
            match number {
                Some(number) => {
                    let link = Link { number, faults: Arc::clone(&self.faults), trapped: AtomicBool::new(false) };
                    tokio::spawn(link.carry(client, upstream, Present::new(&self.connections)));
                }
                None => reset(&client),
            }
        }
    }
}

/// Counts a connection while it lives.
struct Present(Arc<AtomicUsize>);

impl Present {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Answers,
}

/// One connection.
struct Link {
    number: u64,
    faults: Arc<watch::Sender<Faults>>,
    /// A request was caught whose answer is to be lost.
    trapped: AtomicBool,
}

impl Link {
    async fn carry(self, mut client: TcpStream, upstream: SocketAddr, _present: Present) {
        let Ok(mut server) = TcpStream::connect(upstream).await else { return reset(&client) };
        let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
        let in_order = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let both = async {
                tokio::try_join!(
                    self.pass(Direction::Requests, from_client, to_server),
                    self.pass(Direction::Answers, from_server, to_client)
                )
            };
            tokio::select! {
                ended = both => ended.is_ok(),
                () = self.closed() => false,
            }
        };
        if !in_order {
            reset(&client);
            reset(&server);
        }
    }

    /// Reads and writes side by side, so that a delay makes bytes late and not few.
    async fn pass(&self, direction: Direction, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_UNDER_WAY);
        let reading = async move {
            loop {
                let mut chunk = Vec::with_capacity(CHUNK_BYTES);
                if from.read_buf(&mut chunk).await? == 0 {
                    return Ok(());
                }
                let due = Instant::now() + self.faults.borrow().delay;
                sender.send((due, chunk)).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
            }
        };
        let mut faults = self.faults.subscribe();
        let writing = async move {
            while let Some((due, mut chunk)) = under_way.recv().await {
                if due > Instant::now() {
                    sleep_until(due).await;
                }
                // The sender of the faults lives as long as this connection.
                let _ = faults.wait_for(|faults| !faults.stalled).await;
                match direction {
                    Direction::Requests => self.look_for_trap(&chunk),
                    Direction::Answers if self.trapped.load(Ordering::SeqCst) => {
                        self.faults.send_modify(|faults| faults.lost += 1);
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    Direction::Answers if self.is_silenced() => continue,
                    Direction::Answers => self.damage(&mut chunk),
                }
                to.write_all(&chunk).await?;
            }
            to.shutdown().await
        };
        tokio::try_join!(reading, writing).map(|_| ())
    }

    fn look_for_trap(&self, chunk: &[u8]) {
        self.faults.send_if_modified(|faults| {
            if let Some((end, left)) = &mut faults.trap
                && *left > 0
                && chunk.ends_with(end)
            {
                *left -= 1;
                self.trapped.store(true, Ordering::SeqCst);
            }
            false
        });
    }

    fn damage(&self, chunk: &mut [u8]) {
        self.faults.send_if_modified(|faults| {
            if let Some((bytes, left)) = &mut faults.damaged
                && *left > 0
                && let Some(at) = chunk.windows(bytes.len()).position(|window| window == *bytes)
            {
                *left -= 1;
                chunk[at] ^= 1;
            }
            false
        });
    }

    fn is_silenced(&self) -> bool {
        self.faults.borrow().silenced.is_some_and(|(below, _)| self.number < below)
    }

    /// Waits until this connection has to be closed.
    async fn closed(&self) {
        let mut faults = self.faults.subscribe();
        loop {
            let until = {
                let faults = faults.borrow_and_update();
                if self.number < faults.closed {
                    return;
                }
                faults.silenced.filter(|(below, _)| self.number < *below).map(|(_, until)| until)
            };
            let due = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = faults.changed() => {}
                () = due => return,
            }
        }
    }
}

/// Makes the close of a connection be seen as a reset, at once.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}
