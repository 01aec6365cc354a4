//! Events of a recorded trace.
//!
//! A trace is years old, and events older than the raw retention are refused. So its rows are shifted by whole days
//! until the earliest lies on the base date; times of day and distances stay. Event i (from 1) has the UUIDv5 of seed, base
//! date, the digest of all rows and i: publishing the same trace to the same base date again publishes the same events, and
//! two traces share none. Tokens are the row's; org, model, latency, cost and status follow the rule of the catalogue, drawn
//! by seed and row.

mod rows;

use std::io::Read;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    Note, WorkloadError,
    catalogue::{Catalogue, NAMESPACE, Request},
    draw::Draw,
};
use rows::{Row, Rows};

pub use rows::Survey;

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    /// The day that the trace's first day is shifted to.
    pub base_date: NaiveDate,
    pub orgs: u16,
    pub models: u16,
}

/// A trace being turned into events, row by row.
pub struct Trace<R> {
    rows: Rows<R>,
    plan: Plan,
    catalogue: Catalogue,
    /// What the ids of its events begin with.
    name: String,
    /// From the trace's days to ours.
    shift: TimeDelta,
    row: u64,
}

impl<R: Read> Trace<R> {
    /// The trace that was surveyed, from its start.
    ///
    /// # Errors
    /// As for [`Survey::of`].
    pub fn new(source: R, survey: &Survey, plan: Plan) -> Result<Self, WorkloadError> {
        Ok(Self {
            rows: Rows::new(source)?,
            catalogue: Catalogue::new("trace", plan.seed, plan.orgs, plan.models),
            name: format!("{}/{}/{}", plan.seed, plan.base_date, survey.name()),
            shift: survey.shift(plan.base_date),
            plan,
            row: 0,
        })
    }

    /// Writes the next row's event into `body`. Nothing at the end.
    ///
    /// # Errors
    /// A value that cannot be read: its line and column.
    pub fn next(&mut self, body: &mut Vec<u8>) -> Result<Option<Note>, WorkloadError> {
        let Some(Row { at, input_tokens, output_tokens }) = self.rows.next()? else { return Ok(None) };
        self.row += 1;
        let request = Request {
            event_id: Uuid::new_v5(&NAMESPACE, format!("{}/{}", self.name, self.row).as_bytes()),
            // The survey has found it within the calendar.
            occurred_at: at.checked_add_signed(self.shift).unwrap_or(at),
            input_tokens,
            output_tokens,
        };
        let mut draw = Draw::new(self.plan.seed, b"trace", self.row);
        let event = self.catalogue.event(request, &mut draw);
        body.clear();
        serde_json::to_writer(body, &event)?;
        Ok(Some(Note::original(&event, false)))
    }
}

