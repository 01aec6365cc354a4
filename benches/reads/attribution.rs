//! Attribution of thirteen months: 250 orgs, of each 50 clients × 40 models in every month, day and hour that is read. Parts are written as
//! `maintain` leaves them; the days in the middle, which no request of the whole range reads, are left out.

use analytics_service::{
    domain::{
        attribution::{Measures, Part, Unit},
        money::Cents,
    },
    store::attribution::sets,
};
use chrono::{DateTime, Datelike as _, Days, Months, NaiveTime, TimeDelta, Utc};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sqlx::PgConnection;

use crate::{ORGS, harness::World, id};

pub const CLIENTS: u32 = 50;
const MODELS: u32 = 40;
/// Ids of values begin behind the two of values that are missing or lost.
const FIRST_ID: u32 = 2;
const MONTHS: Months = Months::new(13);

/// What is read, all of it: from a day thirteen months ago to the end of yesterday.
pub struct Range {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    /// The months between.
    months: (DateTime<Utc>, DateTime<Utc>),
}

impl Range {
    pub fn now() -> Self {
        let midnight = |date: chrono::NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
        let today = Utc::now().date_naive();
        let start = today - MONTHS;
        let next_month = start.with_day(1).unwrap() + Months::new(1);
        Self {
            start: midnight(start),
            end: midnight(today),
            months: (midnight(next_month), midnight(today.with_day(1).unwrap())),
        }
    }

    /// The buckets that have parts.
    fn buckets(&self) -> Vec<(Unit, DateTime<Utc>)> {
        let mut found = Vec::new();
        let mut at = self.start;
        while at < self.end {
            let is_month = self.months.0 <= at && at < self.months.1;
            found.push((if is_month { Unit::Month } else { Unit::Day }, at));
            at = if is_month { at + Months::new(1) } else { at + Days::new(1) };
        }
        found
    }

    /// The statement that the service reads parts with, about an org that pgbench draws.
    pub fn statement(&self, set_id: i32) -> String {
        let (first, last) = self.months;
        let of = |moments: [DateTime<Utc>; 3]| moments.map(|at| format!("'{}'", at.to_rfc3339())).join(", ");
        let text = include_str!("../../src/store/read/sql/attribution_parts.sql");
        let text: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        let text = text
            .join("\n")
            .replace("$1", "('00000000-0000-4000-8000-' || lpad(to_hex(:org::int), 12, '0'))::uuid")
            .replace("$2", &set_id.to_string())
            .replace("$3", "ARRAY['day', 'month', 'day']")
            .replace("$4", &format!("ARRAY[{}]", of([self.start, first, last])))
            .replace("$5", &format!("ARRAY[{}]", of([first, last, self.end])));
        format!("\\set org random(1, {ORGS})\n{text};\n")
    }
}

/// Fills the set of clients and models, and returns its id.
pub async fn fill(world: &World, range: &Range) -> i32 {
    let mut conn = world.connect_as_owner().await;
    let (of, max_ahead) = (&world.settings.attribution, world.settings.events.max_ahead());
    sets::want(&mut conn, &of.sets(), of.max_keys, max_ahead).await.unwrap();
    let set_id: i32 = sqlx::query_scalar(
        "UPDATE analytics.attribution_sets SET complete_from = $1, days_to = $2, months_to = $3
         WHERE dimensions = '{clientId,modelId}' RETURNING set_id",
    )
    .bind(range.start - TimeDelta::days(1))
    .bind(range.end)
    .bind(range.months.1)
    .fetch_one(&mut conn)
    .await
    .unwrap();
    let mut random = StdRng::seed_from_u64(1);
    for org in 1..=ORGS {
        values(&mut conn, org).await;
        let (mut units, mut starts, mut packed) = (Vec::new(), Vec::new(), Vec::new());
        for (unit, start) in range.buckets() {
            units.push(unit.as_str());
            starts.push(start);
            packed.push(part(&mut random).pack().unwrap());
        }
        sqlx::query(include_str!("../../src/store/attribution/sql/parts_settle.sql"))
            .bind(vec![id(org); units.len()])
            .bind(vec![set_id; units.len()])
            .bind(units)
            .bind(starts)
            .bind(packed)
            .execute(&mut conn)
            .await
            .unwrap();
    }
    let (parts, bytes): (i64, i64) = sqlx::query_as(
        "SELECT count(*), pg_total_relation_size('analytics.attribution_parts') FROM analytics.attribution_parts",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    println!("attribution: {parts} parts of {} keys, {} MiB", CLIENTS * MODELS, bytes >> 20);
    set_id
}

/// The names of an org's clients and models.
async fn values(conn: &mut PgConnection, org: u64) {
    for (dimension, count) in [("clientId", CLIENTS), ("modelId", MODELS)] {
        let (ids, names): (Vec<i32>, Vec<String>) = (0..count)
            .map(|n| {
                let name = if dimension == "clientId" { format!("client-{n}") } else { id(n.into()).to_string() };
                ((FIRST_ID + n).cast_signed(), name)
            })
            .unzip();
        sqlx::query(
            "INSERT INTO analytics.attribution_values (org_id, dimension, value_id, value)
             SELECT $1, $2, * FROM unnest($3::integer[], $4::text[])",
        )
        .bind(id(org))
        .bind(dimension)
        .bind(ids)
        .bind(names)
        .execute(&mut *conn)
        .await
        .unwrap();
    }
}

fn part(random: &mut StdRng) -> Part {
    let mut part = Part::default();
    for client in 0..CLIENTS {
        for model in 0..MODELS {
            let invocations = random.random_range(1..2000);
            let measures = Measures {
                invocations,
                errors: invocations / 100,
                input_tokens: invocations * random.random_range(100..3000),
                output_tokens: invocations * random.random_range(50..800),
                cost: Cents::from_units(i128::from(random.random_range(1_000_000..1_000_000_000_u64)) * 100_000_000),
            };
            part.add(&[FIRST_ID + client, FIRST_ID + model], measures);
        }
    }
    part
}
