//! Which spans are recorded: what a recorded span causes; traces that a producer or caller requests, so many a second; and of
//! the others a share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{Sampler as Share, SamplingDecision, SamplingResult, ShouldSample};

use crate::domain::trace::span::{MERGE, ROOTS};

#[derive(Clone, Debug)]
pub struct Sampler {
    share: Share,
    /// By callers, and by producers: anybody may call, and takes nothing from these.
    by_callers: Arc<PerSecond>,
    by_producers: Arc<PerSecond>,
}

impl Sampler {
    pub fn new(ratio: f64, requested_per_second: u32) -> Self {
        let bound = || Arc::new(PerSecond { most: requested_per_second, second_and_count: AtomicU64::new(0) });
        Self { share: Share::TraceIdRatioBased(ratio), by_callers: bound(), by_producers: bound() }
    }
}

impl ShouldSample for Sampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let by_share = || self.share.should_sample(parent, trace_id, name, kind, attributes, links).decision;
        let within =
            |bound: &PerSecond| if bound.one_more(now()) { SamplingDecision::RecordAndSample } else { by_share() };
        let followed = || links.iter().any(|link| link.span_context.is_sampled());
        let decided = |yes| if yes { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop };
        let context = parent.map(|parent| parent.span().span_context().clone()).filter(|span| span.is_valid());
        let decision = match &context {
            Some(ours) if !ours.is_remote() => decided(ours.is_sampled()),
            Some(theirs) if theirs.is_sampled() => within(&self.by_callers),
            Some(_) => SamplingDecision::Drop,
            // A step of something that is not traced.
            None if *kind == SpanKind::Client || (*kind == SpanKind::Internal && !ROOTS.contains(&name)) => {
                SamplingDecision::Drop
            }
            // A merge belongs to its batches, of which it is decided already.
            None if name == MERGE => decided(followed()),
            None if followed() => within(&self.by_producers),
            None => by_share(),
        };
        let trace_state = context.map_or_else(TraceState::default, |parent| parent.trace_state().clone());
        SamplingResult { decision, attributes: Vec::new(), trace_state }
    }
}

fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Only whether it is the same second counts.
    u32::try_from(since.as_secs() & u64::from(u32::MAX)).unwrap_or_default()
}

/// So many in each second.
#[derive(Debug)]
struct PerSecond {
    most: u32,
    /// The second in the upper half, how many there were in the lower.
    second_and_count: AtomicU64,
}

impl PerSecond {
    fn one_more(&self, second: u32) -> bool {
        let next = |state: u64| {
            let count = if state >> 32 == u64::from(second) { state & u64::from(u32::MAX) } else { 0 };
            (count < u64::from(self.most)).then_some(u64::from(second) << 32 | (count + 1))
        };
        self.second_and_count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags};

    use super::*;

    fn span(sampled: bool, remote: bool) -> SpanContext {
        let flags = TraceFlags::default().with_sampled(sampled);
        SpanContext::new(TraceId::from(7_u128), SpanId::from(7_u64), flags, remote, TraceState::default())
    }

    fn recorded(
        sampler: &Sampler,
        name: &str,
        kind: SpanKind,
        parent: Option<SpanContext>,
        link: Option<bool>,
    ) -> bool {
        let parent = parent.map(|parent| Context::new().with_remote_span_context(parent));
        let links: Vec<Link> = link.map(|sampled| Link::new(span(sampled, true), Vec::new(), 0)).into_iter().collect();
        // Of all trace ids the last: no share but the whole has it.
        let trace_id = TraceId::from(u128::MAX);
        let result = sampler.should_sample(parent.as_ref(), trace_id, name, &kind, &[], &links);
        result.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn what_is_requested_is_recorded_within_its_bound() {
        let sampler = Sampler::new(0.0, 1000);
        assert!(recorded(&sampler, "GET /x", SpanKind::Server, Some(span(true, true)), None));
        assert!(!recorded(&sampler, "GET /x", SpanKind::Server, Some(span(false, true)), None));
        assert!(recorded(&sampler, "process s", SpanKind::Consumer, None, Some(true)));
        assert!(!recorded(&sampler, "process s", SpanKind::Consumer, None, None));
        let sampler = Sampler::new(0.0, 1);
        let caller = || recorded(&sampler, "GET /x", SpanKind::Server, Some(span(true, true)), None);
        assert!([caller(), caller(), caller()].iter().filter(|recorded| **recorded).count() < 3);
        assert!(recorded(&sampler, "process s", SpanKind::Consumer, None, Some(true)), "callers take nothing from it");
        let sampler = Sampler::new(0.0, 0);
        assert!(!recorded(&sampler, "GET /x", SpanKind::Server, Some(span(true, true)), None), "beyond it by share");
        assert!(recorded(&Sampler::new(1.0, 0), "process s", SpanKind::Consumer, None, Some(true)));
    }

    #[test]
    fn a_step_belongs_to_what_is_recorded() {
        let sampler = Sampler::new(1.0, 1000);
        assert!(recorded(&sampler, "copy", SpanKind::Client, Some(span(true, false)), None));
        assert!(!recorded(&sampler, "copy", SpanKind::Client, Some(span(false, false)), None));
        assert!(!recorded(&sampler, "copy", SpanKind::Client, None, None), "nobody traces what it is a step of");
        assert!(!recorded(&sampler, "decode", SpanKind::Internal, None, None));
        assert!(recorded(&sampler, "lease", SpanKind::Internal, None, None));
        assert!(recorded(&Sampler::new(0.0, 0), "merge", SpanKind::Internal, None, Some(true)));
        assert!(!recorded(&sampler, "merge", SpanKind::Internal, None, None), "nothing that it folds is recorded");
    }

    #[test]
    fn each_second_has_its_own_number() {
        let bound = PerSecond { most: 2, second_and_count: AtomicU64::new(0) };
        assert_eq!([7, 7, 7, 8, 8, 8].map(|second| bound.one_more(second)), [true, true, false, true, true, false]);
    }
}
