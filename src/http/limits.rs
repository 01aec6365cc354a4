//! How many requests about an org, and by a credential, are accepted.

use std::sync::Arc;

use uuid::Uuid;

use super::{attempts::Attempts, error::Problem, in_flight::InFlight, limiter::Limiter, log_lines::LogLines};
use crate::{
    auth::{Caller, Credential},
    config::{RateLimit, Settings},
    telemetry::metrics::Metrics,
};

/// Clones count together. Processes count each for itself.
#[derive(Clone, Default)]
pub struct Limits {
    orgs: Option<Arc<Limiter<Uuid>>>,
    credentials: Option<Arc<Limiter<(Credential, String)>>>,
    pub attempts: Attempts,
    pub lines: LogLines,
    pub in_flight: InFlight,
}

impl Limits {
    pub fn new(settings: &Settings, metrics: Metrics) -> Self {
        let in_flight = InFlight::new(&settings.http, metrics);
        Self { in_flight, ..Self::of_rates(&settings.rate_limit) }
    }

    /// With no bound on anything else.
    pub fn of_rates(settings: &RateLimit) -> Self {
        Self {
            orgs: Limiter::new(settings.org()).map(Arc::new),
            credentials: Limiter::new(settings.credential()).map(Arc::new),
            attempts: Attempts::new(settings.refused()),
            ..Self::default()
        }
    }

    /// Counts a request of a credential.
    ///
    /// # Errors
    /// 429 where its requests are too many.
    pub fn credential(&self, caller: &Caller) -> Result<(), Problem> {
        match &self.credentials {
            Some(limiter) => limiter.count((caller.credential, caller.subject.clone())),
            None => Ok(()),
        }
    }

    /// Counts a request about each of these orgs.
    ///
    /// # Errors
    /// 429 where requests about one of them are too many.
    pub fn orgs(&self, orgs: &[Uuid]) -> Result<(), Problem> {
        match &self.orgs {
            Some(limiter) => orgs.iter().try_for_each(|org_id| limiter.count(*org_id)),
            None => Ok(()),
        }
    }
}
