//! The orgs and models of a workload, and what a request to them is like.
//!
//! Org i and model i have UUIDv5 ids of the seed and i, so they are the same in every run; those of a trace are apart
//! from those of synthetic load. Both are drawn by Zipf's law, as real tenants are: of 250 orgs the first makes 16 % of
//! the requests.
//!
//! - latency = (200 ms + 0.3 ms per input token + 18 ms per output token) × 0.8 to 1.2, at most the contract's bound
//! - cost = input tokens × the model's input price + output tokens × its output price, rounded to a ten-thousandth of a
//!   cent; a request that did not succeed has used its tokens all the same
//! - 1 % do not succeed: half of them errors, three tenths throttled, two tenths timeouts
//! - three quarters carry a client of their org, half an actor, half metadata

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::draw::{Draw, Zipf};
use crate::domain::{
    event::{Event, MAX_LATENCY_MS, Metadata, Status},
    money::Cents,
};

/// What names of this module are UUIDs under.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x0be7_a2c1_5c0e_4b1e_9d3a_6f2d_8b54_71e0);

/// Cents for a million input and a million output tokens. Model i has the prices i modulo their number.
const PRICES: [(i128, i128); 6] = [(250, 1000), (15, 60), (300, 1500), (80, 400), (110, 440), (7, 30)];
const TOKENS_OF_A_PRICE: i128 = 1_000_000;

const CLIENTS: [&str; 6] = ["web-console", "batch-jobs", "mobile-app", "search-api", "notebooks", "support-bot"];
const REGIONS: [&str; 4] = ["eu-west-1", "us-east-1", "us-west-2", "ap-south-1"];
const GUARDRAILS: [&str; 3] = ["2026-01", "2026-03", "2026-04"];
const ACTORS: u32 = 32;

pub struct Catalogue {
    orgs: Vec<Org>,
    models: Vec<Uuid>,
    org_law: Zipf,
    model_law: Zipf,
}

struct Org {
    id: Uuid,
    actors: Vec<Uuid>,
}

/// What differs from request to request.
pub struct Request {
    pub event_id: Uuid,
    pub occurred_at: DateTime<Utc>,
    pub input_tokens: u32,
    pub output_tokens: u32,
}

impl Catalogue {
    /// `family` keeps the ids of different sources apart.
    pub fn new(family: &str, seed: u64, orgs: u16, models: u16) -> Self {
        let id = |what: &str, i: u16| Uuid::new_v5(&NAMESPACE, format!("{family}/{seed}/{what}/{i}").as_bytes());
        let org = |i| {
            let org_id = id("org", i);
            let actor = |k: u32| Uuid::new_v5(&org_id, format!("actor/{k}").as_bytes());
            Org { id: org_id, actors: (0..ACTORS).map(actor).collect() }
        };
        Self {
            orgs: (0..orgs).map(org).collect(),
            models: (0..models).map(|i| id("model", i)).collect(),
            org_law: Zipf::new(usize::from(orgs)),
            model_law: Zipf::new(usize::from(models)),
        }
    }

    /// Makes the event of a request.
    pub fn event(&self, request: Request, draw: &mut Draw) -> Event {
        let org = &self.orgs[self.org_law.draw(draw)];
        let model = self.model_law.draw(draw);
        let Request { event_id, occurred_at, input_tokens, output_tokens } = request;
        let (status, error_code) = outcome(draw);
        Event {
            event_id,
            org_id: org.id,
            model_id: self.models[model],
            actor_id: draw.chance(1, 2).then(|| org.actors[draw.index(org.actors.len())]),
            client_id: draw.chance(3, 4).then(|| CLIENTS[draw.index(CLIENTS.len())].to_owned()),
            occurred_at,
            status,
            error_code: error_code.map(str::to_owned),
            latency_ms: latency_ms(input_tokens, output_tokens, draw),
            input_tokens,
            output_tokens,
            cost_estimate_cents: cost(model, input_tokens, output_tokens),
            metadata: draw.chance(1, 2).then(|| metadata(draw)),
        }
    }
}

fn outcome(draw: &mut Draw) -> (Status, Option<&'static str>) {
    match draw.below(1000) {
        0..=4 => (Status::Error, Some(["upstream_500", "content_filter"][draw.index(2)])),
        5..=7 => (Status::Throttled, Some("rate_limit")),
        8..=9 => (Status::Timeout, Some("deadline_exceeded")),
        _ => (Status::Success, None),
    }
}

fn latency_ms(input_tokens: u32, output_tokens: u32, draw: &mut Draw) -> u32 {
    let micros = 200_000 + 300 * u64::from(input_tokens) + 18_000 * u64::from(output_tokens);
    let jittered = micros * (800 + draw.below(401)) / 1000;
    u32::try_from(jittered / 1000).unwrap_or(MAX_LATENCY_MS).min(MAX_LATENCY_MS)
}

/// In whole numbers from the first digit to the last: prices are whole cents for a million tokens.
fn cost(model: usize, input_tokens: u32, output_tokens: u32) -> Cents {
    let (input_price, output_price) = PRICES[model % PRICES.len()];
    let cents_times_million = i128::from(input_tokens) * input_price + i128::from(output_tokens) * output_price;
    Cents::from_ten_thousandths((cents_times_million * 10_000 + TOKENS_OF_A_PRICE / 2) / TOKENS_OF_A_PRICE)
}

fn metadata(draw: &mut Draw) -> Metadata {
    let region = REGIONS[draw.index(REGIONS.len())];
    let guardrail = GUARDRAILS[draw.index(GUARDRAILS.len())];
    [("guardrailVersion", guardrail), ("region", region)].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_exact_to_four_decimals() {
        // 374 × 15 + 44 × 60 = 8,250 cents for a million tokens each: 0.00825 cents, rounded up.
        assert_eq!(cost(1, 374, 44).to_string(), "0.0083");
        assert_eq!(cost(0, 1_000_000, 1_000_000).to_string(), "1250");
        assert_eq!(cost(7, 0, 0).to_string(), "0");
    }

    #[test]
    fn latency_follows_its_formula() {
        let mut draw = Draw::new(1, b"latency", 0);
        for _ in 0..1000 {
            // 200 + 300 + 1800 ms, a fifth more or less.
            assert!((1840..=2760).contains(&latency_ms(1000, 100, &mut draw)));
        }
        assert_eq!(latency_ms(1_000_000_000, 1_000_000_000, &mut draw), MAX_LATENCY_MS);
    }

    #[test]
    fn ids_are_stable_by_family_and_seed() {
        let first = |family, seed| Catalogue::new(family, seed, 1, 1).orgs[0].id;
        assert_eq!(first("trace", 1), Catalogue::new("trace", 1, 9, 9).orgs[0].id);
        assert!(first("trace", 1) != first("trace", 2) && first("trace", 1) != first("synthetic", 1));
    }
}
