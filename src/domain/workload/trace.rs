//! Events of a recorded trace.
//!
//! A trace is years old, and events older than the raw retention are refused. So its rows are shifted by whole days
//! until the first lies on the base date; times of day and distances stay. Event i (from 1) has the UUIDv5 of seed, base
//! date and i: publishing the same trace to the same base date again publishes the same events. Tokens are the row's;
//! org, model, latency, cost and status follow the rule of the catalogue, drawn by seed and row.

use std::io::Read;

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, SubsecRound, TimeDelta};
use csv::{ByteRecord, ReaderBuilder, Terminator, Trim};
use uuid::Uuid;

use super::{
    Note, WorkloadError,
    catalogue::{Catalogue, NAMESPACE, Request},
    draw::Draw,
};
use crate::domain::event::MAX_TOKENS;

const TIMESTAMP: &str = "TIMESTAMP";
const INPUT_TOKENS: &str = "ContextTokens";
const OUTPUT_TOKENS: &str = "GeneratedTokens";
const COLUMNS: [&str; 3] = [TIMESTAMP, INPUT_TOKENS, OUTPUT_TOKENS];
/// `2023-11-16 18:15:46.6805900`, UTC.
const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.f";

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    /// The day that the trace's first row is shifted to.
    pub base_date: NaiveDate,
    pub orgs: u16,
    pub models: u16,
}

/// A trace being turned into events, row by row.
pub struct Trace<R> {
    reader: csv::Reader<R>,
    record: ByteRecord,
    plan: Plan,
    catalogue: Catalogue,
    row: u64,
    /// From the trace's days to ours; known with the first row.
    shift: Option<TimeDelta>,
}

impl<R: Read> Trace<R> {
    /// # Errors
    /// The first line does not name the columns TIMESTAMP, ContextTokens, GeneratedTokens.
    pub fn new(source: R, plan: Plan) -> Result<Self, WorkloadError> {
        // The reader's own treatment of CR LF counts lines one short.
        let lines = Terminator::Any(b'\n');
        let mut reader =
            ReaderBuilder::new().flexible(true).quoting(false).terminator(lines).trim(Trim::All).from_reader(source);
        let headers = reader.byte_headers().map_err(|error| bad(1, TIMESTAMP, error.to_string()))?;
        for (i, column) in COLUMNS.into_iter().enumerate() {
            if headers.get(i) != Some(column.as_bytes()) {
                return Err(bad(1, column, format!("must be the name of column {}", i + 1)));
            }
        }
        let catalogue = Catalogue::new("trace", plan.seed, plan.orgs, plan.models);
        Ok(Self { reader, record: ByteRecord::new(), plan, catalogue, row: 0, shift: None })
    }

    /// Writes the next row's event into `body`. Nothing at the end.
    ///
    /// # Errors
    /// A value that cannot be read: its line and column.
    pub fn next(&mut self, body: &mut Vec<u8>) -> Result<Option<Note>, WorkloadError> {
        let line = loop {
            let line = self.reader.position().line();
            let more = self.reader.read_byte_record(&mut self.record);
            if !more.map_err(|error| bad(line, TIMESTAMP, error.to_string()))? {
                return Ok(None);
            }
            let blank = self.record.len() == 1 && self.record[0].is_empty();
            if !blank {
                break line;
            }
        };
        self.row += 1;
        let request = self.request(line)?;
        let mut draw = Draw::new(self.plan.seed, b"trace", self.row);
        let event = self.catalogue.event(request, &mut draw);
        body.clear();
        serde_json::to_writer(body, &event)?;
        Ok(Some(Note::original(&event, false)))
    }

