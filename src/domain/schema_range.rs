//! Which versions of the schema a build works with.
//!
//! A build is named by the newest migration that it knows. It states the oldest schema that it works with. What is newer than itself it
//! cannot know: each migration states the oldest build that works with it, and the database keeps that.

/// What a build states of itself.
#[derive(Clone, Debug)]
pub struct Build {
    /// The migrations that it knows, in their order.
    pub migrations: Vec<i64>,
    /// The oldest schema that it works with: without the migrations after that one.
    pub oldest_schema: i64,
}

/// A migration that the database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    pub migration: i64,
    /// The oldest build that works with it, where that is recorded.
    pub oldest_build: Option<i64>,
}

/// Why a build does not work with a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("the database has no schema: run `migrate`")]
    NoSchema,
    #[error(
        "the schema's version is {found}, without migration {missing}, and this build works with {oldest} to {newest}: run `migrate`"
    )]
    TooOld { found: i64, missing: i64, oldest: i64, newest: i64 },
    #[error(
        "the schema's version is {found}, and its migration {migration} works with builds from {oldest_build} on; this one is {newest}: \
         start a newer build, or take the schema back with the newer build's `migrate --down-to {newest}` while no process works"
    )]
    TooNew { found: i64, migration: i64, oldest_build: i64, newest: i64 },
    #[error(
        "the schema's version is {found}, and its migration {migration}, which this build ({newest}) does not know, does not say which \
         builds work with it: start a newer build, or take the schema back with the newer build's `migrate --down-to {newest}` while no process works"
    )]
    Unknown { found: i64, migration: i64, newest: i64 },
}

impl Build {
    /// Its name. 0 for one without migrations.
    pub fn newest(&self) -> i64 {
        self.migrations.last().copied().unwrap_or_default()
    }

    pub fn knows(&self, migration: i64) -> bool {
        self.migrations.binary_search(&migration).is_ok()
    }

    /// Whether what is newer than this build in the database works with it.
    pub fn check_newer(&self, applied: &[Applied]) -> Result<(), Misfit> {
        let (newest, found) = (self.newest(), version(applied));
        let Some(unfit) = applied
            .iter()
            .find(|of| !self.knows(of.migration) && of.oldest_build.is_none_or(|oldest_build| oldest_build > newest))
        else {
            return Ok(());
        };
        let migration = unfit.migration;
        Err(match unfit.oldest_build {
            Some(oldest_build) => Misfit::TooNew { found, migration, oldest_build, newest },
            None => Misfit::Unknown { found, migration, newest },
        })
    }

    /// Whether it works with a schema of these migrations. Gives the schema's version.
    pub fn check(&self, applied: &[Applied]) -> Result<i64, Misfit> {
        if applied.is_empty() {
            return Err(Misfit::NoSchema);
        }
        self.check_newer(applied)?;
        let found = version(applied);
        let has = |migration: i64| applied.iter().any(|of| of.migration == migration);
        match self.migrations.iter().find(|needed| **needed <= self.oldest_schema && !has(**needed)) {
            None => Ok(found),
            Some(&missing) => {
                let (oldest, newest) = (self.oldest_schema, self.newest());
                Err(Misfit::TooOld { found, missing, oldest, newest })
            }
        }
    }
}

/// The schema's version: its newest migration.
pub fn version(applied: &[Applied]) -> i64 {
    applied.iter().map(|of| of.migration).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build() -> Build {
        Build { migrations: vec![1, 2, 3, 4], oldest_schema: 3 }
    }

    /// A schema of these, each with the oldest build that it says.
    fn schema(of: &[(i64, Option<i64>)]) -> Vec<Applied> {
        of.iter().map(|&(migration, oldest_build)| Applied { migration, oldest_build }).collect()
    }

    #[test]
    fn a_build_works_from_its_oldest_schema_on() {
        let known = |to: i64| schema(&(1..=to).map(|migration| (migration, None)).collect::<Vec<_>>());
        assert_eq!(build().check(&known(4)), Ok(4));
        assert_eq!(build().check(&known(3)), Ok(3));
        assert_eq!(build().check(&known(2)), Err(Misfit::TooOld { found: 2, missing: 3, oldest: 3, newest: 4 }));
        assert_eq!(build().check(&[]), Err(Misfit::NoSchema));
        assert_eq!(build().check_newer(&[]), Ok(()));
    }

    #[test]
    fn a_gap_is_found_below_a_newer_version() {
        let gap = schema(&[(1, None), (3, None), (4, None)]);
        assert_eq!(build().check(&gap), Err(Misfit::TooOld { found: 4, missing: 2, oldest: 3, newest: 4 }));
        let not_needed = schema(&[(1, None), (2, None), (3, None), (5, Some(4))]);
        assert_eq!(build().check(&not_needed), Ok(5), "4 came later than 5");
    }

    #[test]
    fn a_newer_schema_decides_which_builds_work() {
        let newer =
            |of: &[(i64, Option<i64>)]| schema(&[&[(1, None), (2, None), (3, None), (4, Some(3))], of].concat());
        assert_eq!(build().check(&newer(&[(5, Some(4))])), Ok(5));
        assert_eq!(build().check(&newer(&[(5, Some(2)), (6, Some(4))])), Ok(6));
        let refused = Misfit::TooNew { found: 6, migration: 6, oldest_build: 5, newest: 4 };
        assert_eq!(build().check(&newer(&[(5, Some(4)), (6, Some(5))])), Err(refused.clone()));
        assert_eq!(build().check_newer(&newer(&[(5, Some(4)), (6, Some(5))])), Err(refused));
        let silent = Misfit::Unknown { found: 6, migration: 5, newest: 4 };
        assert_eq!(build().check(&newer(&[(5, None), (6, Some(4))])), Err(silent));
    }
}
