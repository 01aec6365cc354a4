use super::*;
use crate::domain::event::Status;

const NOW: &str = "2026-03-01T12:00:00Z";

fn rules(partitions: u16) -> SplitRules {
    SplitRules {
        event: Rules { now: NOW.parse().unwrap(), max_ahead: TimeDelta::minutes(5), retention: TimeDelta::days(400) },
        late_after: TimeDelta::hours(1),
        reached: None,
        window: TimeDelta::hours(24),
        partition: 0,
        partitions,
    }
}

fn body(event_id: u128, occurred_at: &str, latency_ms: u32) -> Vec<u8> {
    let event = Event {
        event_id: Uuid::from_u128(event_id),
        org_id: Uuid::from_u128(1),
        model_id: Uuid::from_u128(7),
        actor_id: None,
        client_id: None,
        occurred_at: occurred_at.parse().unwrap(),
        status: Status::Success,
        error_code: None,
        latency_ms,
        input_tokens: 1,
        output_tokens: 1,
        cost_estimate_cents: Default::default(),
        metadata: None,
    };
    serde_json::to_vec(&event).unwrap()
}

fn split_all(bodies: Vec<Vec<u8>>, partitions: u16) -> Batch {
    let messages =
        bodies.into_iter().zip(10..).map(|(body, offset)| Message::new(offset, Some(NOW.parse().unwrap()), body));
    let raw = RawBatch { id: Uuid::nil(), first_offset: 8, missing: None, messages: messages.collect() };
    let mut window = Window::new(1 << 20, TimeDelta::hours(24), NOW.parse().unwrap());
    window.loaded(None);
    split(raw, &rules(partitions), &mut window, 0)
}

#[test]
fn every_message_ends_in_exactly_one_place() {
    let batch = split_all(
        vec![
            body(1, "2026-03-01T11:59:00Z", 1),
            body(1, "2026-03-01T11:59:00Z", 1),
            body(1, "2026-03-01T11:59:01Z", 1),
            body(2, "2026-03-01T10:59:59Z", 1),
            b"no".to_vec(),
        ],
        1,
    );
    assert_eq!((batch.fresh.len(), batch.suspects.len(), batch.repeats.len(), batch.rejects.len()), (2, 0, 2, 1));
    assert_eq!(batch.repeats.iter().map(|r| (r.of, r.conflict)).collect::<Vec<_>>(), [(0, false), (0, true)]);
    assert_eq!(batch.fresh.iter().map(|c| c.late).collect::<Vec<_>>(), [false, true]);
    assert_eq!(batch.raw.next_offset(), 15);
}

#[test]
fn what_cannot_be_read_is_rejected_with_its_reason() {
    let readable = body(1, "2026-03-01T11:59:00Z", 1);
    let unreadable = Message {
        unreadable: Some("the batch is cut short".to_owned()),
        ..Message::new(1, Some(NOW.parse().unwrap()), body(2, "2026-03-01T11:59:00Z", 1))
    };
    let messages = vec![Message::new(0, None, readable), unreadable];
    let raw = RawBatch { id: Uuid::nil(), first_offset: 0, missing: None, messages };
    let batch = split(raw, &rules(1), &mut Window::new(1 << 20, TimeDelta::hours(24), NOW.parse().unwrap()), 0);
    assert_eq!((batch.candidates().count(), batch.rejects.len(), batch.rejects[0].message), (1, 1, 1));
    let reasons = &batch.rejects[0].rejection.reasons;
    assert_eq!(reasons.iter().map(ToString::to_string).collect::<Vec<_>>(), ["body: the batch is cut short"]);
    assert!(!batch.has_rejects_of_time());
    assert_eq!(batch.published_to, Some(NOW.parse().unwrap()), "the stream was read past it");
}

#[test]
fn lateness_is_measured_from_the_publish_time() {
    let at = |text: &str| -> DateTime<Utc> { format!("2026-03-01T{text}Z").parse().unwrap() };
    let late = |reached: Option<&str>, partitions, published: Option<&str>, occurred: &str| {
        let body = body(1, &format!("2026-03-01T{occurred}Z"), 1);
        let message = Message::new(0, published.map(at), body);
        let raw = RawBatch { id: Uuid::nil(), first_offset: 0, missing: None, messages: vec![message] };
        let rules = SplitRules { reached: reached.map(at), ..rules(partitions) };
        let mut window = Window::new(1 << 20, TimeDelta::hours(24), NOW.parse().unwrap());
        split(raw, &rules, &mut window, 0).candidates().all(|candidate| candidate.late)
    };
    for (reached, published, occurred, expected) in [
        (None, Some("12:00:00"), "10:59:59", true),
        (None, Some("12:00:00"), "11:00:00", false),
        // Without a publish time: by what was reached.
        (None, None, "03:00:00", false),
        (Some("11:30:00"), None, "10:30:00", false),
        (Some("11:30:00"), None, "10:29:59", true),
        // A publish time that lies behind does not make it early.
        (Some("11:30:00"), Some("10:30:00"), "10:29:59", true),
        (Some("09:00:00"), Some("10:30:00"), "10:29:59", false),
        // A watermark that is ahead is none.
        (Some("23:00:00"), None, "11:00:00", false),
    ] {
        assert_eq!(late(reached, 1, published, occurred), expected, "{reached:?} {published:?} {occurred}");
    }
    let elsewhere = (2..9).find(|partitions| home_partition(Uuid::from_u128(1), *partitions) != 0).unwrap();
    assert!(late(Some("09:00:00"), elsewhere, None, "10:59:59"), "its own partition may be complete up to now");
}

