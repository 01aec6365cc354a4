//! Events that come by a request: one, or an array of them.

use serde_json::value::RawValue;
use uuid::Uuid;

use super::event::{Event, Reason, Rejection, Rules, decode, org_of};

/// Most events of one request.
pub const MAX_EVENTS: usize = 1000;

/// The events of a request as they were written, so that no amount goes through a float.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    pub bodies: Vec<Vec<u8>>,
    /// They came as an array, and are named by their place in it.
    pub many: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be JSON: an event, or an array of 1 to {MAX_EVENTS} events")]
pub struct Unreadable;

impl Submission {
    /// # Errors
    /// The body is neither one JSON value nor an array of as many as may be.
    pub fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let whole: &RawValue = serde_json::from_slice(body).map_err(|_| Unreadable)?;
        let many = whole.get().starts_with('[');
        let parts: Vec<&RawValue> =
            if many { serde_json::from_str(whole.get()).map_err(|_| Unreadable)? } else { vec![whole] };
        if !(1..=MAX_EVENTS).contains(&parts.len()) {
            return Err(Unreadable);
        }
        Ok(Self { bodies: parts.iter().map(|part| part.get().as_bytes().to_vec()).collect(), many })
    }

    /// Every org that is named, each once. An event that names none is no event.
    pub fn orgs(&self) -> Vec<Uuid> {
        let mut orgs: Vec<Uuid> = self.bodies.iter().filter_map(|body| org_of(body)).collect();
        orgs.sort_unstable();
        orgs.dedup();
        orgs
    }
}

/// What an event is by the rules: its identity and its home, or every reason why it is none.
pub type Judgement = Result<Accepted, Vec<Reason>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub event_id: Uuid,
    pub org_id: Uuid,
}

pub fn judge(body: &[u8], rules: &Rules) -> Judgement {
    match decode(body, rules) {
        Ok(Event { event_id, org_id, .. }) => Ok(Accepted { event_id, org_id }),
        Err(Rejection { reasons, .. }) => Err(reasons),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<String>, Unreadable> {
        let submission = Submission::read(body.as_bytes())?;
        Ok(submission.bodies.into_iter().map(|body| String::from_utf8(body).unwrap()).collect())
    }

    #[test]
    fn events_are_taken_apart_as_they_were_written() {
        assert_eq!(read(r#" {"a": 0.10} "#).unwrap(), [r#"{"a": 0.10}"#]);
        assert_eq!(read(r#"[{"a":1e2}, 7 ,[]]"#).unwrap(), [r#"{"a":1e2}"#, "7", "[]"]);
        let array = Submission::read(b"[1]").unwrap();
        assert!(array.many && !Submission::read(b"1").unwrap().many);
    }

    #[test]
    fn invalid_or_oversize_submissions_are_refused() {
        let full = format!("[{}]", vec!["1"; MAX_EVENTS].join(","));
        assert_eq!(read(&full).unwrap().len(), MAX_EVENTS);
        let over = format!("[{}]", vec!["1"; MAX_EVENTS + 1].join(","));
        for body in ["", "[]", "[1,]", "{", "{} {}", "\u{feff}{}", over.as_str(), &"[".repeat(100_000)] {
            assert_eq!(read(body), Err(Unreadable), "{}", &body[..body.len().min(20)]);
        }
        assert_eq!(Submission::read(b"\"\xff\""), Err(Unreadable));
    }

    #[test]
    fn every_org_is_named_once() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let body = format!(
            r#"[{{"orgId":"{b}"}},{{"orgId":"{a}"}},{{"orgId":"{b}"}},{{"orgId":"x"}},{{"orgId":"{a}","orgId":"{b}"}}]"#
        );
        assert_eq!(Submission::read(body.as_bytes()).unwrap().orgs(), [a, b]);
    }
}
