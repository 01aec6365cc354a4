//! Dead letters: one, which can be corrected.

use actix::Handler;
use uuid::Uuid;

use super::{Fixed, FixedResponses, MODEL, ORG, at};
use crate::{
    actors::serving::{
        corrections::Correct,
        error::QueryError,
        query::{GetDeadLetter, ListDeadLetters},
    },
    domain::{
        correction::Outcome,
        dead_letter::{DeadLetter, DeadLetterPage, DeadLetterQuery, LetterScope, OpenedLetter, State},
        event::Reason,
    },
};

pub const LETTER: Uuid = Uuid::from_u128(7);

const DEFAULT_QUERY: DeadLetterQuery = DeadLetterQuery {
    whose: LetterScope::Org(ORG),
    start: None,
    end: None,
    state: None,
    event_id: None,
    reason: None,
    before: None,
    limit: 50,
};

/// The one, with the query as its reason.
fn letter(query: &DeadLetterQuery) -> DeadLetter {
    DeadLetter {
        id: LETTER,
        org_id: Some(ORG),
        origin: None,
        rejected_at: at("2026-03-02T11:00:00Z"),
        reasons: vec![format!("{query:?}")],
        payload_bytes: 1,
        payload_sha256: vec![0xab],
        state: State::Open,
        corrected_by: None,
        corrected_at: None,
        replayed_at: None,
    }
}

impl Fixed for ListDeadLetters {
    /// Names the query by what the one letter was rejected for.
    fn response(self) -> DeadLetterPage {
        DeadLetterPage { entries: vec![letter(&self.0)], more: self.0.before.is_none() }
    }
}

impl Fixed for GetDeadLetter {
    /// There is this one, and no other.
    fn response(self) -> Option<OpenedLetter> {
        (self.id == LETTER).then(|| OpenedLetter {
            letter: letter(&DEFAULT_QUERY),
            payload: b"{".to_vec().into(),
            payload_truncated: false,
            correction: None,
        })
    }
}

impl Handler<Correct> for FixedResponses {
    type Result = Result<Outcome, QueryError>;

    /// It takes the body `ours`, from ann.
    fn handle(&mut self, Correct(correction): Correct, _: &mut Self::Context) -> Self::Result {
        let reason = |field, rule: &str| Reason { field, rule: rule.to_owned() };
        match (self.error, correction.dead_letter_id == LETTER, correction.body.as_slice()) {
            (Some(error), ..) => Err(error),
            (None, true, b"ours") if correction.by == "ann" && correction.whose == LetterScope::Org(ORG) => {
                Ok(Outcome::Accepted { state: State::Corrected, event_id: MODEL })
            }
            (None, true, b"wrong") => {
                Ok(Outcome::Wrong(vec![reason("status", "is required"), reason("orgId", "is required")]))
            }
            (None, true, _) => Ok(Outcome::AlreadyCorrected),
            _ => Ok(Outcome::NotFound),
        }
    }
}
