//! The socket to a broker: TCP, or TLS on it.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{
    address::{Address, ClientFiles},
    frames::responses::Endpoint,
};
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
    let client = address.certificate.clone();
    let config = tokio::task::spawn_blocking(move || tls(client.as_ref())).await;
    let config = config.map_err(|error| BrokerError::Permanent(format!("TLS: {error}")))??;
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from(host.clone())
        .map_err(|_| BrokerError::Permanent(format!("{host} is no name that a certificate could have")))?;
    let stream = connector.connect(name, stream).await.map_err(away)?;
    let (source, sink) = tokio::io::split(stream);
    Ok((Box::new(source), Box::new(sink)))
}

/// Checks by the system's certificates, or those that `SSL_CERT_FILE` names, as for the other connections.
fn tls(client: Option<&ClientFiles>) -> Result<ClientConfig, BrokerError> {
    let wrong = |error: rustls::Error| BrokerError::Permanent(format!("TLS: {error}"));
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(wrong)?.with_root_certificates(roots);
    let Some(ClientFiles { certificate, key }) = client else { return Ok(config.with_no_client_auth()) };
    let unreadable = |file: &Path, error: pem::Error| {
        BrokerError::Permanent(format!("the client's certificate: {}: {error}", file.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(|error| unreadable(certificate, error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
    config.with_client_auth_cert(chain, secret).map_err(wrong)
}
