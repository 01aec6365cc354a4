//! Sums of what was read of one set: which entries pass the filters, what they count to, and what their values are called.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use crate::{
    domain::attribution::{
        AttributionQuery, Dimension, KeyTotals, LOST, MAX_DIMENSIONS, MISSING, Measures, Part, Value, kept, pieces,
        split_parts,
    },
    store::{
        StoreError,
        attribution::{counted, sets::KeptSet, sums::SumsRow},
        read::{MAX_ROWS, ReadError, row_limit},
    },
};

/// Most bytes of parts that one response is read from.
const MAX_BYTES: usize = 64 << 20;

/// What is summed by: ids of values in the order of the dimensions that are grouped by, then whether a filtered name is lost.
type Key = [u32; MAX_DIMENSIONS + 1];
const FLAG: usize = MAX_DIMENSIONS;
/// The places of keys among the totals.
pub type Places = HashMap<Key, usize, RandomState>;

/// What is read: the parts, each with its bucket, and sums of raw events of hours that a boundary lies within.
pub struct Sources {
    pub hours: Vec<(usize, Vec<u8>)>,
    pub raw: Vec<(usize, Vec<u32>, Measures)>,
}

struct Filtering {
    /// The dimension's place in the set.
    place: usize,
    ids: HashSet<u32, RandomState>,
    values: BTreeSet<String>,
    unset: bool,
}

pub struct Reading<'q> {
    query: &'q AttributionQuery,
    set: &'q KeptSet,
    /// Places in the set of the dimensions that are grouped by.
    grouped: Vec<usize>,
    filters: Vec<Filtering>,
    /// Names of values that raw events have and the dictionary has not, by place and id.
    local: HashMap<(usize, u32), Arc<str>, RandomState>,
}

impl<'q> Reading<'q> {
    pub fn new(query: &'q AttributionQuery, set: &'q KeptSet) -> Self {
        let place = |dimension: &Dimension| set.set.position(dimension).unwrap_or_default();
        let filters = query.filters.iter().map(|filter| Filtering {
            place: place(&filter.dimension),
            ids: HashSet::default(),
            values: filter.values.iter().map(|value| kept(value).into_owned()).collect(),
            unset: filter.unset,
        });
        Self {
            query,
            set,
            grouped: query.group_by.iter().map(place).collect(),
            filters: filters.collect(),
            local: HashMap::default(),
        }
    }

    fn width(&self) -> usize {
        self.set.set.dimensions().len()
    }

    /// The ids of values of a dimension that have one.
    async fn ids(
        &self,
        conn: &mut PgConnection,
        place: usize,
        values: Vec<String>,
    ) -> Result<HashMap<String, u32>, ReadError> {
        let rows: Vec<(String, i32)> = sqlx::query_as(
            "SELECT value, value_id FROM analytics.attribution_values
             WHERE org_id = $1 AND dimension = $2 AND value = ANY ($3)",
        )
        .bind(self.query.org_id)
        .bind(self.set.set.dimensions()[place].name().into_owned())
        .bind(values)
        .fetch_all(conn)
        .await?;
        Ok(rows.into_iter().map(|(value, id)| (value, id.unsigned_abs())).collect())
    }

    pub async fn find_filtered(&mut self, conn: &mut PgConnection) -> Result<(), ReadError> {
        for n in 0..self.filters.len() {
            let (place, values) = (self.filters[n].place, self.filters[n].values.iter().cloned().collect());
            let ids = self.ids(&mut *conn, place, values).await?;
            self.filters[n].ids.extend(ids.into_values());
        }
        Ok(())
    }

    /// The query's bucket that a moment lies in.
    fn bucket_of(&self, at: DateTime<Utc>) -> usize {
        self.query.buckets.starts().partition_point(|start| *start <= at).saturating_sub(1)
    }

