use proptest::prelude::*;

use super::{
    cell::{FORMULA, is_blank},
    *,
};
use crate::domain::{
    attribution::{KeyKind, KeyTotals, Measures},
    export::{Granularity, TimeRange},
};

fn spec(granularity: Granularity, group_by: GroupBy) -> Spec {
    let range = TimeRange { start: DateTime::UNIX_EPOCH, end: DateTime::UNIX_EPOCH };
    let group_by = Grouping::By(group_by);
    Spec { org_id: Uuid::from_u128(0xA), granularity, group_by, names: false, range, models: Vec::new() }
}

fn by(dimensions: &[&str], names: bool) -> Spec {
    let dimensions = dimensions.iter().map(|name| name.parse().unwrap()).collect();
    Spec { group_by: Grouping::Dimensions(dimensions), names, ..spec(Granularity::Daily, GroupBy::Model) }
}

fn row(text: Option<&str>) -> Row {
    Row {
        bucket_start: "2026-03-01T10:00:00Z".parse().unwrap(),
        model_id: Uuid::from_u128(0xB),
        text: text.map(str::to_owned),
        invocations: 3,
        errors: 1,
        input_tokens: 10,
        output_tokens: 20,
        cost: Cents::from_ten_thousandths(900_719_925_474_099_300_001),
        latency: [Some(40.0), Some(1234.567), None],
    }
}

fn file(spec: &Spec, rows: &[Row]) -> String {
    let mut csv = CsvRows::new(spec, Names::default()).unwrap();
    rows.iter().for_each(|row| csv.write(row).unwrap());
    String::from_utf8(csv.take().unwrap()).unwrap()
}

#[test]
fn a_file_has_the_contracts_columns() {
    let expected = "org_id,model_id,bucket_start,granularity,invocations,errors,error_rate,input_tokens,output_tokens,\
                    cost_estimate_cents,latency_p50_ms,latency_p95_ms,latency_p99_ms\r\n\
                    00000000-0000-0000-0000-00000000000a,00000000-0000-0000-0000-00000000000b,2026-03-01T10:00:00Z,hourly,\
                    3,1,0.3333333333333333,10,20,90071992547409930.0001,40.0,1234.57,\r\n";
    assert_eq!(file(&spec(Granularity::Hourly, GroupBy::Model), &[row(None)]), expected);
}

#[test]
fn a_file_of_no_rows_is_its_header() {
    let text = file(&spec(Granularity::Hourly, GroupBy::ErrorCode), &[]);
    assert!(text.ends_with(",latency_p99_ms,error_code\r\n") && text.lines().count() == 1, "{text}");
}

#[test]
fn without_invocations_there_is_no_rate() {
    let none = Row { invocations: 0, errors: 0, latency: [None; 3], ..row(None) };
    let text = file(&spec(Granularity::Daily, GroupBy::Model), &[none]);
    assert!(text.ends_with(",daily,0,0,,10,20,90071992547409930.0001,,,\r\n"), "{text}");
}

#[test]
fn texts_like_formulas_are_neutralised() {
    for (text, expected) in [
        ("=cmd()", "'=cmd()"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'  =1"),
        ("\u{a0}\u{feff}=1", "'\u{a0}\u{feff}=1"),
        ("\u{200b}=1", "'\u{200b}=1"),
        ("\t=1", "'\t'=1"),
        ("a;=1", "a;'=1"),
        ("a; =1;b|-2;c|d", "a;' =1;b|'-2;c|d"),
        ("a\t\"@x", "a\t'\"@x"),
        ("a;\u{feff}\"\" ＝1", "a;'\u{feff}\"\" ＝1"),
        ("two\r\n=lines", "two\r\n'=lines"),
        ("a\u{2028}=1\u{b}+2", "a\u{2028}'=1\u{b}'+2"),
        ("a;b|c\td", "a;b|c\td"),
        ("a;'=1", "a;'=1"),
        ("\tname", "'\tname"),
        ("\rname", "'\rname"),
        ("\nname", "'\nname"),
        ("＝1", "'＝1"),
        ("web-console", "web-console"),
        (" a = b", " a = b"),
        ("'=1", "'=1"),
        ("", ""),
        ("  ", "  "),
        ("é=1", "é=1"),
    ] {
        assert_eq!(neutral(text), expected, "{text:?}");
    }
}

#[test]
fn texts_with_separators_stay_one_cell() {
    let texts =
        [None, Some("a,b"), Some("say \"no\""), Some("two\r\nlines"), Some("=1,\"2\""), Some("a\rb"), Some("a;b")];
    let rows = texts.map(row);
    let text = file(&spec(Granularity::Hourly, GroupBy::Client), &rows);
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap().iter().next_back(), Some("client_id"));
    let cells: Vec<String> = reader.records().map(|record| record.unwrap()[13].to_owned()).collect();
    assert_eq!(cells, ["", "a,b", "say \"no\"", "two\r\nlines", "'=1,\"2\"", "a\rb", "a;b"]);
    for (text, cell) in [("a;b", "\"a;b\""), ("a\tb", "\"a\tb\""), ("a|b", "\"a|b\""), ("a b", "a b")] {
        let file = file(&spec(Granularity::Hourly, GroupBy::Client), &[row(Some(text))]);
        assert!(file.ends_with(&format!(",{cell}\r\n")), "{file}");
    }
}

