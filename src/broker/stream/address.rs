//! Where the broker is, and how to log in: what `broker.stream_url` says.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use super::frames::responses::Endpoint;
use crate::{
    broker::{BrokerError, HEARTBEAT_SECONDS},
    config::{Broker, Secret},
};

const PLAIN_PORT: u16 = 5552;
const TLS_PORT: u16 = 5551;

/// Not to be printed: it has the password.
#[derive(Clone)]
pub struct Address {
    pub tls: bool,
    pub endpoint: Endpoint,
    pub virtual_host: String,
    pub login: Login,
    /// Requested of the broker unless the URL says another, seconds.
    pub heartbeat_seconds: u32,
    pub certificate: Option<ClientFiles>,
}

/// Where the client's own certificate is, with its key.
#[derive(Clone)]
pub struct ClientFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone)]
pub enum Login {
    Plain {
        user: String,
        password: String,
    },
    /// By the client's certificate.
    External,
}

impl Address {
    /// # Errors
    /// It is no URL of this protocol. The URL is not quoted.
    pub fn of(broker: &Broker) -> Result<Self, BrokerError> {
        let certificate = (!broker.stream_certificate_file.as_os_str().is_empty()).then(|| ClientFiles {
            certificate: broker.stream_certificate_file.clone(),
            key: broker.stream_key_file.clone(),
        });
        Ok(Self { certificate, ..Self::read(&broker.stream_url)? })
    }

    fn read(url: &Secret) -> Result<Self, BrokerError> {
        let wrong = || BrokerError::Permanent("the URL cannot be read".to_owned());
        let url = Url::parse(url.expose()).map_err(|_| wrong())?;
        let tls = match url.scheme() {
            "rabbitmq-stream" => false,
            "rabbitmq-stream+tls" => true,
            _ => return Err(wrong()),
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| wrong());
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let port = url.port().unwrap_or(if tls { TLS_PORT } else { PLAIN_PORT });
        // As by AMQP: without a name, and with an empty one, the default virtual host is meant.
        let virtual_host = match decoded(url.path().strip_prefix('/').unwrap_or_default())? {
            name if name.is_empty() => "/".to_owned(),
            name => name,
        };
        let external =
            url.query_pairs().any(|(name, value)| name == "auth_mechanism" && value.eq_ignore_ascii_case("external"));
        let login = if external {
            Login::External
        } else {
            let user = if url.username().is_empty() { "guest" } else { url.username() };
            Login::Plain { user: decoded(user)?, password: decoded(url.password().unwrap_or("guest"))? }
        };
        let heartbeat = url.query_pairs().find(|(name, _)| name == "heartbeat");
        let heartbeat_seconds = match heartbeat {
            Some((_, seconds)) => seconds.parse().ok().filter(|seconds| *seconds > 0).ok_or_else(wrong)?,
            None => HEARTBEAT_SECONDS.into(),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { tls, endpoint: Endpoint { host, port }, virtual_host, login, heartbeat_seconds, certificate: None })
    }
}

impl Login {
    /// The mechanism's name, and what it sends, which is a secret.
    pub fn sasl(&self) -> (&'static str, Vec<u8>) {
        match self {
            Self::Plain { user, password } => ("PLAIN", format!("\0{user}\0{password}").into_bytes()),
            Self::External => ("EXTERNAL", Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Address {
        Address::read(&Secret::new(url)).unwrap()
    }

    #[test]
    fn every_part_has_its_default() {
        let address = read("rabbitmq-stream://rabbit");
        assert_eq!((address.tls, address.endpoint.host.as_str(), address.endpoint.port), (false, "rabbit", 5552));
        assert_eq!((address.virtual_host.as_str(), address.heartbeat_seconds), ("/", 5));
        assert_eq!(read("rabbitmq-stream://rabbit?heartbeat=1").heartbeat_seconds, 1);
        assert_eq!(address.login.sasl(), ("PLAIN", b"\0guest\0guest".to_vec()));
        assert_eq!(read("rabbitmq-stream+tls://[::1]/").endpoint, Endpoint { host: "::1".to_owned(), port: 5551 });
    }

    #[test]
    fn names_are_decoded() {
        let address = read("rabbitmq-stream://a%40b:p%2Fw@rabbit:1/v%2fw");
        assert_eq!(address.login.sasl().1, b"\0a@b\0p/w");
        assert_eq!((address.virtual_host.as_str(), address.endpoint.port), ("v/w", 1));
        let address = read("rabbitmq-stream+tls://rabbit/%2f?auth_mechanism=external");
        assert_eq!((address.virtual_host.as_str(), address.login.sasl()), ("/", ("EXTERNAL", Vec::new())));
    }

    #[test]
    fn an_unreadable_url_is_not_quoted() {
        for url in [
            "amqp://u:hunter22@h",
            "rabbitmq-stream://u:hunter22@h:port",
            "rabbitmq-stream:hunter22",
            "rabbitmq-stream://u:hunter22@h?heartbeat=0",
        ] {
            let Err(error) = Address::read(&Secret::new(url)) else { panic!("{url} was accepted") };
            assert!(!error.is_transient() && !format!("{error} {error:?}").contains("hunter22"), "{error:?}");
        }
    }
}
