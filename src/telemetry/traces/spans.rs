//! The spans of the service, with the names and attributes of `domain::trace`. Without a receiver they are context of log lines:
//! a batch's id and partition, a request's id; the rest costs a few short strings a batch or request.

use opentelemetry::{
    KeyValue, Value,
    trace::{SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use tracing::{Span, debug_span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use uuid::Uuid;

use crate::domain::{
    batch::RawBatch,
    trace::{TraceParent, attribute, span},
};

/// The field by which a span is one of a trace: `server`, `consumer`, `producer`, `client` or `internal`.
pub const KIND: &str = "otel.kind";
/// Fields of spans that are of no use in a log line begin with it.
pub const NOT_LOGGED: &str = "otel.";

const RABBITMQ: &str = "rabbitmq";

/// A batch, from its first message to its commit. It is begun by [`hand_on`], when it is known what it follows from.
pub fn process(stream: &str, partition: u16) -> BatchSpan {
    let made = info_span!(
        span::PROCESS,
        otel.kind = "consumer",
        otel.name = format!("{} {stream}", span::PROCESS),
        batch = Empty,
        partition,
        trace_id = Empty,
    );
    messaging(&made, span::PROCESS, stream);
    made.set_attribute(attribute::MESSAGING_DESTINATION_PARTITION_ID, partition.to_string());
    BatchSpan(made)
}

/// The batch is complete: what it is, and which producers' spans it follows from.
pub fn hand_on(batch: &BatchSpan, raw: &RawBatch, producers: Vec<TraceParent>) {
    let process = &batch.0;
    process.record("batch", tracing::field::display(raw.id));
    follow(process, producers);
    process.set_attribute(attribute::MESSAGING_BATCH_MESSAGE_COUNT, number(raw.messages.len()));
    process.set_attribute(attribute::BATCH_ID, raw.id.to_string());
    process.set_attribute(attribute::FIRST_OFFSET, raw.first_offset);
    process.set_attribute(attribute::NEXT_OFFSET, raw.next_offset());
    begin(process);
}

/// A batch's span on its way to its end: committed, failed, or given up with the subscription or pipeline that it was in.
pub struct BatchSpan(Span);

impl BatchSpan {
    pub fn span(&self) -> &Span {
        &self.0
    }

    pub fn committed(mut self) {
        self.0 = Span::none();
    }

    pub fn failed(mut self, kind: &'static str) {
        failed(&std::mem::replace(&mut self.0, Span::none()), kind);
    }
}

impl Drop for BatchSpan {
    fn drop(&mut self) {
        failed(&self.0, "given_up");
    }
}

/// A merge: it folds batches of many traces, and of processes that are gone. Recorded from when this is called on, if [`merged`]
/// names a batch that is.
pub fn merge(partition: u16) -> Span {
    let made = info_span!(span::MERGE, otel.kind = "internal", partition);
    made.set_attribute(attribute::MESSAGING_DESTINATION_PARTITION_ID, partition.to_string());
    made
}

/// What a merge has folded: so many batches, of which those follow from recorded spans.
pub fn merged(merge: &Span, batches: usize, followed: Vec<TraceParent>) {
    follow(merge, followed);
    merge.set_attribute(attribute::BATCH_COUNT, number(batches));
}

/// Messages on their way to the broker, which carry it as `traceparent`; so many, where that is known.
pub fn publish(stream: &str, messages: impl Into<Option<usize>>) -> Span {
    let name = format!("{} {stream}", span::PUBLISH);
    let made = info_span!(span::PUBLISH, otel.kind = "producer", otel.name = name, trace_id = Empty);
    messaging(&made, span::PUBLISH, stream);
    if let Some(messages) = messages.into() {
        made.set_attribute(attribute::MESSAGING_BATCH_MESSAGE_COUNT, number(messages));
    }
    begin(&made);
    made
}

/// How many they were, where that is known at the end only.
pub fn sent(publish: &Span, messages: u64) {
    publish.set_attribute(attribute::MESSAGING_BATCH_MESSAGE_COUNT, i64::try_from(messages).unwrap_or(i64::MAX));
}

/// A request of which nothing but its log lines is of interest: a probe, a scrape, our own look at ourselves.
pub fn probe(id: &str) -> Span {
    info_span!("request", id)
}

/// A request. Neither path nor query nor address: what a caller puts there by mistake may be a secret.
pub fn request(id: &str, method: &'static str, caller: Option<TraceParent>) -> Span {
    let made = info_span!("request", otel.kind = "server", otel.name = method, id, trace_id = Empty);
    if let Some(caller) = caller {
        // It fails only where the span is not recorded at all.
        let _ = made.set_parent(opentelemetry::Context::new().with_remote_span_context(context_of(caller)));
    }
    made.set_attribute(attribute::HTTP_REQUEST_METHOD, method);
    made.set_attribute(attribute::URL_SCHEME, "http");
    made.set_attribute(attribute::REQUEST_ID, id.to_owned());
    begin(&made);
    made
}

/// How the request ended; by the route's pattern it is found.
pub fn responded(request: &Span, method: &'static str, route: &str, status: u16) {
    if request.is_disabled() {
        return;
    }
    let context = request.context();
    let recorded = context.span();
    if !recorded.is_recording() {
        return;
    }
    recorded.update_name(format!("{method} {route}"));
    recorded.set_attribute(KeyValue::new(attribute::HTTP_ROUTE, route.to_owned()));
    recorded.set_attribute(KeyValue::new(attribute::HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
    if status >= 500 {
        recorded.set_attribute(KeyValue::new(attribute::ERROR_TYPE, status.to_string()));
        recorded.set_status(Status::error(""));
    }
}

/// A file of an export is generated.
pub fn export(job: Uuid) -> Span {
    let made = info_span!(span::EXPORT, otel.kind = "internal", %job, trace_id = Empty);
    made.set_attribute(attribute::JOB_ID, job.to_string());
    begin(&made);
    made
}

/// Records of the audit log are written.
pub fn audit() -> Span {
    debug_span!(span::AUDIT, otel.kind = "internal")
}

/// A maintenance task runs.
pub fn maintenance(task: &'static str) -> Span {
    let made = info_span!(span::MAINTENANCE, otel.kind = "internal", task, trace_id = Empty);
    made.set_attribute(attribute::TASK, task);
    begin(&made);
    made
}

/// A partition is taken.
pub fn lease(partition: u16) -> Span {
    let made = debug_span!(span::LEASE, otel.kind = "internal", partition);
    made.set_attribute(attribute::MESSAGING_DESTINATION_PARTITION_ID, partition.to_string());
    made
}

/// It did not succeed. `kind` is one of few words, never a text of somebody else's.
pub fn failed(span: &Span, kind: &'static str) {
    span.set_attribute(attribute::ERROR_TYPE, kind);
    span.set_status(Status::error(kind));
}

/// What a message or a row carries on, so that what follows can say so. None where nothing is recorded.
pub fn parent_of(span: &Span) -> Option<TraceParent> {
    let context = span.context();
    let context = context.span().span_context().clone();
    (context.is_valid() && context.is_sampled()).then(|| TraceParent {
        trace_id: context.trace_id().to_bytes(),
        span_id: context.span_id().to_bytes(),
        sampled: true,
    })
}

fn messaging(made: &Span, operation: &'static str, stream: &str) {
    let kind = if operation == span::PUBLISH { "send" } else { "process" };
    made.set_attribute(attribute::MESSAGING_SYSTEM, RABBITMQ);
    made.set_attribute(attribute::MESSAGING_OPERATION_NAME, operation);
    made.set_attribute(attribute::MESSAGING_OPERATION_TYPE, kind);
    made.set_attribute(attribute::MESSAGING_DESTINATION_NAME, stream.to_owned());
}

fn follow(span: &Span, parents: Vec<TraceParent>) {
    for parent in parents {
        span.add_link(context_of(parent));
    }
}

/// From now on the span has an id, which log lines carry; its parent and its links are decided.
fn begin(span: &Span) {
    let context = span.context();
    let context = context.span().span_context().clone();
    if context.is_valid() {
        span.record("trace_id", tracing::field::display(context.trace_id()));
    }
}

fn context_of(parent: TraceParent) -> SpanContext {
    let flags = TraceFlags::default().with_sampled(parent.sampled);
    let (trace, span) = (TraceId::from_bytes(parent.trace_id), SpanId::from_bytes(parent.span_id));
    SpanContext::new(trace, span, flags, true, TraceState::default())
}

fn number(count: usize) -> Value {
    i64::try_from(count).unwrap_or(i64::MAX).into()
}
