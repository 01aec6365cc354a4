//! A node of a broker that says what a test wants it to say, for what one real broker cannot be brought to do.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Buf;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::broker::stream::frames::{code, key, responses::Endpoint};

/// What a node says and has, and what it was sent.
#[derive(Default)]
pub struct Script {
    /// How it advertises itself; its own address where that is empty. Each connection is led to the next of them.
    pub advertised: VecDeque<Endpoint>,
    pub leader: Option<Endpoint>,
    pub replicas: Vec<Endpoint>,
    pub committed: i64,
    /// The last chunk that it has, where that is not committed.
    pub uncommitted: Option<i64>,
    pub chunks: VecDeque<Vec<u8>>,
    /// What a subscription at `last` gets.
    pub last: Option<Vec<u8>>,
    /// Delivers whether or not there is credit.
    pub ignores_credit: bool,
    /// Frames to be sent when a subscription has begun.
    pub says: Vec<Vec<u8>>,
    /// Answers nothing behind `open`.
    pub is_silent: bool,
    /// Keys of the frames that came, and the greatest credit that was open.
    pub came: Vec<u16>,
    pub delivered: usize,
}

pub struct Node {
    pub endpoint: Endpoint,
    script: Arc<Mutex<Script>>,
}

/// The password that it accepts.
pub const PASSWORD: &str = "hunter22";

impl Node {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = Endpoint { host: address.ip().to_string(), port: address.port() };
        let script = Script { leader: Some(endpoint.clone()), committed: -1, ..Script::default() };
        let script = Arc::new(Mutex::new(script));
        let (shared, own) = (Arc::clone(&script), endpoint.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let advertised = shared.lock().unwrap().advertised.pop_front().unwrap_or_else(|| own.clone());
                tokio::spawn(Talk::new(stream, advertised, Arc::clone(&shared)).run());
            }
        });
        Self { endpoint, script }
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub fn count(&self, key: u16) -> usize {
        self.script().came.iter().filter(|came| **came == key).count()
    }
}

/// A chunk of plain records, as the broker delivers it.
pub fn chunk(first: i64, bodies: &[&[u8]]) -> Vec<u8> {
    let data: Vec<u8> =
        bodies.iter().flat_map(|body| [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()).collect();
    let count = u16::try_from(bodies.len()).unwrap();
    [
        &[0x50, 0][..],
        &count.to_be_bytes(),
        &u32::from(count).to_be_bytes(),
        &1_700_000_000_000_i64.to_be_bytes(),
        &1_u64.to_be_bytes(),
        &first.to_be_bytes(),
        &crc32fast::hash(&data).to_be_bytes(),
        &u32::try_from(data.len()).unwrap().to_be_bytes(),
        &[0; 8],
        &data,
    ]
    .concat()
}

/// A frame of the broker.
pub fn frame(key: u16, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 4).unwrap();
    [&length.to_be_bytes()[..], &key.to_be_bytes(), &[0, 1], content].concat()
}

pub fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

struct Talk {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    advertised: Endpoint,
    script: Arc<Mutex<Script>>,
    subscription: u8,
    credit: usize,
}

impl Talk {
    fn new(stream: TcpStream, advertised: Endpoint, script: Arc<Mutex<Script>>) -> Self {
        let (from, to) = stream.into_split();
        Self { from, to, advertised, script, subscription: 0, credit: 0 }
    }

    async fn run(mut self) {
        while let Ok(length) = self.from.read_u32().await {
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            if self.from.read_exact(&mut frame).await.is_err() {
                return;
            }
            let mut rest = &frame[..];
            let (key, _) = (rest.get_u16(), rest.get_u16());
            self.script.lock().unwrap().came.push(key);
            if !self.answer(key, rest).await {
                return;
            }
        }
    }

