//! What an event is, at a moment that stays.

use actix::{Actor, Context, Handler, MessageResult};
use chrono::{DateTime, TimeDelta};

use crate::{
    actors::serving::events::{Check, NotPublished, Publish},
    domain::{
        event::Rules,
        submission::{Judgement, judge},
    },
};

/// Judges events as at one moment, and takes those of [`ORG`] alone.
pub struct FixedRules;

impl Actor for FixedRules {
    type Context = Context<Self>;
}

pub const fn rules() -> Rules {
    let now = DateTime::from_timestamp(1_772_452_800, 0).unwrap();
    Rules { now, max_ahead: TimeDelta::minutes(5), retention: TimeDelta::days(400) }
}

impl Handler<Check> for FixedRules {
    type Result = MessageResult<Check>;

    fn handle(&mut self, Check(body): Check, _: &mut Self::Context) -> Self::Result {
        MessageResult(judge(&body, &rules()))
    }
}

impl Handler<Publish> for FixedRules {
    type Result = Result<Vec<Judgement>, NotPublished>;

    fn handle(&mut self, Publish { bodies, .. }: Publish, _: &mut Self::Context) -> Self::Result {
        if bodies.len() == 7 {
            return Err(NotPublished::Off);
        }
        Ok(bodies.iter().map(|body| judge(body, &rules())).collect())
    }
}
