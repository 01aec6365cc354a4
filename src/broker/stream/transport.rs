//! The socket to a broker: TCP, or TLS on it.

use std::{io, sync::Arc};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{address::Address, frames::responses::Endpoint};
use crate::broker::BrokerError;

pub type Source = Box<dyn AsyncRead + Send + Unpin>;
pub type Sink = Box<dyn AsyncWrite + Send + Unpin>;

/// Connects to an endpoint in the way that the address says.
///
/// # Errors
/// Nobody is there, or it is not trusted.
pub async fn connect(address: &Address, to: &Endpoint) -> Result<(Source, Sink), BrokerError> {
    let Endpoint { host, port } = to;
    let away = |error: io::Error| BrokerError::Interrupted(format!("connecting to {host}:{port}: {error}"));
    let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(away)?;
    // Requests are small and waited for.
    stream.set_nodelay(true).map_err(away)?;
    if !address.tls {
        let (source, sink) = stream.into_split();
        return Ok((Box::new(source), Box::new(sink)));
    }
    let connector = TlsConnector::from(Arc::new(tls().await?));
    let name = ServerName::try_from(host.clone())
        .map_err(|_| BrokerError::Permanent(format!("{host} is no name that a certificate could have")))?;
    let stream = connector.connect(name, stream).await.map_err(away)?;
    let (source, sink) = tokio::io::split(stream);
    Ok((Box::new(source), Box::new(sink)))
}

/// The system's certificates, or those that `SSL_CERT_FILE` names, as for the other connections.
async fn tls() -> Result<ClientConfig, BrokerError> {
    let wrong = |error: String| BrokerError::Permanent(format!("TLS: {error}"));
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.map_err(|error| wrong(error.to_string()))?.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| wrong(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
