//! Values of each field that an event may have.

use chrono::TimeDelta;
use uuid::Uuid;

use super::{AGE, Cases, DOUBLES, FORMATS, ORG, SIZE, TWICE};

impl Cases {
    pub(super) fn costs(&mut self) {
        let field = "costEstimateCents";
        let tiny = format!("0.{}1", "0".repeat(300));
        self.values(
            field,
            true,
            &[
                "0",
                "-0",
                "0.0",
                "1",
                "74.77",
                "0.1",
                "0.0034999999999999996",
                "0.00004",
                "0.30000000000000004",
                "1e-12",
                "1e-13",
                "1e10",
                "10000000000",
                "10000000000.0",
                "9999999999.999999",
                "1E5",
                "1e+2",
                "123456789.123456789",
                "5e-324",
                &tiny,
            ],
        );
        let long = "9".repeat(400);
        self.values(
            field,
            false,
            &[
                "-1",
                "-0.0001",
                "-1e-9",
                "10000000001",
                "10000000000.01",
                "1e11",
                "1e308",
                "1e999",
                "-1e999",
                &long,
                "\"1\"",
                "\"\"",
                "null",
                "true",
                "[]",
                "{}",
                "[1]",
            ],
        );
        self.value(field, false, "10000000000.0000001", Some(DOUBLES));
        self.value(field, false, "-1e-400", Some(DOUBLES));
    }

    pub(super) fn integers(&mut self) {
        for (field, max) in [("latencyMs", 86_400_000), ("inputTokens", 1_000_000_000), ("outputTokens", 1_000_000_000)]
        {
            let (most, written, over) = (format!("{max}"), format!("{max}.0"), format!("{}", max + 1));
            self.values(field, true, &["0", "-0", "374.0", "1e3", "12.50e1", "100e-2", &most, &written]);
            self.values(
                field,
                false,
                &["-1", "1.5", "0.1", "1e-1", &over, "1e99", "1e999", "\"5\"", "null", "true", "[5]", "{}", "-0.5"],
            );
        }
        self.value("inputTokens", false, "1.00000000000000000001", Some(DOUBLES));
        self.value("inputTokens", false, "1e-400", Some(DOUBLES));
    }

    pub(super) fn ids(&mut self) {
        let good = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        for field in ["eventId", "modelId", "actorId"] {
            let upper = format!("\"{}\"", good.to_uppercase());
            let escaped = format!("\"\\u0036{}\"", &good[1..]);
            self.values(field, true, &[&format!("\"{good}\""), &upper, &escaped]);
            self.values(field, true, &[&format!("\"{}\"", Uuid::nil()), &format!("\"{}\"", Uuid::max())]);
            let bare = format!("\"{}\"", good.replace('-', ""));
            let wrapped = [("{", "}"), ("urn:uuid:", ""), ("", "0"), ("", "\\n"), ("", " "), (" ", "")]
                .map(|(before, behind)| format!("\"{before}{good}{behind}\""));
            self.values(field, false, &wrapped.each_ref().map(String::as_str));
            self.values(
                field,
                false,
                &[&bare, "\"\"", "5", "\"6ba7b810-9dad-11d1-80b4-00c04fd430cg\"", "\"\\ud800\"", "[]"],
            );
        }
        self.values("actorId", true, &["null"]);
        self.values("eventId", false, &["null"]);
        self.values("orgId", true, &[&format!("\"{}\"", ORG.to_string().to_uppercase())]);
        self.values("orgId", false, &["null", "\"acme\"", "7"]);
    }

