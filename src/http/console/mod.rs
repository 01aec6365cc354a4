//! The console: pages for people, served by both ports. It has no endpoint for data: its pages request what the API and the
//! operations port have, by a session that stands for a credential.
//!
//! [`pages`] and `assets` are what a browser loads, [`headers`] what it may do with that; [`sign_in`] begins and ends sessions, [`issuer`]
//! begins them by an issuer, from which `return_path` says where the browser goes; [`cookie`] is what the browser keeps of a session, and
//! [`origin`] says which requests may use it.

mod assets;
pub mod cookie;
pub mod headers;
pub mod issuer;
pub mod origin;
pub mod pages;
mod return_path;
pub mod sign_in;

use std::time::Duration;

use crate::{
    actors::{
        serving::{
            issuer::{Authorize, Exchange},
            sessions::{BeginSession, EndSession, FindSession, RedeemLink},
        },
        supervision::actor_ref::ActorRef,
    },
    config::Settings,
    domain::console::ConsolePort,
};

/// Largest body of a request below /console: a token of the largest size, as JSON.
pub const MAX_BODY: usize = 20 << 10;

/// The console of a port.
#[derive(Clone)]
pub struct Console {
    pub port: ConsolePort,
    /// How the pages show costs.
    currency: String,
    /// Longest that somebody stays signed in.
    session_timeout: Duration,
    /// Longest that a request's body may take.
    pub body_within: Duration,
    /// The issuer that people can sign in by.
    issuer: Option<IssuerOf>,
}

/// The issuer, as one port has it: the way back is the port's own.
#[derive(Clone)]
struct IssuerOf {
    url: String,
    /// For people.
    name: String,
    /// Where it sends browsers back to.
    redirect_uri: String,
}

impl Console {
    /// None where it is switched off.
    pub fn new(settings: &Settings, port: ConsolePort) -> Option<Self> {
        settings.console.enabled.then(|| Self {
            port,
            currency: settings.console.currency.clone(),
            session_timeout: settings.console.session_timeout(),
            body_within: settings.http.body_timeout(),
            issuer: settings.console.issuer_name().map(|name| IssuerOf {
                url: settings.console.oidc_issuer.clone(),
                name: name.to_owned(),
                redirect_uri: format!("{}/console/sign-in/callback", settings.console_url(port)),
            }),
        })
    }

    fn redirect_uri(&self) -> Option<String> {
        self.issuer.as_ref().map(|issuer| issuer.redirect_uri.clone())
    }

    fn issuer_url(&self) -> &str {
        self.issuer.as_ref().map_or("", |issuer| &issuer.url)
    }

    fn issuer_name(&self) -> &str {
        self.issuer.as_ref().map_or("", |issuer| &issuer.name)
    }
}

/// The actor that knows who is signed in, and the one that knows the issuer.
#[derive(Clone, Default)]
pub struct SessionRefs {
    pub find: ActorRef<FindSession>,
    pub begin: ActorRef<BeginSession>,
    pub redeem: ActorRef<RedeemLink>,
    pub end: ActorRef<EndSession>,
    pub authorize: ActorRef<Authorize>,
    pub exchange: ActorRef<Exchange>,
}
