//! Synthetic load: new events as they would come from a platform, with as many flaws as requested.
//!
//! Each message is drawn on its own: invalid, a resend, late, or a plain original. Orgs and models belong to the seed;
//! event ids belong to seed and run, so that another run of the same seed makes new events for the same orgs.
//!
//! - a plain original occurred up to a quarter of a second ago, a late one 2 to 20 hours ago
//! - a resend repeats one of the last 8,192 originals. Nine in ten have the same bytes; of the others half have an
//!   `occurredAt` 1 second to 20 hours earlier, half have other tokens and cost. The original was sent before, and to the
//!   same partition, so it is what a correct service keeps
//! - a request has 8 to 3,977 input and 1 to 530 output tokens, small ones more often

use std::collections::VecDeque;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use super::{
    Kind, Note, Resend, WorkloadError,
    catalogue::{Catalogue, Request},
    draw::Draw,
    invalid,
};
use crate::domain::{event::Event, money::Cents};

/// Parts of a whole that [`Plan`]'s fractions are counted in.
pub const WHOLE: u32 = 1_000_000;
/// Originals that can be sent again.
const RECENT: usize = 8192;
const CONFLICTS_IN_TWENTY: u64 = 1;

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Distinguishes runs of a seed, for example the start in microseconds.
    pub run: u64,
    pub orgs: u16,
    pub models: u16,
    /// Parts of [`WHOLE`]; together at most one whole.
    pub duplicates: u32,
    pub late: u32,
    pub invalid: u32,
}

pub struct Synthetic {
    plan: Plan,
    catalogue: Catalogue,
    draw: Draw,
    recent: VecDeque<Event>,
}