#[test]
fn parts_are_whole_lines_and_together_the_file() {
    let spec = spec(Granularity::Hourly, GroupBy::Model);
    let hour = |n: i64| row(None).bucket_start + chrono::TimeDelta::hours(n);
    let rows: Vec<Row> = (0..2000).map(|n| Row { bucket_start: hour(n), ..row(None) }).collect();
    let mut csv = CsvRows::new(&spec, Names::default()).unwrap();
    let (mut parts, mut most) = (Vec::new(), 0);
    for row in &rows {
        csv.write(row).unwrap();
        if csv.len() >= 20_000 {
            most = most.max(csv.len());
            parts.push(csv.take().unwrap());
        }
    }
    parts.push(csv.take().unwrap());
    assert!(csv.is_empty() && parts.len() > 5 && most < 40_000, "{} parts, {most}", parts.len());
    assert!(parts.iter().all(|part| part.ends_with(b"\r\n")));
    assert_eq!(String::from_utf8(parts.concat()).unwrap(), file(&spec, &rows));
    assert_eq!((csv.rows(), csv.totals().invocations, csv.totals().errors), (2000, 6000, 2000));
    assert_eq!(csv.totals().cost, Cents::from_ten_thousandths(900_719_925_474_099_300_001 * 2000));
}

fn groups(spec: &Spec, names: Names, rows: &[GroupRow]) -> Vec<Vec<String>> {
    let mut csv = CsvRows::new(spec, names).unwrap();
    rows.iter().for_each(|row| csv.write_group(row).unwrap());
    let file = String::from_utf8(csv.take().unwrap()).unwrap();
    let mut reader = ::csv::ReaderBuilder::new();
    let mut reader = reader.has_headers(false).from_reader(file.as_bytes());
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

fn key(values: &[Option<&str>]) -> Vec<Value> {
    values.iter().map(|value| value.map_or(Value::Missing, |name| Value::Named(name.into()))).collect()
}

fn one(key: Vec<Value>, may_pass: bool, invocations: u64) -> KeyTotals {
    KeyTotals { key, may_pass, measures: Measures { invocations, ..Measures::default() } }
}

#[test]
fn a_bucket_has_groups_then_the_rest() {
    let start = row(None).bucket_start;
    let totals = vec![
        one(vec![Value::Lost, Value::Named("a".into())], false, 1),
        one(key(&[None, None]), false, 2),
        one(key(&[None, Some("unattributed")]), false, 4),
        one(key(&[Some("overflow"), None]), false, 8),
        one(key(&[Some(""), Some("")]), false, 16),
        one(key(&[Some("b"), Some("c")]), true, 32),
        one(key(&[Some("gone"), None]), false, 0),
    ];
    let rows = GroupRow::of_bucket(start, totals);
    let shown: Vec<_> = rows.iter().map(|row| (row.kind.as_str(), row.measures.invocations)).collect();
    assert_eq!(shown, [("group", 16), ("group", 8), ("group", 4), ("unattributed", 2), ("overflow", 33)]);
    let file = groups(&by(&["clientId", "meta.te,am"], false), Names::default(), &rows);
    assert_eq!(file[0].join("|"), format!("{}|client_id|meta.te,am|unset", GROUP_COLUMNS.join("|")));
    let cells: Vec<String> =
        file[1..].iter().map(|row| [&row[3], &row[10], &row[11], &row[12]].map(String::as_str).join("|")).collect();
    assert_eq!(
        cells,
        [
            "group|||",
            r"group|overflow||meta.te\,am",
            "group||unattributed|client_id",
            r"unattributed|||client_id,meta.te\,am",
            "overflow|||",
        ]
    );
    assert_eq!(file[1][..4], ["00000000-0000-0000-0000-00000000000a", "2026-03-01T10:00:00Z", "daily", "group"]);
}

#[test]
fn names_stand_in_columns_of_their_own() {
    let model = Uuid::from_u128(0xB);
    let mut names = Names::default();
    names.add(Dimension::Model, model.to_string(), "=Large".to_owned());
    names.add(Dimension::Client, "web".to_owned(), "Web, the shop".to_owned());
    let start = row(None).bucket_start;
    let rows = [
        GroupRow {
            bucket_start: start,
            kind: KeyKind::Group,
            key: key(&[Some("web"), Some("error"), Some(&model.to_string())]),
            measures: Measures::default(),
        },
        GroupRow { bucket_start: start, kind: KeyKind::Overflow, key: Vec::new(), measures: Measures::default() },
    ];
    let file = groups(&by(&["clientId", "status", "modelId"], true), names.clone(), &rows);
    assert_eq!(file[0][10..], ["client_id", "status", "model_id", "unset", "name.client_id", "name.model_id"]);
    assert_eq!(file[1][13..], ["", "Web, the shop", "'=Large"]);
    assert_eq!(file[2][13..], ["", "", ""]);
    for (group_by, ends) in [
        (GroupBy::Model, ",'=Large"),
        (GroupBy::Client, ",web,'=Large,\"Web, the shop\""),
        (GroupBy::ErrorCode, ",web,'=Large"),
    ] {
        let spec = Spec { names: true, ..spec(Granularity::Hourly, group_by) };
        let mut csv = CsvRows::new(&spec, names.clone()).unwrap();
        csv.write(&row(Some("web"))).unwrap();
        let file = String::from_utf8(csv.take().unwrap()).unwrap();
        assert!(file.ends_with(&format!("{ends}\r\n")), "{file}");
        let header = file.lines().next().unwrap();
        assert!(header.starts_with(&COLUMNS.join(",")) && header.contains(",name.model_id"), "{header}");
    }
}

proptest! {
    /// The sums of a bucket's rows are those of its keys, whatever these are, and each key has a row of its own.
    #[test]
    fn rows_are_the_whole_bucket(
        entries in prop::collection::btree_map(
            (prop::collection::vec(prop_oneof![
                4 => "[=,a]{0,2}".prop_map(|name| Value::Named(name.as_str().into())), 1 => Just(Value::Missing), 1 => Just(Value::Lost),
            ], 2), any::<bool>()),
            (1u64..9, 0i128..50), 0..40,
        )
    ) {
        let totals: Vec<KeyTotals> = entries.into_iter().map(|((key, may_pass), (n, cost))| {
            let measures = Measures { invocations: n, errors: n / 2, input_tokens: 3 * n, output_tokens: 9 - n, cost: Cents::from_units(cost) };
            KeyTotals { key, may_pass, measures }
        }).collect();
        let all: Measures = totals.iter().map(|one| one.measures).sum();
        let rows = GroupRow::of_bucket(row(None).bucket_start, totals);
        let spec = by(&["clientId", "meta.a"], false);
        let mut csv = CsvRows::new(&spec, Names::default()).unwrap();
        rows.iter().for_each(|row| csv.write_group(row).unwrap());
        let sums = csv.totals();
        prop_assert_eq!((sums.invocations, sums.errors, sums.cost), (all.invocations, all.errors, all.cost));
        prop_assert_eq!((sums.input_tokens, sums.output_tokens), (all.input_tokens, all.output_tokens));
        let file = groups(&spec, Names::default(), &rows);
        // Kind, values and what is unset.
        let mut keys: Vec<_> = file[1..].iter().map(|row| (row[3].clone(), row[10..].to_vec())).collect();
        let written = keys.len();
        keys.sort();
        keys.dedup();
        prop_assert_eq!(keys.len(), written);
    }

    /// What a reader of the file gets is what was written, to the last digit, and no cell begins like a formula, whatever
    /// the reader takes for the end of a cell.
    #[test]
    fn a_reader_gets_what_was_written(
        text in prop_oneof![any::<String>(), "[a=@+\\-;|\t\r\n\", '\u{200b}]{0,12}"],
        invocations in 1_u64..1 << 53, cost in 0_i128..1_000_000_000_000_000_000_000_000_000_000,
        errors in 0.0..=1.0_f64, latency in 0.0..86_400_000.0_f64,
    ) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
        let errors = (errors * invocations as f64) as u64;
        let cost = Cents::from_units(cost);
        let row = Row { invocations, errors, cost, latency: [Some(latency); 3], ..row(Some(&text)) };
        let file = file(&spec(Granularity::Hourly, GroupBy::Client), &[row]);
        let mut reader = ::csv::Reader::from_reader(file.as_bytes());
        let record = reader.records().next().unwrap().unwrap();
        prop_assert_eq!(record[4].parse(), Ok(invocations));
        prop_assert_eq!(record[5].parse(), Ok(errors));
        let rate: f64 = serde_json::from_str(&record[6]).unwrap();
        prop_assert!((rate - errors as f64 / invocations as f64).abs() < 1e-15);
        prop_assert_eq!(Cents::from_text(&record[9]), Ok(cost));
        prop_assert!((record[10].parse::<f64>().unwrap() - latency).abs() <= 0.005_000_1);
        prop_assert_eq!(&record[13], neutral(&text));
        prop_assert_eq!(record[13].replace('\'', ""), text.replace('\'', ""));
        let shown = record[13].trim_start();
        prop_assert!(!shown.starts_with(['=', '+', '-', '@']));
        for delimiter in [b';', b'\t', b'|'] {
            let mut reader = ::csv::ReaderBuilder::new();
            let mut reader = reader.delimiter(delimiter).flexible(true).has_headers(false).from_reader(file.as_bytes());
            for record in reader.records() {
                for cell in record.unwrap().iter() {
                    let shown = cell.trim_start_matches(is_blank);
                    prop_assert!(!shown.starts_with(FORMULA), "{:?} behind {:?}", cell, char::from(delimiter));
                }
            }
        }
    }
}