    pub async fn parts(&self, conn: &mut PgConnection) -> Result<Vec<(usize, Vec<u8>)>, ReadError> {
        let pieces = pieces(&self.query.buckets, self.set.days_to, self.set.months_to);
        let mut rows = sqlx::query_as::<_, (DateTime<Utc>, Vec<u8>)>(include_str!("../sql/attribution_parts.sql"))
            .bind(self.query.org_id)
            .bind(self.set.set_id)
            .bind(pieces.iter().map(|piece| piece.unit.as_str()).collect::<Vec<_>>())
            .bind(pieces.iter().map(|piece| piece.start).collect::<Vec<_>>())
            .bind(pieces.iter().map(|piece| piece.end).collect::<Vec<_>>())
            .fetch(conn);
        let (mut parts, mut bytes) = (Vec::new(), 0);
        while let Some((start, packed)) = rows.try_next().await? {
            bytes += packed.len();
            if bytes > MAX_BYTES {
                return Err(ReadError::TooLarge);
            }
            parts.push((self.bucket_of(start), packed));
        }
        Ok(parts)
    }

    /// Sums of raw events of the parts of hours that a boundary lies within. Values that the dictionary does not have get ids of their own.
    pub async fn raw(&mut self, conn: &mut PgConnection) -> Result<Vec<(usize, Vec<u32>, Measures)>, ReadError> {
        let parts = split_parts(&self.query.buckets);
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let dimensions = self.set.set.dimensions();
        let statement = include_str!("../sql/attribution_split.sql").replace("{values}", &counted::columns(dimensions));
        // Safe: what is put in are constants.
        let rows: Vec<SplitRow> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(self.query.org_id)
            .bind(parts.iter().map(|part| part.0).collect::<Vec<_>>())
            .bind(parts.iter().map(|part| part.1).collect::<Vec<_>>())
            .bind(self.query.buckets.start())
            .bind(self.query.buckets.end())
            .bind(counted::fields(dimensions))
            .bind(row_limit())
            .fetch_all(&mut *conn)
            .await?;
        if rows.len() > MAX_ROWS {
            return Err(ReadError::TooLarge);
        }
        let texts = |place: usize| -> BTreeSet<String> {
            rows.iter().filter_map(|row| row.values[place].as_deref()).map(|text| kept(text).into_owned()).collect()
        };
        let mut ids: Vec<HashMap<String, u32>> = Vec::new();
        let mut next_local = u32::MAX;
        for place in 0..self.width() {
            let texts = texts(place);
            let mut known = self.ids(&mut *conn, place, texts.iter().cloned().collect()).await?;
            for text in texts {
                if known.contains_key(&text) {
                    continue;
                }
                self.local.insert((place, next_local), text.as_str().into());
                for filter in self.filters.iter_mut().filter(|of| of.place == place && of.values.contains(&text)) {
                    filter.ids.insert(next_local);
                }
                known.insert(text, next_local);
                next_local -= 1;
            }
            ids.push(known);
        }
        let id_of = |(place, value): (usize, &Option<String>)| match value {
            None => MISSING,
            Some(text) => ids[place].get(&*kept(text)).copied().unwrap_or(LOST),
        };
        let read = |row: SplitRow| {
            let key = row.values.iter().enumerate().map(id_of).collect();
            Ok((self.bucket_of(row.part_start), key, row.sums.measures()?))
        };
        rows.into_iter().map(read).collect()
    }

    /// What an entry counts to; none where it does not pass the filters.
    fn key_of(&self, ids: &[u32]) -> Option<Key> {
        let mut key = [MISSING; MAX_DIMENSIONS + 1];
        for filter in &self.filters {
            match ids[filter.place] {
                MISSING if filter.unset => {}
                MISSING => return None,
                LOST => key[FLAG] = 1,
                id if filter.ids.contains(&id) => {}
                _ => return None,
            }
        }
        for (place, n) in self.grouped.iter().zip(0..) {
            let n: usize = n;
            key[n] = ids[*place];
        }
        Some(key)
    }

