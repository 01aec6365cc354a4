//! Reading what people call their ids.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{ReadError, Reader};
use crate::domain::names::{Name, NamePage, NamePlace, Named, NamesOf, NamesQuery};

impl Reader {
    /// A page of an org's names.
    pub async fn names(&self, query: &NamesQuery) -> Result<NamePage, ReadError> {
        let (after_dimension, after_id) = query.after.clone().unzip();
        let rows = sqlx::query_as::<_, Row>(
            "SELECT dimension, id, name, updated_at, updated_by
             FROM analytics.names
             WHERE org_id = $1 AND ($2::text IS NULL OR dimension = $2)
               AND ($3::text IS NULL OR (dimension, id) > ($3, $4))
             ORDER BY dimension, id
             LIMIT $5",
        )
        .bind(query.org_id)
        .bind(&query.dimension)
        .bind(after_dimension)
        .bind(after_id)
        // One more shows that there are more.
        .bind(i64::from(query.limit) + 1);
        let rows = self.in_time(async |conn| rows.fetch_all(conn).await).await?;
        let more = rows.len() > usize::from(query.limit);
        let names = rows.into_iter().take(query.limit.into()).map(Name::from).collect();
        Ok(NamePage { names, more })
    }

    /// None: it has no name.
    pub async fn name(&self, of: &Named) -> Result<Option<Name>, ReadError> {
        let rows = sqlx::query_as::<_, Row>(
            "SELECT dimension, id, name, updated_at, updated_by
             FROM analytics.names WHERE org_id = $1 AND dimension = $2 AND id = $3",
        )
        .bind(of.org_id)
        .bind(of.dimension.to_string())
        .bind(&of.id);
        Ok(self.in_time(async |conn| rows.fetch_all(conn).await).await?.pop().map(Name::from))
    }

    /// Those of the things that have a name, by dimension and id.
    pub async fn names_of(&self, of: &NamesOf) -> Result<BTreeMap<NamePlace, String>, ReadError> {
        if of.wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (dimensions, ids): (Vec<&str>, Vec<&str>) =
            of.wanted.iter().map(|(dimension, id)| (dimension.as_str(), id.as_str())).unzip();
        let rows = sqlx::query_as::<_, (String, String, String)>(
            "SELECT n.dimension, n.id, n.name
             FROM unnest($2::text[], $3::text[]) AS wanted (dimension, id)
                  JOIN analytics.names n ON n.org_id = $1 AND n.dimension = wanted.dimension AND n.id = wanted.id",
        )
        .bind(of.org_id)
        .bind(dimensions)
        .bind(ids);
        let rows = self.in_time(async |conn| rows.fetch_all(conn).await).await?;
        Ok(rows.into_iter().map(|(dimension, id, name)| ((dimension, id), name)).collect())
    }
}

#[derive(FromRow)]
struct Row {
    dimension: String,
    id: String,
    name: String,
    updated_at: DateTime<Utc>,
    updated_by: String,
}

impl From<Row> for Name {
    fn from(Row { dimension, id, name, updated_at, updated_by }: Row) -> Self {
        Self { dimension, id, name, updated_at, updated_by }
    }
}
