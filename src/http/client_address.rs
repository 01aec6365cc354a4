//! Where a request comes from, as far as that can be known.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use actix_web::{HttpRequest, http::header::HeaderMap};
use ipnet::IpNet;

/// The proxies whose word on their callers counts.
#[derive(Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    /// The peer's address; where the peer is a trusted proxy, the last address of `X-Forwarded-For` that is none. What
    /// stands before that one is the caller's own word and counts for nothing.
    pub fn address_of(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip().to_canonical();
        Some(self.behind(peer, request.headers()))
    }

    fn behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lines: Vec<&str> =
            headers.get_all("x-forwarded-for").map(|line| line.to_str().unwrap_or_default()).collect();
        let mut last = peer;
        let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
        while self.trusts(last)
            && let Some(hop) = hops.next().and_then(address)
        {
            last = hop;
        }
        last
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// A hop, which may be written with a port.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().ok().or_else(|| hop.parse().ok().map(|address: SocketAddr| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn found(peer: &str, trusted: &[&str], forwarded: &[&str]) -> String {
        let networks: Vec<IpNet> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let mut request = TestRequest::default().peer_addr(SocketAddr::new(peer.parse().unwrap(), 1234));
        for line in forwarded {
            request = request.append_header(("x-forwarded-for", *line));
        }
        TrustedProxies::new(&networks).address_of(&request.to_http_request()).unwrap().to_string()
    }

    #[test]
    fn only_trusted_proxies_name_the_previous_hop() {
        let cluster = ["10.0.0.0/8", "fd00::/8"];
        for (peer, trusted, forwarded, address) in [
            ("10.0.0.1", &[][..], &["1.2.3.4"][..], "10.0.0.1"),
            ("9.9.9.9", &cluster, &["1.2.3.4"], "9.9.9.9"),
            ("10.0.0.1", &cluster, &[], "10.0.0.1"),
            ("10.0.0.1", &cluster, &["1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", &cluster, &["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", &cluster, &["6.6.6.6, 1.2.3.4, 10.9.9.9"], "1.2.3.4"),
            ("10.0.0.1", &cluster, &["6.6.6.6", "1.2.3.4,10.9.9.9"], "1.2.3.4"),
            ("10.0.0.1", &cluster, &["10.0.0.7, 10.9.9.9"], "10.0.0.7"),
            ("10.0.0.1", &cluster, &["6.6.6.6, nonsense"], "10.0.0.1"),
            ("::ffff:10.0.0.1", &cluster, &["[2001:db8::1]:443"], "2001:db8::1"),
            ("fd00::1", &cluster, &["1.2.3.4:5678"], "1.2.3.4"),
        ] {
            assert_eq!(found(peer, trusted, forwarded), address, "{peer} {trusted:?} {forwarded:?}");
        }
    }
}