/// The base date when none is given: the last day of so many ends before today.
pub fn default_base_date(now: DateTime<Utc>, days: u64) -> NaiveDate {
    let today = now.date_naive();
    today.checked_sub_days(Days::new(days)).unwrap_or(today)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::event::{Event, Rules, decode},
        workload::tally::Tally,
    };

    const TRACE: &[u8] = include_bytes!("../../../data/azure-llm-2023-conv.csv");

    fn plan() -> Plan {
        Plan { seed: 1, base_date: NaiveDate::from_ymd_opt(2026, 3, 29).unwrap(), orgs: 5, models: 4 }
    }

    fn events(source: &[u8], plan: Plan) -> (Vec<Vec<u8>>, Tally) {
        let survey = Survey::of(source).unwrap();
        let (mut trace, mut tally) = (Trace::new(source, &survey, plan).unwrap(), Tally::default());
        let mut bodies = Vec::new();
        let mut body = Vec::new();
        while let Some(note) = trace.next(&mut body).unwrap() {
            tally.add(&note);
            bodies.push(body.clone());
        }
        (bodies, tally)
    }

    fn read(body: &[u8]) -> Event {
        let now = DateTime::parse_from_rfc3339("2026-03-31T12:00:00Z").unwrap().with_timezone(&Utc);
        decode(body, &Rules { now, max_ahead: TimeDelta::zero(), retention: TimeDelta::days(400) }).unwrap()
    }

    #[test]
    fn the_trace_keeps_its_exact_tokens() {
        let (bodies, tally) = events(TRACE, plan());
        let totals = tally.totals();
        assert_eq!((totals.invocations, totals.input_tokens, totals.output_tokens), (19_366, 22_361_870, 4_088_665));
        let events: Vec<Event> = bodies.iter().map(|body| read(body)).collect();
        assert_eq!(events.iter().map(|e| u64::from(e.input_tokens)).sum::<u64>(), 22_361_870);
        assert_eq!(events.iter().map(|e| e.cost_estimate_cents).sum::<crate::domain::money::Cents>(), totals.cost);
        let mut ids: Vec<Uuid> = events.iter().map(|e| e.event_id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 19_366);
        let failed = events.iter().filter(|e| e.status != crate::domain::event::Status::Success).count();
        assert!((140..250).contains(&failed), "about 1 % do not succeed, {failed} do");
    }

    #[test]
    fn rows_are_shifted_by_whole_days() {
        let (bodies, tally) = events(TRACE, plan());
        assert_eq!(read(&bodies[0]).occurred_at.to_rfc3339(), "2026-03-29T18:15:46.680590+00:00");
        let (first, last) = tally.span().unwrap();
        assert_eq!(first.to_rfc3339(), "2026-03-29T18:15:46.680590+00:00");
        assert_eq!(last.to_rfc3339(), "2026-03-29T19:14:08.402527+00:00");
    }

    #[test]
    fn seed_and_date_decide_the_bytes() {
        let head = &TRACE[..4000];
        let head = &head[..head.iter().rposition(|b| *b == b'\n').unwrap()];
        let (bodies, _) = events(head, plan());
        assert_eq!(bodies, events(head, plan()).0);
        let other_seed = events(head, Plan { seed: 2, ..plan() }).0;
        let other_day = events(head, Plan { base_date: plan().base_date.succ_opt().unwrap(), ..plan() }).0;
        for other in [other_seed, other_day] {
            assert!(bodies.iter().zip(&other).all(|(a, b)| read(a).event_id != read(b).event_id));
        }
    }

    #[test]
    fn another_trace_has_other_ids() {
        let head = &TRACE[..4000];
        let head = &head[..head.iter().rposition(|b| *b == b'\n').unwrap()];
        let ids = |source: &[u8]| events(source, plan()).0.iter().map(|body| read(body).event_id).collect::<Vec<_>>();
        let (own, mut longer) = (ids(head), head.to_vec());
        longer.extend(b"\n2023-11-16 20:00:00,1,1");
        assert!(own.iter().zip(ids(&longer)).all(|(a, b)| *a != b));
        let same = String::from_utf8_lossy(head).replace("\r\n", "\n").replace("2023-11-16 ", "2023-11-16T");
        assert_eq!(ids(same.as_bytes()), own, "the same values, otherwise written");
    }

    #[test]
    fn times_of_both_published_traces_are_read() {
        let at = |time: &str| {
            let source = format!("TIMESTAMP,ContextTokens,GeneratedTokens\n{time},1,1\n");
            read(&events(source.as_bytes(), plan()).0[0]).occurred_at.to_rfc3339()
        };
        assert_eq!(at("2023-11-16 18:15:46.6805900"), "2026-03-29T18:15:46.680590+00:00");
        assert_eq!(at("2024-05-10 00:00:00.009930+00:00"), "2026-03-29T00:00:00.009930+00:00");
        assert_eq!(at("2024-05-10 00:00:00+00:00"), "2026-03-29T00:00:00+00:00");
        assert_eq!(at("2024-05-10T23:00:00Z"), "2026-03-29T23:00:00+00:00");
        assert_eq!(at("2024-05-10T23:59:60.5-01:00"), "2026-03-29T00:59:59.999999+00:00");
    }

    #[test]
    fn a_survey_covers_the_whole_trace() {
        let survey = Survey::of(TRACE).unwrap();
        assert_eq!((survey.rows, survey.days()), (19_366, 1));
        let two_days = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-17 00:00:00,1,1\n2023-11-16 23:00:00,1,1\n";
        let survey = Survey::of(two_days.as_bytes()).unwrap();
        let (first, last) = survey.shifted(plan().base_date).unwrap();
        assert_eq!(survey.days(), 2);
        assert_eq!(first.to_rfc3339(), "2026-03-29T23:00:00+00:00", "whichever row comes first");
        assert_eq!(last.to_rfc3339(), "2026-03-30T00:00:00+00:00");
        assert_eq!(default_base_date(last, survey.days()).to_string(), "2026-03-28");
    }

    #[test]
    fn a_published_trace_stays_what_it_was() {
        let (bodies, _) = events(&TRACE[..77], plan());
        assert_eq!(String::from_utf8_lossy(&bodies[0]), FIRST);
    }

    #[test]
    fn a_bad_row_names_its_line_and_column() {
        let good = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n";
        for (rest, expected) in [
            ("2023-11-16 18:15:50,x,1\r\n", "line 3: ContextTokens: must be an integer from 0 to 1000000000"),
            ("2023-11-16 18:15:50,1,-1\r\n", "line 3: GeneratedTokens: must be an integer from 0 to 1000000000"),
            (
                "16.11.2023,1,1\r\n",
                "line 3: TIMESTAMP: must be a time such as 2023-11-16 18:15:46.6805900 or 2024-05-10T00:00:00+00:00",
            ),
            ("\r\n2023-11-16 18:15:50,y,1", "line 4: ContextTokens: must be an integer from 0 to 1000000000"),
            ("2023-11-16 18:15:50,1\r\n", "line 3: GeneratedTokens: the line has 2 values, not 3"),
        ] {
            let source = format!("{good}{rest}");
            assert_eq!(Survey::of(source.as_bytes()).unwrap_err().to_string(), expected);
        }
        let error = Survey::of("time,in,out\n".as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "line 1: TIMESTAMP: must be the name of column 1");
    }

    const FIRST: &str = concat!(
        r#"{"eventId":"0ff5eb4e-4ceb-5559-888f-0675c49a3a1b","orgId":"a1315eff-5af4-5f31-8b7b-e10346a4d67e","#,
        r#""modelId":"184c8fba-1989-5175-9e7e-a2283132a2f9","occurredAt":"2026-03-29T18:15:46.680590Z","status":"success","#,
        r#""latencyMs":1162,"inputTokens":374,"outputTokens":44,"costEstimateCents":0.1375,"#,
        r#""metadata":{"guardrailVersion":"2026-03","region":"us-west-2"}}"#
    );
}