#[test]
fn events_without_publish_time_use_earlier_ones() {
    let message = |offset, body: Vec<u8>| Message::new(offset, None, body);
    let bodies =
        [body(1, "2026-03-01T11:00:00Z", 1), body(2, "2026-03-01T09:59:59Z", 1), body(3, "2026-03-01T10:00:00Z", 1)];
    let messages = (0..).zip(bodies).map(|(offset, body)| message(offset, body)).collect();
    let raw = RawBatch { id: Uuid::nil(), first_offset: 0, missing: None, messages };
    let rules = SplitRules { reached: Some(DateTime::UNIX_EPOCH), ..rules(1) };
    let mut window = Window::new(1 << 20, TimeDelta::hours(24), NOW.parse().unwrap());
    window.loaded(None);
    let batch = split(raw, &rules, &mut window, 0);
    assert_eq!(batch.fresh.iter().map(|candidate| candidate.late).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn a_second_clock_accepts_events_of_wrong_time() {
    let ahead = "2026-03-01T12:05:01Z";
    let batch = split_all(
        vec![
            body(1, "2026-03-01T11:59:00Z", 1),
            body(2, ahead, 1),
            body(2, ahead, 2),
            body(1, ahead, 1),
            body(3, "2026-03-01T12:30:00Z", 1),
            b"no".to_vec(),
        ],
        4,
    );
    assert_eq!(batch.rejects.iter().map(|r| r.message).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(batch.foreign.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4], "their homes are locked too");
    assert!(batch.judged_again(NOW.parse().unwrap()).is_none());
    let again = batch.judged_again("2026-03-01T12:00:01Z".parse().unwrap()).unwrap();
    assert_eq!(again.rejects.iter().map(|r| r.message).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(again.readmitted.iter().copied().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(again.suspects.iter().map(|c| c.message).collect::<Vec<_>>(), [0, 1]);
    let repeats: Vec<_> = again.repeats.iter().map(|r| (r.candidate.message, r.of, r.conflict)).collect();
    assert_eq!(repeats, [(2, 1, true), (3, 0, true)]);
    assert_eq!(again.candidates().count() + again.rejects.len(), again.raw.messages.len());
}

#[test]
fn a_clock_that_is_ahead_moves_no_watermark() {
    let now: DateTime<Utc> = NOW.parse().unwrap();
    let message = |offset, published_at, body: Vec<u8>| Message::new(offset, published_at, body);
    let ahead = Some(now + TimeDelta::seconds(2));
    let behind = Some(now - TimeDelta::seconds(9));
    let to = |messages| {
        let raw = RawBatch { id: Uuid::nil(), first_offset: 0, missing: None, messages };
        split(raw, &rules(1), &mut Window::new(1 << 20, TimeDelta::hours(24), now), 0).published_to
    };
    assert_eq!(to(vec![message(0, behind, b"no".to_vec()), message(1, ahead, b"no".to_vec())]), behind);
    assert_eq!(to(vec![message(0, None, b"no".to_vec())]), None);
    let event = body(1, "2026-03-01T11:59:00Z", 1);
    assert_eq!(to(vec![message(0, ahead, event)]), Some(now - TimeDelta::minutes(1)));
}

#[test]
fn a_key_beyond_the_window_is_new() {
    let batch = split_all(vec![body(1, "2026-03-01T11:00:00Z", 1), body(1, "2026-02-28T10:59:59Z", 1)], 1);
    assert_eq!((batch.fresh.len(), batch.suspects.len(), batch.repeats.len()), (1, 1, 0));
}

#[test]
fn an_event_of_another_partition_is_a_suspect() {
    let batch = split_all(vec![body(1, "2026-03-01T11:59:00Z", 1)], 4);
    assert_eq!((batch.fresh.len(), batch.suspects.len()), (0, 1));
    assert_eq!(batch.foreign.into_iter().collect::<Vec<_>>(), [(0, 3)]);
}