impl Synthetic {
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            catalogue: Catalogue::new("synthetic", plan.seed, plan.orgs, plan.models),
            draw: Draw::new(plan.seed, b"synthetic", plan.run),
            recent: VecDeque::new(),
        }
    }

    /// Writes the next message, to be published at `now`, into `body`.
    pub fn next(&mut self, now: DateTime<Utc>, body: &mut Vec<u8>) -> Result<Note, WorkloadError> {
        body.clear();
        let Plan { duplicates, late, invalid, .. } = self.plan;
        let ticket = self.draw.u32_below(WHOLE);
        if ticket < invalid {
            let event = self.event(now, false);
            let org_id = invalid::write(event, now, &mut self.draw, body)?;
            return Ok(Note { kind: Kind::Invalid, org_id, usage: None });
        }
        if ticket < invalid + duplicates && !self.recent.is_empty() {
            return self.resend(body);
        }
        let late = ticket >= invalid + duplicates && ticket < invalid + duplicates + late;
        let event = self.event(now, late);
        serde_json::to_writer(body, &event)?;
        let note = Note::original(&event, late);
        if duplicates > 0 {
            self.remember(event);
        }
        Ok(note)
    }

    fn event(&mut self, now: DateTime<Utc>, late: bool) -> Event {
        let draw = &mut self.draw;
        let (from, width) = if late { (TimeDelta::hours(2), 18 * 3_600_000_000) } else { (TimeDelta::zero(), 250_000) };
        let age = from + TimeDelta::microseconds(i64::try_from(draw.below(width)).unwrap_or_default());
        let request = Request {
            event_id: draw.uuid(),
            occurred_at: (now - age).trunc_subsecs(6),
            input_tokens: 8 + draw.u32_below(64) * draw.u32_below(64),
            output_tokens: 1 + draw.u32_below(24) * draw.u32_below(24),
        };
        self.catalogue.event(request, draw)
    }

    fn resend(&mut self, body: &mut Vec<u8>) -> Result<Note, WorkloadError> {
        let chosen = self.draw.index(self.recent.len());
        let original = &self.recent[chosen];
        let note = |resend| Note { kind: Kind::Resend(resend), org_id: Some(original.org_id), usage: None };
        let resend = match self.draw.below(20) {
            ticket if ticket < CONFLICTS_IN_TWENTY => Resend::OtherTime,
            ticket if ticket < 2 * CONFLICTS_IN_TWENTY => Resend::OtherContent,
            _ => {
                serde_json::to_writer(body, original)?;
                return Ok(note(Resend::Identical));
            }
        };
        let mut event = original.clone();
        if resend == Resend::OtherTime {
            event.occurred_at -= TimeDelta::seconds(i64::from(1 + self.draw.u32_below(20 * 3600)));
        } else {
            event.input_tokens += 1;
            event.cost_estimate_cents += Cents::from_ten_thousandths(1);
        }
        serde_json::to_writer(body, &event)?;
        Ok(note(resend))
    }

    fn remember(&mut self, event: Event) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        domain::{
            event::{EventKey, Rules, decode},
            money::Cents,
        },
        workload::tally::{Tally, Totals},
    };

    const MESSAGES: u64 = 40_000;

    fn plan() -> Plan {
        Plan { seed: 1, run: 1, orgs: 250, models: 40, duplicates: 100_000, late: 50_000, invalid: 50_000 }
    }

    /// Publishing starts at this moment and takes a millisecond a message.
    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_774_000_000, 0).unwrap()
    }

    type Message = (Note, DateTime<Utc>, Vec<u8>);

    fn messages(plan: Plan) -> (Vec<Message>, Tally) {
        let (mut load, mut tally, mut now) = (Synthetic::new(plan), Tally::default(), start());
        let messages = (0..MESSAGES)
            .map(|_| {
                now += TimeDelta::milliseconds(1);
                let mut body = Vec::new();
                let note = load.next(now, &mut body).unwrap();
                tally.add(&note);
                (note, now, body)
            })
            .collect();
        (messages, tally)
    }

    fn rules(now: DateTime<Utc>) -> Rules {
        // The widest that the settings allow: what is invalid is so under any of them.
        Rules { now, max_ahead: TimeDelta::seconds(3600), retention: TimeDelta::days(3650) }
    }

    #[test]
    fn equal_seeds_give_equal_bytes() {
        let bodies = |plan| messages(plan).0.into_iter().map(|(_, _, body)| body).collect::<Vec<_>>();
        let first = bodies(plan());
        assert!(first == bodies(plan()));
        assert!(first != bodies(Plan { seed: 2, ..plan() }) && first != bodies(Plan { run: 2, ..plan() }));
    }

    #[test]
    fn generated_messages_decode_or_are_rejected() {
        let (mut with_org, mut without) = (0, 0);
        for (note, now, body) in messages(plan()).0 {
            match (note.kind, decode(&body, &rules(now))) {
                (Kind::Invalid, Err(rejection)) => {
                    let text = String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned();
                    assert_eq!(rejection.org_id, note.org_id, "{text} {:?}", rejection.reasons);
                    if note.org_id.is_some() { with_org += 1 } else { without += 1 }
                }
                (Kind::Original { .. } | Kind::Resend(_), Ok(event)) => assert_eq!(Some(event.org_id), note.org_id),
                (kind, decoded) => panic!("{kind:?} {decoded:?}"),
            }
        }
        assert!(with_org > 500 && without > 300, "{with_org} {without}");
    }

    #[test]
    fn fractions_come_out_as_asked() {
        let counts = messages(plan()).1.counts();
        assert_eq!(counts.sent, MESSAGES);
        assert_eq!(counts.sent, counts.events + counts.duplicates + counts.invalid);
        for (count, expected) in [(counts.duplicates, 4000), (counts.late, 2000), (counts.invalid, 2000)] {
            assert!(count.abs_diff(expected) < expected / 10, "{counts:?}");
        }
        assert!(counts.conflicts.abs_diff(400) < 100 && counts.conflicts_in_time.abs_diff(200) < 70, "{counts:?}");
    }

    #[test]
    fn a_plan_without_flaws_has_none() {
        let counts = messages(Plan { duplicates: 0, late: 0, invalid: 0, ..plan() }).1.counts();
        assert_eq!((counts.events, counts.late, counts.duplicates, counts.invalid), (MESSAGES, 0, 0, 0));
    }

    #[test]
    fn late_events_lie_hours_behind() {
        for (note, now, _) in messages(plan()).0 {
            let (Kind::Original { late }, Some(usage)) = (note.kind, note.usage) else { continue };
            let age = now - usage.occurred_at;
            let bounds = if late {
                (TimeDelta::hours(2), TimeDelta::hours(20))
            } else {
                (TimeDelta::zero(), TimeDelta::milliseconds(251))
            };
            assert!(age >= bounds.0 && age <= bounds.1, "{late} {age}");
        }
    }

    #[test]
    fn keeping_first_contents_matches_the_tally() {
        let (messages, tally) = messages(plan());
        let mut first: HashMap<EventKey, Event> = HashMap::new();
        let (mut duplicates, mut conflicts, mut rejected) = (0, 0, 0);
        for (_, now, body) in messages {
            let Ok(event) = decode(&body, &rules(now)) else {
                rejected += 1;
                continue;
            };
            match first.get(&event.key()) {
                Some(stored) => {
                    assert!((stored.occurred_at - event.occurred_at).abs() < TimeDelta::hours(24));
                    duplicates += 1;
                    conflicts += u64::from(*stored != event);
                }
                None => drop(first.insert(event.key(), event)),
            }
        }
        let stored = Totals {
            invocations: u64::try_from(first.len()).unwrap(),
            input_tokens: first.values().map(|e| u64::from(e.input_tokens)).sum(),
            output_tokens: first.values().map(|e| u64::from(e.output_tokens)).sum(),
            cost: first.values().map(|e| e.cost_estimate_cents).sum(),
        };
        assert_eq!(stored, tally.totals());
        let counts = tally.counts();
        assert_eq!((counts.duplicates, counts.conflicts, counts.invalid), (duplicates, conflicts, rejected));
        for (org_id, share) in tally.orgs() {
            let cost: Cents = first.values().filter(|e| e.org_id == *org_id).map(|e| e.cost_estimate_cents).sum();
            assert_eq!(share.totals.cost, cost);
        }
        let times = first.values().map(|e| e.occurred_at);
        assert_eq!(tally.span(), Some((times.clone().min().unwrap(), times.max().unwrap())));
    }

    #[test]
    fn bodies_are_as_large_as_real_ones() {
        let (messages, _) = messages(Plan { invalid: 0, ..plan() });
        let bytes: usize = messages.iter().map(|(_, _, body)| body.len()).sum();
        let mean = bytes / messages.len();
        assert!((330..400).contains(&mean), "{mean}");
    }
}
