//! Where an event comes from in a distributed trace: W3C trace context, as producers, callers and other processes write it.
//!
//! Every byte of it is hostile: what is not exactly of the form is ignored, and no batch follows more than so many traces.

use std::{fmt, str::FromStr};

/// Producers' spans that a batch links to at most.
pub const PRODUCERS: usize = 32;
/// Batches that a merge links to at most.
pub const BATCHES: usize = 64;

/// Names of spans, as operators find them. Those of requests are the method and the route.
pub mod span {
    /// A batch, from its first message to its commit; the stream's name follows.
    pub const PROCESS: &str = "process";
    /// Messages on their way to the broker; the stream's name follows.
    pub const PUBLISH: &str = "publish";
    pub const DECODE: &str = "decode";
    pub const LOOK_UP: &str = "look_up";
    pub const COPY: &str = "copy";
    /// The batch's row of the ledger, its aggregates and the partition's progress.
    pub const FINISH: &str = "finish";
    pub const COMMIT: &str = "commit";
    pub const MERGE: &str = "merge";
    pub const QUERY: &str = "query";
    pub const EXPORT: &str = "export";
    pub const AUDIT: &str = "audit";
    pub const MAINTENANCE: &str = "maintenance";
    pub const LEASE: &str = "lease";
    /// Begin a trace although nobody sent or received anything. Any other internal span has a parent or is not recorded.
    pub const ROOTS: &[&str] = &[MERGE, EXPORT, AUDIT, MAINTENANCE, LEASE];
}

/// Names of attributes. Source: OpenTelemetry's semantic conventions 1.37 for messaging, HTTP and databases; those of our own
/// begin with `analytics.`.
pub mod attribute {
    pub const MESSAGING_SYSTEM: &str = "messaging.system";
    pub const MESSAGING_OPERATION_NAME: &str = "messaging.operation.name";
    pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
    pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";
    pub const MESSAGING_DESTINATION_PARTITION_ID: &str = "messaging.destination.partition.id";
    pub const MESSAGING_BATCH_MESSAGE_COUNT: &str = "messaging.batch.message_count";
    pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
    pub const HTTP_ROUTE: &str = "http.route";
    pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
    pub const URL_SCHEME: &str = "url.scheme";
    pub const ERROR_TYPE: &str = "error.type";
    pub const DB_SYSTEM_NAME: &str = "db.system.name";
    pub const REQUEST_ID: &str = "analytics.request.id";
    pub const BATCH_ID: &str = "analytics.batch.id";
    pub const BATCH_COUNT: &str = "analytics.batch.count";
    pub const FIRST_OFFSET: &str = "analytics.offset.first";
    pub const NEXT_OFFSET: &str = "analytics.offset.next";
    pub const JOB_ID: &str = "analytics.job.id";
    pub const TASK: &str = "analytics.task";
}

/// A span of somebody's, by the header `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    /// Whether it is recorded where it comes from.
    pub sampled: bool,
}

impl TraceParent {
    /// The name of the header, over HTTP and in messages.
    pub const HEADER: &str = "traceparent";
}

/// It is not of the form of W3C trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 00-<32 hex digits>-<16 hex digits>-<2 hex digits>")]
pub struct NoTraceParent;

impl FromStr for TraceParent {
    type Err = NoTraceParent;

    /// By W3C trace context, section 3.2: later versions may have more behind it, ours may not.
    fn from_str(text: &str) -> Result<Self, NoTraceParent> {
        let bytes = text.as_bytes();
        let Some((head, rest)) = bytes.split_at_checked(55) else { return Err(NoTraceParent) };
        let [version] = hex(&head[0..2])?;
        let dashes = [2, 35, 52].iter().all(|at| head[*at] == b'-');
        let ends = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        let (trace_id, span_id, [flags]) = (hex(&head[3..35])?, hex(&head[36..52])?, hex(&head[53..55])?);
        if !dashes || !ends || trace_id == [0; 16] || span_id == [0; 8] {
            return Err(NoTraceParent);
        }
        Ok(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }
}

/// Lower-case digits, as the standard has them.
fn hex<const N: usize>(digits: &[u8]) -> Result<[u8; N], NoTraceParent> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(NoTraceParent),
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace_id), u64::from_be_bytes(self.span_id));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", u8::from(self.sampled))
    }
}

/// Spans that something follows from: those that are recorded, one a trace, and so many at most.
#[derive(Clone, Debug)]
pub struct Links {
    most: usize,
    found: Vec<TraceParent>,
}

impl Links {
    pub fn at_most(most: usize) -> Self {
        Self { most, found: Vec::new() }
    }

    pub fn add(&mut self, parent: TraceParent) {
        let is_there = |link: &TraceParent| link.trace_id == parent.trace_id;
        if parent.sampled && self.found.len() < self.most && !self.found.iter().any(is_there) {
            self.found.push(parent);
        }
    }

    /// Those that were added since the last time.
    pub fn take(&mut self) -> Vec<TraceParent> {
        std::mem::take(&mut self.found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_standards_example_is_read_and_written() {
        let parent: TraceParent = EXAMPLE.parse().unwrap();
        assert!(parent.sampled);
        assert_eq!(parent.to_string(), EXAMPLE);
        let unsampled: TraceParent = EXAMPLE.replace("-01", "-00").parse().unwrap();
        assert!(!unsampled.sampled);
    }

    #[test]
    fn a_later_version_may_have_more_behind_it() {
        let later = EXAMPLE.replacen("00", "cc", 1);
        assert!(later.parse::<TraceParent>().is_ok());
        assert!(format!("{later}-what").parse::<TraceParent>().is_ok());
        assert!(format!("{later}what").parse::<TraceParent>().is_err());
    }

    #[test]
    fn what_is_not_of_the_form_is_no_parent() {
        for hostile in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01",
        ] {
            assert_eq!(hostile.parse::<TraceParent>(), Err(NoTraceParent), "{hostile}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}", trace in 1u128.., span in 1u64.., sampled: bool) {
            let _ = text.parse::<TraceParent>();
            let parent = TraceParent { trace_id: trace.to_be_bytes(), span_id: span.to_be_bytes(), sampled };
            prop_assert_eq!(parent.to_string().parse(), Ok(parent));
        }
    }

    #[test]
    fn links_are_recorded_spans_one_a_trace() {
        let mut links = Links::at_most(PRODUCERS);
        let parent = |trace: u128, sampled| TraceParent { trace_id: trace.to_be_bytes(), span_id: [1; 8], sampled };
        links.add(parent(1, false));
        for trace in [2, 3, 2] {
            links.add(parent(trace, true));
        }
        assert_eq!(links.take(), [parent(2, true), parent(3, true)]);
        (1..=100).for_each(|trace| links.add(parent(trace, true)));
        assert_eq!(links.take().len(), PRODUCERS);
        assert!(links.take().is_empty());
    }
}
