//! RabbitMQ: the partition streams, publishing with confirms by AMQP 0.9.1, and reading by that or by the stream protocol.
//!
//! lapin's automatic recovery stays off: it would subscribe again at the *original* offset. Who holds a connection
//! owns the reconnect loop, and [`BrokerError::is_transient`] says whether that may help.

mod amqp;
pub mod glance;
pub mod incoming;
pub mod probe;
mod publish_time;
pub mod publisher;
pub mod stream;
pub mod streams;
pub mod subscription;
pub mod topology;

use std::time::Duration;

/// All that other modules know of the client library when they pass a connection on.
pub use lapin::Connection;
use lapin::{
    ConnectionProperties, ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    uri::AMQPUri,
};

use crate::config::Broker;

/// Requested of the broker unless the URL says another: a broker that has vanished without a word is given up after twice
/// as long. Until then a silent stream looks like one where nothing happens.
const HEARTBEAT_SECONDS: u16 = 5;

/// Why the broker refused or failed. Never holds the URL, which has a password.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The broker's trouble or the network's: the same may go through later, on a new connection.
    #[error("broker: {0}")]
    Transient(#[source] lapin::Error),
    #[error("broker: no response within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The broker took a message's responsibility back; it may accept it later.
    #[error("broker: a message was refused (nack)")]
    Refused,
    #[error("broker: the subscription was cancelled")]
    Cancelled,
    /// The broker fails at what it is about to deliver, and ends the connection: it cannot translate a message, and will not
    /// be able to next time. In its words.
    #[error("broker: it fails at what it is to deliver: {0}")]
    Unreadable(String),
    /// The broker's trouble or the network's, by the stream protocol.
    #[error("broker: {0}")]
    Interrupted(String),
    /// What the broker delivered is not what its checksum and lengths say. It may be damaged on its way, or where it is stored.
    #[error("broker: what it delivers is damaged: {0}")]
    Damaged(String),
    /// Something must be there, and did not come in time.
    #[error("broker: the stream does not deliver")]
    Silent,
    /// Will not go away by itself: credentials, rights, a name that leads nowhere.
    #[error("broker: {0}")]
    Permanent(String),
}

impl BrokerError {
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Permanent(_) | Self::Unreadable(_) | Self::Damaged(_))
    }

    /// The same of an error that came while a stream was read: there an internal error is about what is in the stream.
    fn while_reading(self) -> Self {
        match self {
            Self::Transient(error) if is_internal(error.kind()) => Self::Unreadable(error.to_string()),
            other => other,
        }
    }
}

fn is_internal(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::ProtocolError(error)
        if matches!(error.kind(), AMQPErrorKind::Hard(AMQPHardError::INTERNALERROR)))
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        if is_permanent(error.kind()) { Self::Permanent(error.to_string()) } else { Self::Transient(error) }
    }
}

/// NOT_FOUND is transient, since the broker says it of a stream without a leader too; so is PRECONDITION_FAILED, which
/// a channel is closed with when deliveries were not acknowledged for long.
fn is_permanent(kind: &ErrorKind) -> bool {
    match kind {
        ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(soft) => matches!(soft, AMQPSoftError::ACCESSREFUSED),
            AMQPErrorKind::Hard(hard) => matches!(
                hard,
                AMQPHardError::NOTALLOWED
                    | AMQPHardError::NOTIMPLEMENTED
                    | AMQPHardError::COMMANDINVALID
                    | AMQPHardError::SYNTAXERROR
                    | AMQPHardError::FRAMEERROR
            ),
        },
        ErrorKind::InvalidProtocolVersion(_)
        | ErrorKind::AuthProviderError(_)
        | ErrorKind::SerialisationError(_)
        | ErrorKind::NoDefaultRuntime => true,
        _ => false,
    }
}

/// Opens one connection; `purpose` is part of the name that the broker's operators see.
///
/// # Errors
/// The broker is away or refuses, or does not respond within the settings' connect timeout.
pub async fn connect(broker: &Broker, purpose: &str) -> Result<Connection, BrokerError> {
    let mut uri = uri(broker)?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    let name = format!("analytics-service {purpose}");
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    within(broker.connect_timeout(), Connection::connect_uri(uri, properties)).await
}

