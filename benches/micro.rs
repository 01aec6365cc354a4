//! How long each step of an event takes on one core, without servers: `make bench-micro`.
//!
//! Every benchmark goes over 1,000 events as `publish` generates them: microseconds of it are nanoseconds an event.
#![expect(clippy::unwrap_used, reason = "a benchmark that fails stops")]

#[path = "../src/broker/stream/chunk/tests/encoder.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod encoder;

use std::hint::black_box;

use analytics_service::{
    broker::stream::chunk::Chunk,
    domain::{
        event::{Event, EventKey, Rules, decode},
        histogram::Histogram,
        window::{Novelty, Window},
    },
    store::rows::row,
    workload::synthetic::{Plan, Synthetic},
};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use uuid::Uuid;

const EVENTS: usize = 1000;

criterion_group!(benches, chunks, decoding, window, histogram, rows);
criterion_main!(benches);

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn bodies() -> Vec<Vec<u8>> {
    let plan = Plan { seed: 1, run: 1, orgs: 250, models: 40, duplicates: 0, late: 0, invalid: 0 };
    let mut synthetic = Synthetic::new(plan);
    let body = || {
        let mut body = Vec::new();
        synthetic.next(now(), &mut body).unwrap();
        body
    };
    std::iter::repeat_with(body).take(EVENTS).collect()
}

fn rules() -> Rules {
    Rules { now: now(), max_ahead: TimeDelta::minutes(5), retention: TimeDelta::days(90) }
}

fn events() -> Vec<Event> {
    bodies().iter().map(|body| decode(body, &rules()).unwrap()).collect()
}

/// From the bytes of a `Deliver` frame to the bodies of its records.
fn chunks(criterion: &mut Criterion) {
    let bodies = bodies();
    let messages: Vec<Vec<u8>> = bodies.iter().map(|body| encoder::message(1_790_000_000_000, None, &[body])).collect();
    let simple = |records: &[Vec<u8>]| records.iter().map(|record| encoder::simple(record)).collect();
    let batched = |compression| messages.chunks(100).map(|part| encoder::batch(compression, part)).collect();
    let forms: [(&str, Vec<encoder::Entry>); 7] = [
        ("bare bytes", simple(&bodies)),
        ("messages", simple(&messages)),
        ("batches", batched(0)),
        ("batches, gzip", batched(encoder::GZIP)),
        ("batches, snappy", batched(encoder::SNAPPY)),
        ("batches, lz4", batched(encoder::LZ4)),
        ("batches, zstd", batched(encoder::ZSTD)),
    ];
    let mut group = criterion.benchmark_group("chunk");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for (form, entries) in forms {
        let bytes = Bytes::from(encoder::chunk(0, 0, &entries));
        group.bench_function(form, |bencher| {
            bencher.iter(|| {
                let chunk = Chunk::parse(black_box(bytes.clone())).unwrap();
                chunk.records().map(|record| record.content.unwrap().len()).sum::<usize>()
            });
        });
    }
    group.finish();
}

fn decoding(criterion: &mut Criterion) {
    let (bodies, rules) = (bodies(), rules());
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| bodies.iter().filter(|body| decode(black_box(body), &rules).is_ok()).count());
    });
    group.finish();
}

/// The filter of 64 MiB with a million keys in it; new keys go on filling it, as they do in the service.
fn window(criterion: &mut Criterion) {
    let mut window = Window::new(64 << 20, TimeDelta::hours(24), now());
    window.loaded(None);
    let org_id = Uuid::new_v4();
    let keys = |count: usize| -> Vec<EventKey> {
        std::iter::repeat_with(|| EventKey { org_id, event_id: Uuid::new_v4() }).take(count).collect()
    };
    let mut fresh = |keys: &[EventKey]| {
        let admitted = keys.iter().map(|key| window.admit(window.hash(*key), now()));
        admitted.filter(|novelty| *novelty == Novelty::New).count()
    };
    let others = fresh(&keys(1_000_000));
    assert!(others > 990_000, "{others} of a million are fresh");
    let known = keys(EVENTS);
    let mut group = criterion.benchmark_group("window");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("admit a known key", |bencher| bencher.iter(|| fresh(&known)));
    group.bench_function("admit a new key", |bencher| {
        bencher.iter_batched(|| keys(EVENTS), |keys| fresh(&keys), BatchSize::LargeInput);
    });
    group.finish();
}

fn histogram(criterion: &mut Criterion) {
    let events = events();
    let histogram_of = |events: &[Event]| {
        let mut histogram = Histogram::default();
        for event in events {
            histogram.record(event.latency_ms);
        }
        histogram
    };
    let one = histogram_of(&events);
    let mut group = criterion.benchmark_group("histogram");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("record", |bencher| bencher.iter(|| histogram_of(black_box(&events))));
    group.finish();
    let mut group = criterion.benchmark_group("histogram of 1,000 latencies");
    group.bench_function("merge", |bencher| {
        let mut sum = Histogram::default();
        bencher.iter(|| sum.merge(black_box(&one)));
    });
    group.bench_function("pack and unpack", |bencher| {
        bencher.iter(|| Histogram::unpack(&black_box(&one).pack()).unwrap())
    });
    group.finish();
}

fn rows(criterion: &mut Criterion) {
    let (events, batch_id) = (events(), Uuid::new_v4());
    let mut piece = Vec::new();
    let mut group = criterion.benchmark_group("row");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            piece.clear();
            for event in black_box(&events) {
                row(&mut piece, event, batch_id);
            }
            piece.len()
        });
    });
    group.finish();
}
