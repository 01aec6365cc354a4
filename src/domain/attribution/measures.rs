//! What is summed for each key of a set.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::domain::{
    event::{Event, Status},
    money::Cents,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measures {
    pub invocations: u64,
    /// Those among them that did not end in success.
    pub errors: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost: Cents,
}

impl Measures {
    /// Of one event.
    pub fn of(event: &Event) -> Self {
        Self {
            invocations: 1,
            errors: u64::from(event.status != Status::Success),
            input_tokens: event.input_tokens.into(),
            output_tokens: event.output_tokens.into(),
            cost: event.cost_estimate_cents,
        }
    }

    pub const fn is_nothing(&self) -> bool {
        self.invocations == 0
    }
}

impl AddAssign for Measures {
    fn add_assign(&mut self, other: Self) {
        self.invocations += other.invocations;
        self.errors += other.errors;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cost += other.cost;
    }
}

impl std::iter::Sum for Measures {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}
