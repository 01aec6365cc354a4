//! Messages that are no events: each ends as a dead letter with its reasons, and the batch around it is stored.

use chrono::Utc;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    harness::{LedgerSums, World, eventually, settled},
    store_commit::{body, event},
};

#[tokio::test]
async fn broken_messages_are_kept_with_reasons() {
    let world = World::new(1).await;
    let _service = world.serve().await;
    let good = event(1, 1, Utc::now());
    let text = String::from_utf8(body(&good)).unwrap();
    let too_large = format!("{{\"orgId\":\"{}\",\"x\":\"{}\"}}", Uuid::from_u128(1), "y".repeat(70_000)).into_bytes();
    let broken: Vec<(Vec<u8>, &str, bool)> = vec![
        (b"not json".to_vec(), "message: is not valid JSON at line 1 column 2", false),
        (b"".to_vec(), "message: is not valid JSON at line 1 column 0", false),
        (b"{\"orgId\":\"\xff\"}".to_vec(), "message: is not UTF-8 after byte 10", false),
        (too_large.clone(), "message: is 70055 bytes long, at most 65536 are read", false),
        (
            format!("{{\"x\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000)).into_bytes(),
            "message: is nested deeper than 128 levels",
            false,
        ),
        (text.replace("12,\"in", "-1,\"in").into_bytes(), "latencyMs: must be an integer from 0 to 86400000", true),
        (
            text.replace("success", "suc\\u0000cess").into_bytes(),
            "status: must be one of success, error, timeout, throttled",
            true,
        ),
        (
            text.replace("{\"eventId\"", "{\"clientId\":\"\",\"clientId\":\"\",\"eventId\"").into_bytes(),
            "clientId: is there more than once",
            true,
        ),
    ];
    world.send(broken.iter().map(|(body, ..)| body.clone()).chain([body(&good)])).await;

    let mut conn = world.connect().await;
    let ledger = eventually("all are in the ledger", async || {
        let sums = LedgerSums::of_batches(&mut conn).await;
        (sums.received == 9).then_some(sums)
    })
    .await;
    assert_eq!((ledger.stored, ledger.rejected), (1, 8));
    type Row = (Vec<String>, Option<Uuid>, Vec<u8>, i64, Vec<u8>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT reasons, org_id, payload, payload_bytes, payload_sha256 FROM analytics.dead_letters ORDER BY stream_offset",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(rows.len(), broken.len());
    for ((reasons, org, payload, length, hash), (body, reason, readable)) in rows.into_iter().zip(broken) {
        assert_eq!(reasons, [reason]);
        assert_eq!(org.is_some(), readable, "{reason}");
        assert_eq!((length, payload.len()), (i64::try_from(body.len()).unwrap(), body.len().min(65_536)));
        assert_eq!(hash, Sha256::digest(&body).to_vec());
    }
}

#[tokio::test]
async fn unstorable_values_are_normalised_and_counted() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let counted = async || {
        let metrics = service.metrics().await;
        ["clientId", "errorCode", "metadata"].map(|field| {
            let series = format!("analytics_events_normalized_total{{field=\"{field}\"}} ");
            let line = metrics.lines().find_map(|line| line.strip_prefix(series.as_str()).map(str::to_owned));
            line.unwrap().parse::<u64>().unwrap()
        })
    };
    assert_eq!(counted().await, [0; 3], "the series are there from the start");
    let text = String::from_utf8(body(&event(1, 1, Utc::now()))).unwrap();
    let long = "x".repeat(300);
    let odd =
        format!(r#"{{"clientId":"a\u0000b","errorCode":"{long}","metadata":{{"\ud800":"\udfff"}},{}"#, &text[1..]);
    let plain = body(&event(1, 2, Utc::now()));
    world.send([odd.clone().into_bytes(), plain]).await;
    let mut conn = world.connect().await;
    settled(&mut conn, 2).await;
    let stored: (String, String, String) = sqlx::query_as(
        "SELECT client_id, error_code, metadata::text FROM analytics.usage_events WHERE client_id IS NOT NULL",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    let expected = ("a\u{fffd}b".to_owned(), "x".repeat(199) + "\u{2026}", "{\"\u{fffd}\": \"\u{fffd}\"}".to_owned());
    assert_eq!(stored, expected);
    // A resend is compared with what was stored of it.
    world.send([odd.into_bytes()]).await;
    settled(&mut conn, 3).await;
    let sums = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((sums.stored, sums.duplicates, sums.conflicts, sums.rejected), (2, 1, 0, 0));
    eventually("both are counted", async || (counted().await == [2; 3]).then_some(())).await;
}