fn uri(broker: &Broker) -> Result<AMQPUri, BrokerError> {
    // The parser's own message quotes the URL.
    let read = broker.url.expose().parse();
    let mut uri: AMQPUri = read.map_err(|_| BrokerError::Permanent("the URL cannot be read".to_owned()))?;
    // The URI specification reads a trailing slash as the virtual host of the empty name. RabbitMQ has none unless an operator
    // made one, and secrets that end so mean the default.
    if uri.vhost.is_empty() {
        uri.vhost = "/".to_owned();
    }
    Ok(uri)
}

/// Where the broker is: host, port and virtual host, without the login.
///
/// # Errors
/// The URL cannot be read.
pub fn address(broker: &Broker) -> Result<String, BrokerError> {
    let AMQPUri { authority, vhost, .. } = uri(broker)?;
    Ok(format!("{}:{}, virtual host {vhost}", authority.host, authority.port))
}

/// Closes a connection without waiting for long: at the end nothing depends on it any more.
pub async fn close(connection: &Connection, broker: &Broker) {
    if let Err(error) = within(broker.connect_timeout(), connection.close(200, "done".into())).await {
        tracing::debug!(%error, "the connection did not close in order");
    }
}

/// Gives a response of the broker a deadline.
async fn within<T>(
    timeout: Duration,
    response: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(timeout, response).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(BrokerError::Timeout(timeout)),
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;
    use crate::config::Secret;

    fn broker(url: &str) -> Broker {
        Broker {
            url: Secret::new(url),
            stream_url: Secret::default(),
            stream_load_balanced: false,
            stream_certificate_file: "".into(),
            stream_key_file: "".into(),
            read_ahead_bytes: 67_108_864,
            stream: "s".to_owned(),
            partitions: 1,
            prefetch: 100,
            stream_max_age: "7D".to_owned(),
            stream_max_bytes: 1_000_000,
            connect_timeout_ms: 2000,
            stall_cancel_ms: 60_000,
            own_records: 1,
        }
    }

    #[tokio::test]
    async fn an_unreadable_url_is_not_quoted() {
        for url in ["amqp://u:hunter22@host:port/%2f", "amqp:hunter22", "amqp://u:hunter22@h:1/a/b/c"] {
            let Err(error) = connect(&broker(url), "test").await else { panic!("{url} was accepted") };
            assert!(!format!("{error} {error:?}").contains("hunter22"), "{error:?}");
        }
        let Err(error) = connect(&broker("amqp://u:p@host:port/"), "test").await else { panic!("accepted") };
        assert!(!error.is_transient());
    }

    #[test]
    fn the_address_has_no_login() {
        assert_eq!(address(&broker("amqp://u:hunter22@rabbit/v")).unwrap(), "rabbit:5672, virtual host v");
    }

    #[test]
    fn a_url_without_virtual_host_means_the_default() {
        for url in ["amqp://u:p@rabbit", "amqp://u:p@rabbit/", "amqp://u:p@rabbit/%2f", "amqps://u:p@rabbit:5672/"] {
            assert!(address(&broker(url)).unwrap().ends_with(", virtual host /"), "{url}");
        }
    }

    #[tokio::test]
    async fn an_unavailable_broker_is_a_transient_error() {
        // Port 1 of the loopback address: no process listens.
        let Err(error) = connect(&broker("amqp://u:hunter22@127.0.0.1:1/%2f"), "test").await else {
            panic!("connected")
        };
        assert!(error.is_transient(), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter22"));
    }

    #[test]
    fn a_refused_login_is_permanent() {
        let error = |soft: AMQPSoftError| -> BrokerError {
            lapin::Error::from(ErrorKind::ProtocolError(AMQPError::new(soft.into(), "text".into()))).into()
        };
        assert!(!error(AMQPSoftError::ACCESSREFUSED).is_transient());
        assert!(error(AMQPSoftError::NOTFOUND).is_transient());
        assert!(error(AMQPSoftError::PRECONDITIONFAILED).is_transient());
    }

    #[test]
    fn internal_errors_concern_the_stream_only_while_reading() {
        let error = |hard: AMQPHardError| -> BrokerError {
            lapin::Error::from(ErrorKind::ProtocolError(AMQPError::new(hard.into(), "text".into()))).into()
        };
        assert!(error(AMQPHardError::INTERNALERROR).is_transient());
        assert!(matches!(error(AMQPHardError::INTERNALERROR).while_reading(), BrokerError::Unreadable(_)));
        assert!(error(AMQPHardError::CONNECTIONFORCED).while_reading().is_transient());
    }
}
