//! Attribution held against raw events, by the tests' own counting.

use std::collections::{BTreeMap, BTreeSet};

use analytics_service::domain::{
    attribution::{Dimension, LOST, MISSING, Measures, Part, Partials, Unit, kept},
    money::Cents,
};
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

type Values = Vec<Option<String>>;
/// Of an org's hour: by what the events have in the set's dimensions.
type Hours = BTreeMap<(Uuid, DateTime<Utc>), BTreeMap<Values, Measures>>;

struct Set {
    id: i32,
    dimensions: Vec<Dimension>,
    complete_from: DateTime<Utc>,
    days_to: DateTime<Utc>,
    months_to: DateTime<Utc>,
}

/// Sums of attribution that are not what raw events make, some of them: within a transaction of one snapshot.
pub async fn wrongly_attributed(conn: &mut PgConnection) -> Vec<String> {
    let mut wrong = Vec::new();
    for set in sets(conn).await {
        let found = of_set(conn, &set).await;
        wrong.extend(found.into_iter().take(3).map(|what| format!("attribution by {:?}: {what}", set.dimensions)));
    }
    wrong
}

async fn sets(conn: &mut PgConnection) -> Vec<Set> {
    type Row = (i32, Vec<String>, DateTime<Utc>, DateTime<Utc>, DateTime<Utc>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT set_id, dimensions, complete_from, days_to, months_to FROM analytics.attribution_sets WHERE retired_at IS NULL",
    )
    .fetch_all(conn)
    .await
    .unwrap();
    let set = |(id, names, complete_from, days_to, months_to): Row| Set {
        id,
        dimensions: names.iter().map(|name| name.parse().unwrap()).collect(),
        complete_from,
        days_to,
        months_to,
    };
    rows.into_iter().map(set).collect()
}

async fn of_set(conn: &mut PgConnection, set: &Set) -> Vec<String> {
    let unknown = unknown(conn, set).await;
    let is_known = |(org, hour): &(Uuid, DateTime<Utc>)| {
        *hour >= set.complete_from
            && unknown.iter().all(|(of, from, to)| of.is_some_and(|of| of != *org) || *hour < *from || *hour >= *to)
    };
    let (mut summed, lost) = parts(conn, set).await;
    pending(conn, set, &mut summed).await;
    let raw = raw(conn, set).await;
    let mut wrong = Vec::new();
    let hours: BTreeSet<_> = summed.keys().chain(raw.keys()).filter(|hour| is_known(hour)).collect();
    for hour in hours {
        let of = |hours: &Hours| hours.get(hour).cloned().unwrap_or_default();
        let (summed, raw) = (of(&summed), of(&raw));
        let total = |of: &BTreeMap<Values, Measures>| of.values().copied().sum::<Measures>();
        if total(&summed) != total(&raw) {
            wrong.push(format!("{hour:?}: it has {:?}, raw events make {:?}", total(&summed), total(&raw)));
        } else if summed != raw && !lost.contains(hour) {
            wrong.push(format!("{hour:?}: it has {summed:?}, raw events make {raw:?}"));
        }
    }
    wrong.extend(larger(conn, set, is_known).await);
    wrong
}

/// Orgs, or all of them, and the times that cannot be held against raw events: those that wait to be counted again, were purged or
/// erased, or are of batches without attribution.
async fn unknown(conn: &mut PgConnection, set: &Set) -> Vec<(Option<Uuid>, DateTime<Utc>, DateTime<Utc>)> {
    sqlx::query_as(
        "SELECT org_id, day, day + INTERVAL '1 day' FROM analytics.attribution_recounts WHERE set_id = $1
         UNION ALL
         SELECT org_id, '1970-01-01+00', floor_at FROM analytics.attribution_floors WHERE set_id = $1
         UNION ALL
         SELECT org_id, '1970-01-01+00', floor_at FROM analytics.retention_floors WHERE kind IN ('attribution', 'hourly', 'daily')
         UNION ALL
         SELECT org_id, '1970-01-01+00', raw_from FROM analytics.raw_horizons
         UNION ALL
         SELECT org_id, '1970-01-01+00', coalesce(floor_at, erased_at) FROM analytics.erasures
         UNION ALL
         SELECT DISTINCT org_id, date_trunc('day', occurred_at, 'UTC'), date_trunc('day', occurred_at, 'UTC') + INTERVAL '1 day'
         FROM analytics.usage_events
         WHERE batch_id IN (SELECT batch_id FROM analytics.attribution_unattributed
                            UNION ALL SELECT batch_id FROM analytics.rollup_pending WHERE NOT attributed)",
    )
    .bind(set.id)
    .fetch_all(conn)
    .await
    .unwrap()
}

async fn packed(conn: &mut PgConnection, set: &Set, unit: &str) -> Vec<(Uuid, DateTime<Utc>, Part)> {
    let rows: Vec<(Uuid, DateTime<Utc>, Vec<u8>)> = sqlx::query_as(
        "SELECT org_id, bucket_start, packed FROM analytics.attribution_parts WHERE set_id = $1 AND unit::text = $2",
    )
    .bind(set.id)
    .bind(unit)
    .fetch_all(conn)
    .await
    .unwrap();
    let part = |packed: &[u8]| {
        let mut part = Part::default();
        part.add_packed(packed, set.dimensions.len()).unwrap();
        part
    };
    rows.into_iter().map(|(org, start, packed)| (org, start, part(&packed))).collect()
}