    /// Goes through all entries that pass: bucket, key, sums.
    fn each(&self, sources: &Sources, mut entry: impl FnMut(usize, Key, Measures)) -> Result<(), ReadError> {
        for (bucket, packed) in &sources.hours {
            let read = Part::read(packed, self.width(), |ids, measures| {
                if let Some(key) = self.key_of(ids) {
                    entry(*bucket, key, measures);
                }
            });
            read.map_err(StoreError::broken)?;
        }
        for (bucket, ids, measures) in &sources.raw {
            if let Some(key) = self.key_of(ids) {
                entry(*bucket, key, *measures);
            }
        }
        Ok(())
    }

    /// Sums over the whole range, with the places that keys have among them.
    pub async fn totals(
        &self,
        conn: &mut PgConnection,
        sources: &Sources,
    ) -> Result<(Vec<KeyTotals>, Places), ReadError> {
        let mut sums: HashMap<Key, Measures, RandomState> = HashMap::default();
        self.each(sources, |_, key, measures| *sums.entry(key).or_default() += measures)?;
        if sums.len() > MAX_ROWS {
            return Err(ReadError::TooLarge);
        }
        let mut names: Vec<HashMap<u32, Arc<str>>> = Vec::new();
        for (n, place) in self.grouped.iter().enumerate() {
            let ids: BTreeSet<u32> = sums.keys().map(|key| key[n]).collect();
            names.push(self.names(&mut *conn, *place, ids).await?);
        }
        let value = |(names, id): (&HashMap<u32, Arc<str>>, &u32)| match *id {
            MISSING => Value::Missing,
            id => names.get(&id).map_or(Value::Lost, |name| Value::Named(name.clone())),
        };
        // Several ids without a name are one lost value.
        let (mut places, mut totals) = (HashMap::default(), Vec::<KeyTotals>::new());
        let mut by_name: BTreeMap<(Vec<Value>, bool), usize> = BTreeMap::new();
        for (key, measures) in sums {
            let named: Vec<Value> = names.iter().zip(&key).map(value).collect();
            let may_pass = key[FLAG] != 0;
            let place = *by_name.entry((named.clone(), may_pass)).or_insert_with(|| {
                totals.push(KeyTotals { key: named, may_pass, measures: Measures::default() });
                totals.len() - 1
            });
            totals[place].measures += measures;
            places.insert(key, place);
        }
        Ok((totals, places))
    }

    async fn names(
        &self,
        conn: &mut PgConnection,
        place: usize,
        ids: BTreeSet<u32>,
    ) -> Result<HashMap<u32, Arc<str>>, ReadError> {
        let rows: Vec<(i32, String)> = sqlx::query_as(
            "SELECT value_id, value FROM analytics.attribution_values
             WHERE org_id = $1 AND dimension = $2 AND value_id = ANY ($3)",
        )
        .bind(self.query.org_id)
        .bind(self.set.set.dimensions()[place].name().into_owned())
        .bind(ids.iter().filter_map(|id| i32::try_from(*id).ok()).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
        let mut names: HashMap<u32, Arc<str>> =
            rows.into_iter().map(|(id, value)| (id.unsigned_abs(), value.into())).collect();
        let local = self.local.iter().filter(|((of, id), _)| *of == place && ids.contains(id));
        names.extend(local.map(|((_, id), name)| (*id, name.clone())));
        Ok(names)
    }

    pub fn series(
        &self,
        sources: &Sources,
        places: &Places,
        picked: &[usize],
    ) -> Result<Vec<Vec<(usize, Measures)>>, ReadError> {
        let turn: HashMap<usize, usize> = picked.iter().enumerate().map(|(turn, place)| (*place, turn)).collect();
        let mut series: Vec<BTreeMap<usize, Measures>> = vec![BTreeMap::new(); picked.len()];
        self.each(sources, |bucket, key, measures| {
            if let Some(turn) = places.get(&key).and_then(|place| turn.get(place)) {
                *series[*turn].entry(bucket).or_default() += measures;
            }
        })?;
        Ok(series.into_iter().map(|points| points.into_iter().collect()).collect())
    }
}

#[derive(FromRow)]
struct SplitRow {
    part_start: DateTime<Utc>,
    values: Vec<Option<String>>,
    #[sqlx(flatten)]
    sums: SumsRow,
}
