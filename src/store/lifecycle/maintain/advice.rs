//! Which engine should keep the rollups, and why. What it says follows what was measured: see docs/data-life.md, "Engines".

use std::fmt;

use serde::Serialize;

use crate::store::rollups::engine::Engine;

const WHY: &str = "both return the same numbers; in the median, queries take up to 1.3 times as long from continuous \
                   aggregates, and a year of a busy platform is not measured";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineAdvice {
    /// Keeps the rollups now.
    pub engine: Engine,
    pub recommended: Engine,
    pub why: &'static str,
}

impl EngineAdvice {
    pub const fn of(engine: Engine) -> Self {
        Self { engine, recommended: Engine::Live, why: WHY }
    }
}

impl fmt::Display for EngineAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, recommended, why } = self;
        write!(f, "{}", engine.as_str())?;
        if engine != recommended {
            write!(f, ", and {0} is recommended (`rollups switch --to {0}`): {why}", recommended.as_str())?;
        }
        Ok(())
    }
}
