//! The console: pages for people, served by both ports. It has no endpoint for data: its pages request what the API and the
//! operations port have.

mod assets;
pub mod headers;
pub mod pages;

use crate::{config::Settings, domain::console::ConsolePort};

/// What the pages of a port are made from.
#[derive(Clone)]
pub struct Console {
    pub port: ConsolePort,
    /// How the pages show costs.
    currency: String,
}

impl Console {
    /// None where it is switched off.
    pub fn new(settings: &Settings, port: ConsolePort) -> Option<Self> {
        settings.console.enabled.then(|| Self { port, currency: settings.console.currency.clone() })
    }
}
