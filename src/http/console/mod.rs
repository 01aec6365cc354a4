//! The console: pages for people, served by both ports. It has no endpoint for data: its pages request what the API and the
//! operations port have, by a session that stands for a credential.
//!
//! [`pages`] and `assets` are what a browser loads, [`headers`] what it may do with that; [`sign_in`] begins and ends sessions,
//! [`cookie`] is what the browser keeps of one, and [`origin`] says which requests may use it.

mod assets;
pub mod cookie;
pub mod headers;
pub mod origin;
pub mod pages;
pub mod sign_in;

use std::time::Duration;

use crate::{
    actors::{
        serving::sessions::{BeginSession, EndSession, FindSession, RedeemLink},
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
}

impl Console {
    /// None where it is switched off.
    pub fn new(settings: &Settings, port: ConsolePort) -> Option<Self> {
        settings.console.enabled.then(|| Self {
            port,
            currency: settings.console.currency.clone(),
            session_timeout: settings.console.session_timeout(),
            body_within: settings.http.body_timeout(),
        })
    }
}

/// The actor that knows who is signed in.
#[derive(Clone, Default)]
pub struct SessionRefs {
    pub find: ActorRef<FindSession>,
    pub begin: ActorRef<BeginSession>,
    pub redeem: ActorRef<RedeemLink>,
    pub end: ActorRef<EndSession>,
}
