//! What is said before a connection can be used: who we are, who may log in, how often a heartbeat is due, which virtual host.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::{
    address::Address,
    frames::{
        key, requests,
        responses::{Endpoint, Fields, Inbound, read},
    },
    framing::{End, FrameReader},
    refusal::accepted,
    transport::{self, Sink},
};
use crate::broker::BrokerError;

/// A broker reads no larger frame before `open` (4.3).
const MOST_SENT: usize = 8 * 1024;
/// Its properties are the largest that it sends until then, and an operator may have added some.
const MOST_RECEIVED: usize = 64 * 1024;
/// Until the broker has said how often it sends a heartbeat. Connecting has a deadline of its own.
const SILENCE: Duration = Duration::from_secs(60);

/// A connection that is open.
pub struct Opened {
    pub reader: FrameReader,
    pub sink: Sink,
    /// How the node that answered advertises itself; none where it says nothing.
    pub node: Option<Endpoint>,
    pub heartbeat: Duration,
    /// The next correlation id.
    pub next: u32,
}

/// Connects, logs in and opens the virtual host.
///
/// # Errors
/// Nobody is there, or the broker refuses. Secrets are in no error.
pub async fn open(address: &Address, to: &Endpoint, purpose: &str) -> Result<Opened, BrokerError> {
    let (source, sink) = transport::connect(address, to).await?;
    let mut handshake = Handshake { reader: FrameReader::new(source, SILENCE), sink, next: 0 };
    let name = format!("analytics-service {purpose}");
    let properties = [
        ("product", "analytics-service"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("platform", "Rust"),
        ("connection_name", &name),
    ];
    handshake.request(key::PEER_PROPERTIES, "greeting", |id| requests::peer_properties(id, &properties)).await?;
    let (mechanism, response) = address.login.sasl();
    let mut offered = handshake.request(key::SASL_HANDSHAKE, "login", requests::sasl_handshake).await?;
    let offered = offered.texts().map_err(End::from)?;
    if !offered.iter().any(|offered| offered == mechanism) {
        let offered = offered.join(", ");
        return Err(BrokerError::Permanent(format!("login: the broker offers {offered}, and not {mechanism}")));
    }
    handshake
        .request(key::SASL_AUTHENTICATE, "login", |id| requests::sasl_authenticate(id, mechanism, &response))
        .await?;
    let heartbeat_seconds = handshake.tune(address.heartbeat_seconds).await?;
    let virtual_host = &address.virtual_host;
    let what = format!("virtual host {virtual_host}");
    let mut opened = handshake.request(key::OPEN, &what, |id| requests::open(id, virtual_host)).await?;
    let properties = opened.properties().map_err(End::from)?;
    handshake.request(key::EXCHANGE_VERSIONS, "versions", requests::exchange_versions).await?;
    let heartbeat = Duration::from_secs(heartbeat_seconds.into());
    // As by AMQP: a broker that has vanished without a word is given up after twice as long.
    handshake.reader.set_silence(heartbeat * 2);
    Ok(Opened {
        reader: handshake.reader,
        sink: handshake.sink,
        node: node(&properties),
        heartbeat,
        next: handshake.next,
    })
}

fn node(properties: &[(String, String)]) -> Option<Endpoint> {
    let of = |name: &str| properties.iter().find(|(found, _)| found == name).map(|(_, value)| value);
    Some(Endpoint { host: of("advertised_host")?.clone(), port: of("advertised_port")?.parse().ok()? })
}

/// One request at a time.
struct Handshake {
    reader: FrameReader,
    sink: Sink,
    next: u32,
}

impl Handshake {
    /// Sends a request and gives what its response says behind a code that is well.
    async fn request(
        &mut self,
        key: u16,
        what: &str,
        request: impl FnOnce(u32) -> Vec<u8>,
    ) -> Result<Fields, BrokerError> {
        let id = self.next;
        self.next += 1;
        self.send(request(id)).await?;
        loop {
            match self.receive().await? {
                Inbound::Response { key: of, correlation, body } if (of, correlation) == (key, id) => {
                    return accepted(key, what, body);
                }
                Inbound::Heartbeat => {}
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Agrees on the size of frames and on the time between heartbeats, which it gives, in seconds.
    async fn tune(&mut self, ours: u32) -> Result<u32, BrokerError> {
        loop {
            match self.receive().await? {
                Inbound::Tune { heartbeat_seconds, .. } => {
                    let agreed = if heartbeat_seconds == 0 { ours } else { heartbeat_seconds.min(ours) };
                    // No limit: chunks exceed it in any case.
                    self.send(requests::tune(0, agreed)).await?;
                    return Ok(agreed);
                }
                Inbound::Heartbeat => {}
                other => return Err(unexpected(&other)),
            }
        }
    }

    async fn send(&mut self, frame: Vec<u8>) -> Result<(), BrokerError> {
        if frame.len() > MOST_SENT {
            let text =
                format!("a frame of {} bytes was to be sent to log in, and at most {MOST_SENT} are", frame.len());
            return Err(BrokerError::Permanent(text));
        }
        self.sink.write_all(&frame).await.map_err(End::from)?;
        Ok(self.sink.flush().await.map_err(End::from)?)
    }

    async fn receive(&mut self) -> Result<Inbound, End> {
        let head = self.reader.head().await?;
        let frame = self.reader.frame(head, MOST_RECEIVED).await?;
        Ok(read(frame)?)
    }
}

fn unexpected(inbound: &Inbound) -> BrokerError {
    match inbound {
        Inbound::Close { code, reason, .. } => End::ClosedByBroker { code: *code, reason: reason.clone() }.into(),
        _ => BrokerError::Interrupted(
            "the broker sent what no request waits for while the connection was opened".to_owned(),
        ),
    }
}
