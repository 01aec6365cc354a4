//! Sums as columns have them.

use sqlx::FromRow;

use crate::{
    domain::attribution::Measures,
    store::{StoreError, amount::Amount},
};

/// What statements that sum raw events return, beside what they sum by.
#[derive(Clone, Copy, FromRow)]
pub(in crate::store) struct SumsRow {
    invocations: i64,
    errors: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost_cents: Amount,
}

impl SumsRow {
    pub fn measures(self) -> Result<Measures, StoreError> {
        let count = |column: &str, sum: i64| {
            u64::try_from(sum).map_err(|_| StoreError::impossible(&format!("{column} is negative")))
        };
        Ok(Measures {
            invocations: count("invocations", self.invocations)?,
            errors: count("errors", self.errors)?,
            input_tokens: count("input_tokens", self.input_tokens)?,
            output_tokens: count("output_tokens", self.output_tokens)?,
            cost: self.cost_cents.0,
        })
    }
}