    async fn answer(&mut self, key: u16, mut rest: &[u8]) -> bool {
        match key {
            key::CREDIT => {
                rest.advance(1);
                self.credit += usize::from(rest.get_u16());
                return self.deliver().await;
            }
            key::HEARTBEAT => return true,
            key if key & 0x8000 != 0 => return true,
            _ => {}
        }
        let id = rest.get_u32();
        let ok = code::OK.to_be_bytes();
        let body = match key {
            key::PEER_PROPERTIES | key::EXCHANGE_VERSIONS => [&ok[..], &[0; 4]].concat(),
            key::SASL_HANDSHAKE => [&ok[..], &[0, 0, 0, 1], &text("PLAIN")].concat(),
            key::SASL_AUTHENTICATE if !rest.ends_with(PASSWORD.as_bytes()) => {
                code::AUTHENTICATION.to_be_bytes().to_vec()
            }
            key::OPEN => {
                let Endpoint { host, port } = &self.advertised;
                let pairs = [("advertised_host", host.as_str()), ("advertised_port", &port.to_string())];
                let pairs = pairs.iter().flat_map(|(name, value)| [text(name), text(value)].concat());
                [&ok[..], &[0, 0, 0, 2], &pairs.collect::<Vec<_>>()].concat()
            }
            key::METADATA => self.members(),
            key::STREAM_STATS => {
                let (committed, last) = {
                    let script = self.script.lock().unwrap();
                    (script.committed, script.uncommitted.unwrap_or(script.committed))
                };
                let pairs =
                    [("first_chunk_id", last.min(0)), ("last_chunk_id", last), ("committed_chunk_id", committed)];
                let pairs = pairs.iter().flat_map(|(name, value)| [text(name), value.to_be_bytes().to_vec()].concat());
                [&ok[..], &[0, 0, 0, 3], &pairs.collect::<Vec<_>>()].concat()
            }
            _ => ok.to_vec(),
        };
        if self.script.lock().unwrap().is_silent && ![key::PEER_PROPERTIES, key::SASL_HANDSHAKE].contains(&key) {
            let opening = [key::SASL_AUTHENTICATE, key::OPEN, key::EXCHANGE_VERSIONS, key::METADATA, key::SUBSCRIBE];
            if !opening.contains(&key) {
                return true;
            }
        }
        if !self.send(&frame(key | 0x8000, &[&id.to_be_bytes()[..], &body].concat())).await {
            return false;
        }
        match key {
            // A limit of a MiB, a heartbeat each minute.
            key::SASL_AUTHENTICATE => self.send(&frame(key::TUNE, &[0, 16, 0, 0, 0, 0, 0, 60])).await,
            key::SUBSCRIBE => self.subscribe(rest).await,
            key::CLOSE => false,
            _ => true,
        }
    }

    fn members(&self) -> Vec<u8> {
        let script = self.script.lock().unwrap();
        let nodes: Vec<_> = script.leader.iter().chain(&script.replicas).collect();
        let count = |count: usize| u32::try_from(count).unwrap().to_be_bytes();
        let mut body = count(nodes.len()).to_vec();
        for (reference, node) in (0_u16..).zip(&nodes) {
            body.extend(reference.to_be_bytes());
            body.extend(text(&node.host));
            body.extend(u32::from(node.port).to_be_bytes());
        }
        body.extend([&count(1)[..], &text("s"), &code::OK.to_be_bytes()].concat());
        let replicas = usize::from(script.leader.is_some());
        body.extend(if replicas == 1 { [0, 0] } else { [0xff, 0xff] });
        body.extend(count(script.replicas.len()));
        for reference in replicas..nodes.len() {
            body.extend(u16::try_from(reference).unwrap().to_be_bytes());
        }
        // In place of a correlation id's code there is none.
        body
    }

    async fn subscribe(&mut self, mut rest: &[u8]) -> bool {
        let subscription = rest.get_u8();
        let name = usize::from(rest.get_u16());
        rest.advance(name);
        let (says, last) = {
            let mut script = self.script.lock().unwrap();
            (std::mem::take(&mut script.says), script.last.clone())
        };
        // `last` is for who looks.
        if rest.get_u16() == 2 {
            let Some(last) = last else { return true };
            return self.send(&frame(key::DELIVER, &[&[subscription][..], &last].concat())).await;
        }
        self.subscription = subscription;
        self.credit = usize::from(u16::from_be_bytes(rest[rest.len() - 2..].try_into().unwrap()));
        for frame in says {
            if !self.send(&frame).await {
                return false;
            }
        }
        self.deliver().await
    }

    async fn deliver(&mut self) -> bool {
        loop {
            let chunk = {
                let mut script = self.script.lock().unwrap();
                if self.credit == 0 && !script.ignores_credit {
                    return true;
                }
                let Some(chunk) = script.chunks.pop_front() else { return true };
                script.delivered += 1;
                chunk
            };
            self.credit = self.credit.saturating_sub(1);
            if !self.send(&frame(key::DELIVER, &[&[self.subscription][..], &chunk].concat())).await {
                return false;
            }
        }
    }

    async fn send(&mut self, frame: &[u8]) -> bool {
        self.to.write_all(frame).await.is_ok()
    }
}
