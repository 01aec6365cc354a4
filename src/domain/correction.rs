//! Corrections: which event may take a dead letter's place, and which one does.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    dead_letter::State,
    event::{Event, Reason, Rules, decode},
};

/// What is to be done with a correction.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The first one: it is to be stored.
    First(Event),
    /// The event that is stored already.
    Same(Event),
    /// Another event is stored: the first one counts.
    Other,
    /// It breaks rules: all of them.
    Wrong(Vec<Reason>),
}

/// What became of a correction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This event takes the message's place: stored now, or stored before.
    Accepted { state: State, event_id: Uuid },
    /// Another one was first.
    AlreadyCorrected,
    /// It is no event, or one of another org: every reason.
    Wrong(Vec<Reason>),
    /// There is no such letter, or it belongs to another org.
    NotFound,
}

/// The correction that is stored already.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub body: &'a [u8],
    pub at: DateTime<Utc>,
}

/// Judges a correction. Events are compared, not bytes.
///
/// `org_id` is the dead letter's, which the event must name; none: any org will do.
pub fn judge(body: &[u8], org_id: Option<Uuid>, stored: Option<Stored<'_>>, rules: &Rules) -> Verdict {
    if let Some(stored) = stored {
        // By the rules of then: a repeated request must not change the response as the event grows old.
        let then = Rules { now: stored.at, ..*rules };
        match (decode(body, &then), decode(stored.body, &then)) {
            (Ok(event), Ok(first)) if event == first => return Verdict::Same(event),
            _ => {}
        }
    }
    let is_foreign = |found: Uuid| org_id.is_some_and(|org_id| org_id != found);
    let foreign = || Reason { field: "orgId", rule: "must be the organisation of the dead letter".to_owned() };
    match decode(body, rules) {
        Ok(event) if is_foreign(event.org_id) => Verdict::Wrong(vec![foreign()]),
        Ok(_) if stored.is_some() => Verdict::Other,
        Ok(event) => Verdict::First(event),
        Err(mut rejection) => {
            if rejection.org_id.is_some_and(is_foreign) {
                rejection.reasons.push(foreign());
            }
            Verdict::Wrong(rejection.reasons)
        }
    }
}

/// The org of a stored correction, whatever else is wrong with it by now.
pub fn org_of(correction: &[u8]) -> Option<Uuid> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        org_id: Uuid,
    }
    serde_json::from_slice::<Head>(correction).ok().map(|head| head.org_id)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::{Value, json};

    use super::*;

    const ORG: Uuid = Uuid::from_u128(1);

    fn rules() -> Rules {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        Rules { now, max_ahead: TimeDelta::minutes(5), retention: TimeDelta::days(400) }
    }

    fn event() -> Value {
        json!({
            "eventId": Uuid::from_u128(2), "orgId": ORG, "modelId": Uuid::from_u128(3),
            "occurredAt": "2026-03-01T11:59:59.1234567+01:00", "status": "success", "latencyMs": 12, "inputTokens": 3,
            "outputTokens": 4, "costEstimateCents": 0.25, "metadata": {"a": "\u{1}\u{e9}\"\\"}, "clientId": "k\u{e9}y",
        })
    }

    fn judged(event: &Value, org_id: Option<Uuid>, stored: Option<Stored<'_>>) -> Verdict {
        judge(event.to_string().as_bytes(), org_id, stored, &rules())
    }

    /// What is stored of an event.
    fn stored(event: &Value) -> Vec<u8> {
        let Verdict::First(event) = judged(event, Some(ORG), None) else { panic!("{event} was refused") };
        serde_json::to_vec(&event).unwrap()
    }

    #[test]
    fn the_first_correction_counts() {
        let first = stored(&event());
        let first = Stored { body: &first, at: rules().now };
        let mut other_bytes = event();
        other_bytes["costEstimateCents"] = serde_json::from_str("2.5e-1").unwrap();
        other_bytes["occurredAt"] = json!("2026-03-01T10:59:59.123456Z");
        other_bytes["unknown"] = json!([1]);
        assert!(matches!(judged(&other_bytes, Some(ORG), Some(first)), Verdict::Same(_)));
        for (field, value) in [("latencyMs", json!(13)), ("eventId", json!(ORG)), ("clientId", json!("x"))] {
            let mut other = event();
            other[field] = value;
            assert_eq!(judged(&other, Some(ORG), Some(first)), Verdict::Other, "{field}");
        }
    }

    #[test]
    fn an_old_event_still_equals_itself() {
        let (first, text) = (stored(&event()), event().to_string());
        let years_later = Rules { now: rules().now + TimeDelta::days(800), ..rules() };
        let first = Stored { body: &first, at: rules().now };
        assert!(matches!(judge(text.as_bytes(), Some(ORG), Some(first), &years_later), Verdict::Same(_)));
        assert!(matches!(judge(text.as_bytes(), Some(ORG), None, &years_later), Verdict::Wrong(_)));
        let mut new = event();
        new["occurredAt"] = json!(years_later.now);
        assert_eq!(judge(new.to_string().as_bytes(), Some(ORG), Some(first), &years_later), Verdict::Other);
    }

    #[test]
    fn an_event_of_another_org_is_rejected() {
        let fields = |verdict: Verdict| match verdict {
            Verdict::Wrong(reasons) => reasons.iter().map(|reason| reason.field).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        let mut foreign = event();
        foreign["orgId"] = json!(Uuid::from_u128(9));
        assert_eq!(fields(judged(&foreign, Some(ORG), None)), ["orgId"]);
        assert!(matches!(judged(&foreign, None, None), Verdict::First(_)), "where no org is known, any will do");
        foreign["latencyMs"] = json!(-1);
        assert_eq!(fields(judged(&foreign, Some(ORG), None)), ["latencyMs", "orgId"]);
        assert_eq!(fields(judged(&json!([]), Some(ORG), None)), ["message"]);
        assert_eq!(fields(judge(&vec![b' '; 70_000], Some(ORG), None, &rules())), ["message"]);
    }

    #[test]
    fn the_org_of_what_is_stored_is_found() {
        assert_eq!(org_of(&stored(&event())), Some(ORG));
        assert_eq!(org_of(b"no event"), None);
    }
}