    fn request(&mut self, line: u64) -> Result<Request, WorkloadError> {
        if self.record.len() != COLUMNS.len() {
            let column = COLUMNS.get(self.record.len()).copied().unwrap_or(OUTPUT_TOKENS);
            return Err(bad(line, column, format!("the line has {} values, not {}", self.record.len(), COLUMNS.len())));
        }
        let text = |i: usize| str::from_utf8(&self.record[i]).map_err(|_| bad(line, COLUMNS[i], "is not UTF-8"));
        let tokens = |i: usize| {
            let value = text(i)?.parse().ok().filter(|tokens| *tokens <= MAX_TOKENS);
            value.ok_or_else(|| bad(line, COLUMNS[i], format!("must be an integer from 0 to {MAX_TOKENS}")))
        };
        let at = NaiveDateTime::parse_from_str(text(0)?, TIME_FORMAT)
            .map_err(|_| bad(line, TIMESTAMP, "must be a time such as 2023-11-16 18:15:46.6805900"))?;
        let (input_tokens, output_tokens) = (tokens(1)?, tokens(2)?);
        let shift = *self.shift.get_or_insert(self.plan.base_date - at.date());
        let shifted = at.checked_add_signed(shift).ok_or_else(|| bad(line, TIMESTAMP, "is too far from the first"))?;
        let name = format!("{}/{}/{}", self.plan.seed, self.plan.base_date, self.row);
        Ok(Request {
            event_id: Uuid::new_v5(&NAMESPACE, name.as_bytes()),
            occurred_at: shifted.trunc_subsecs(6).and_utc(),
            input_tokens,
            output_tokens,
        })
    }
}

/// The base date when none is given: the last full UTC day.
pub fn default_base_date(now: DateTime<chrono::Utc>) -> NaiveDate {
    let today = now.date_naive();
    today.checked_sub_days(Days::new(1)).unwrap_or(today)
}

fn bad(line: u64, column: &'static str, problem: impl Into<String>) -> WorkloadError {
    WorkloadError::Trace { line, column, problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::domain::{
        event::{Event, Rules, decode},
        workload::tally::Tally,
    };

    const TRACE: &[u8] = include_bytes!("../../../data/azure-llm-2023-conv.csv");

    fn plan() -> Plan {
        Plan { seed: 1, base_date: NaiveDate::from_ymd_opt(2026, 3, 29).unwrap(), orgs: 5, models: 4 }
    }

    fn events(source: &[u8], plan: Plan) -> (Vec<Vec<u8>>, Tally) {
        let (mut trace, mut tally, mut bodies) = (Trace::new(source, plan).unwrap(), Tally::default(), Vec::new());
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
    fn the_whole_trace_becomes_events_with_exactly_its_tokens() {
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
    fn rows_are_shifted_by_whole_days_and_cut_to_microseconds() {
        let (bodies, tally) = events(TRACE, plan());
        assert_eq!(read(&bodies[0]).occurred_at.to_rfc3339(), "2026-03-29T18:15:46.680590+00:00");
        let (first, last) = tally.span().unwrap();
        assert_eq!(first.to_rfc3339(), "2026-03-29T18:15:46.680590+00:00");
        assert_eq!(last.to_rfc3339(), "2026-03-29T19:14:08.402527+00:00");
    }

    #[test]
    fn the_same_seed_and_date_give_the_same_bytes_and_others_give_others() {
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
            ("16.11.2023,1,1\r\n", "line 3: TIMESTAMP: must be a time such as 2023-11-16 18:15:46.6805900"),
            ("\r\n2023-11-16 18:15:50,y,1", "line 4: ContextTokens: must be an integer from 0 to 1000000000"),
            ("2023-11-16 18:15:50,1\r\n", "line 3: GeneratedTokens: the line has 2 values, not 3"),
        ] {
            let source = format!("{good}{rest}");
            let mut trace = Trace::new(source.as_bytes(), plan()).unwrap();
            trace.next(&mut Vec::new()).unwrap().unwrap();
            assert_eq!(trace.next(&mut Vec::new()).unwrap_err().to_string(), expected);
        }
        let error = Trace::new("time,in,out\n".as_bytes(), plan()).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "line 1: TIMESTAMP: must be the name of column 1");
    }

    const FIRST: &str = concat!(
        r#"{"eventId":"1c651cae-880b-5e1d-b0e7-5571900ff78e","orgId":"a1315eff-5af4-5f31-8b7b-e10346a4d67e","#,
        r#""modelId":"184c8fba-1989-5175-9e7e-a2283132a2f9","occurredAt":"2026-03-29T18:15:46.680590Z","status":"success","#,
        r#""latencyMs":1162,"inputTokens":374,"outputTokens":44,"costEstimateCents":0.1375,"#,
        r#""metadata":{"guardrailVersion":"2026-03","region":"us-west-2"}}"#
    );
}