    pub(super) fn times(&mut self) {
        let day = (self.at - TimeDelta::days(1)).format("%Y-%m-%d").to_string();
        let quoted = |time: &str| format!("\"{day}{time}\"");
        for time in [
            "T10:00:00Z",
            "t10:00:00z",
            "T10:00:00+00:00",
            "T10:00:00-00:00",
            "T10:00:00+05:30",
            "T10:00:00-11:59",
            "T10:00:00.1Z",
            "T10:00:00.123456Z",
            "T10:00:00.123456789012Z",
            "T23:59:59.9999999Z",
            "T00:00:00Z",
        ] {
            self.values("occurredAt", true, &[&quoted(time)]);
        }
        for time in [
            "T10:00:00",
            "",
            "T24:00:00Z",
            "T10:60:00Z",
            "T10:00:61Z",
            "T10:00Z",
            "T10:00:00+24:00",
            "T10:00:00+0530",
            "T10:00:00+05:60",
            "T10:00:00,5Z",
            "T10:00:00.Z",
            "T10:00:00Z\\n",
            "T10:00:00Z ",
            "T10:00:00\u{2212}05:00",
            "T10:00:00 Z",
            "_10:00:00Z",
            "T1:00:00Z",
            "T10:00:00ZZ",
        ] {
            self.values("occurredAt", false, &[&quoted(time)]);
        }
        self.values(
            "occurredAt",
            false,
            &[
                "null",
                "1772359200",
                "\"\"",
                "\"now\"",
                "\"2026-13-01T00:00:00Z\"",
                "\"2026-02-30T00:00:00Z\"",
                "\"20260101T000000Z\"",
            ],
        );
        self.value("occurredAt", true, &quoted(" 10:00:00Z"), Some(FORMATS));
        self.value("occurredAt", true, &quoted("T23:59:60Z"), Some(FORMATS));
        self.value("occurredAt", true, &quoted("T10:00:60.5+01:00"), Some(FORMATS));
        self.value("occurredAt", false, "\"2001-01-01T00:00:00Z\"", Some(AGE));
        self.value("occurredAt", false, "\"2999-01-01T00:00:00Z\"", Some(AGE));
    }

    pub(super) fn texts(&mut self) {
        self.values("status", true, &["\"success\"", "\"error\"", "\"timeout\"", "\"throttled\"", "\"\\u0065rror\""]);
        self.values("status", false, &["\"Success\"", "\"\"", "null", "1", "\"ok\"", "\"success \"", "[\"success\"]"]);
        let text = |what: &str, times: usize| format!("\"{}\"", what.repeat(times));
        let (longest, astral, halves) = (text("\u{e9}", 200), text("\u{1f600}", 200), text("\\ud800", 200));
        self.values("clientId", true, &["\"\"", "\"web\"", &longest, &astral, &halves, "\"a\\u0000b\"", "\"\\udfff\""]);
        self.values("clientId", false, &[&text("x", 201), &text("\u{1f600}", 201), "null", "5", "[]", "true", "{}"]);
        let (over, huge) = (text("\u{e9}", 201), text("x", 20_000));
        self.values(
            "errorCode",
            true,
            &[
                "null",
                "\"\"",
                "\"rate_limit\"",
                &longest,
                &over,
                &huge,
                "\"\\u0000\"",
                "\"\\ud83d\"",
                "\"\\ud83d\\ude00\"",
            ],
        );
        self.values("errorCode", false, &["7", "[]", "{}", "true"]);
    }

    pub(super) fn metadata(&mut self) {
        let many: Vec<String> = (0..200).map(|n| format!("\"key{n}\":\"value\"")).collect();
        let many = format!("{{{}}}", many.join(","));
        let spaced = format!("{{ \"k\" : {} \"v\" }}", " ".repeat(9000));
        self.values(
            "metadata",
            true,
            &[
                "{}",
                "{\"region\":\"eu\"}",
                "{\"\":\"\"}",
                "{\"\\u0000\":\"\\u0000\"}",
                "{\"\\ud800\":\"\\udc00\"}",
                "{\"a\":\"1\",\"a\":\"2\"}",
                "{\"__proto__\":\"x\"}",
                &many,
                &spaced,
            ],
        );
        self.values(
            "metadata",
            false,
            &[
                "null",
                "[]",
                "\"x\"",
                "5",
                "{\"a\":1}",
                "{\"a\":null}",
                "{\"a\":[]}",
                "{\"a\":{\"b\":\"c\"}}",
                "{\"a\":true}",
                "{\"a\":\"b\",\"c\":1.5}",
            ],
        );
        let large = format!("{{\"k\":\"{}\"}}", "v".repeat(8192));
        self.value("metadata", false, &large, Some(SIZE));
        self.value("metadata", false, "{\"a\":1,\"a\":\"2\"}", Some(TWICE));
    }
}