/// What parts of hours have, by name, and the hours in which a name is lost.
async fn parts(conn: &mut PgConnection, set: &Set) -> (Hours, BTreeSet<(Uuid, DateTime<Utc>)>) {
    let names: Vec<(Uuid, String, i32, String)> =
        sqlx::query_as("SELECT org_id, dimension, value_id, value FROM analytics.attribution_values")
            .fetch_all(&mut *conn)
            .await
            .unwrap();
    let names: BTreeMap<(Uuid, Dimension, u32), String> = names
        .into_iter()
        .map(|(org, dimension, id, value)| ((org, dimension.parse().unwrap(), id.try_into().unwrap()), value))
        .collect();
    let (mut hours, mut lost) = (Hours::new(), BTreeSet::new());
    for (org, start, part) in packed(conn, set, "hour").await {
        for (ids, measures) in part.0 {
            let name = |(dimension, id): (&Dimension, &u32)| names.get(&(org, dimension.clone(), *id)).cloned();
            let values: Values = set.dimensions.iter().zip(&ids).map(name).collect();
            if ids.iter().zip(&values).any(|(id, value)| *id == LOST || *id != MISSING && value.is_none()) {
                lost.insert((org, start));
            }
            *hours.entry((org, start)).or_default().entry(values).or_default() += measures;
        }
    }
    (hours, lost)
}

/// Adds what waits to be folded.
async fn pending(conn: &mut PgConnection, set: &Set, hours: &mut Hours) {
    let rows: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT partials FROM analytics.attribution_pending").fetch_all(conn).await.unwrap();
    for packed in rows {
        let partials = Partials::unpack(&packed).unwrap();
        let place = |dimension: &Dimension| partials.dimensions().iter().position(|name| *name == dimension.name());
        // What lacks a dimension is noted to be counted again when it is folded.
        let Some(places) = set.dimensions.iter().map(place).collect::<Option<Vec<_>>>() else { continue };
        for entry in partials.entries() {
            let value =
                |place: &usize| entry.values[*place].checked_sub(1).map(|text| partials.texts()[text as usize].clone());
            let hour = DateTime::UNIX_EPOCH + TimeDelta::hours(entry.hour.into());
            let values = places.iter().map(value).collect();
            *hours.entry((entry.org_id, hour)).or_default().entry(values).or_default() += entry.measures;
        }
    }
}

async fn raw(conn: &mut PgConnection, set: &Set) -> Hours {
    let mut fields = Vec::new();
    let column = |dimension: &Dimension| match dimension {
        Dimension::Model => "model_id::text".to_owned(),
        Dimension::Client => "client_id".to_owned(),
        Dimension::Actor => "actor_id::text".to_owned(),
        Dimension::Status => "status::text".to_owned(),
        Dimension::ErrorCode => "error_code".to_owned(),
        Dimension::Meta(field) => {
            fields.push(field.to_string());
            format!("metadata ->> ($1::text[])[{}]", fields.len())
        }
    };
    let columns: Vec<String> = set.dimensions.iter().map(column).collect();
    let statement = format!(
        "SELECT org_id, date_trunc('hour', occurred_at, 'UTC'), ARRAY[{}], count(*), count(*) FILTER (WHERE status <> 'success'),
                sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(cost_cents)
         FROM analytics.usage_events WHERE $1::text[] IS NOT NULL GROUP BY 1, 2, 3",
        columns.join(", ")
    );
    type Row = (Uuid, DateTime<Utc>, Values, i64, i64, i64, i64, Decimal);
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(statement)).bind(fields).fetch_all(conn).await.unwrap();
    let mut hours = Hours::new();
    for (org, hour, values, invocations, errors, input, output, cost) in rows {
        let values = values.iter().map(|value| value.as_deref().map(|text| kept(text).into_owned())).collect();
        let n = |count: i64| u64::try_from(count).unwrap();
        let measures = Measures {
            invocations: n(invocations),
            errors: n(errors),
            input_tokens: n(input),
            output_tokens: n(output),
            cost: Cents::from_text(&cost.to_string()).unwrap(),
        };
        *hours.entry((org, hour)).or_default().entry(values).or_default() += measures;
    }
    hours
}

/// Days that are not the sums of their hours, and months that are not those of their days.
async fn larger(conn: &mut PgConnection, set: &Set, is_known: impl Fn(&(Uuid, DateTime<Utc>)) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (unit, smaller, to) in [(Unit::Day, Unit::Hour, set.days_to), (Unit::Month, Unit::Day, set.months_to)] {
        let mut both: BTreeMap<(Uuid, DateTime<Utc>), [Part; 2]> = BTreeMap::new();
        for (n, of) in [unit, smaller].into_iter().enumerate() {
            for (org, start, part) in packed(conn, set, of.as_str()).await {
                both.entry((org, unit.start_of(start))).or_default()[n].add_all(&part);
            }
        }
        let differs = |(key, [has, should]): (&(Uuid, DateTime<Utc>), &[Part; 2])| {
            let is_kept = key.1 < to && is_known(key);
            let [total, expected] = [has, should].map(Part::total);
            (is_kept && has != should).then(|| format!("{key:?}: the {unit} has {total:?}, its parts {expected:?}"))
        };
        wrong.extend(both.iter().filter_map(differs));
    }
    wrong
}
