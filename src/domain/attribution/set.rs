//! Sets: the lists of dimensions whose sums are kept.

use std::{fmt, str::FromStr};

use super::Dimension;

/// Dimensions of one set at most.
pub const MAX_DIMENSIONS: usize = 6;

/// Dimensions whose combinations of values are summed, each of them once, in the order in which they were declared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set(Vec<Dimension>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a list of 1 to {MAX_DIMENSIONS} different dimensions, separated by commas")]
pub struct UnknownSet;

impl Set {
    pub fn new(dimensions: Vec<Dimension>) -> Result<Self, UnknownSet> {
        let once = |(n, dimension): (usize, &Dimension)| !dimensions[..n].contains(dimension);
        let fits = (1..=MAX_DIMENSIONS).contains(&dimensions.len()) && dimensions.iter().enumerate().all(once);
        if fits { Ok(Self(dimensions)) } else { Err(UnknownSet) }
    }

    pub fn dimensions(&self) -> &[Dimension] {
        &self.0
    }

    /// Where a dimension stands in it.
    pub fn position(&self, dimension: &Dimension) -> Option<usize> {
        self.0.iter().position(|own| own == dimension)
    }

    pub fn has_all<'d>(&self, wanted: impl IntoIterator<Item = &'d Dimension>) -> bool {
        wanted.into_iter().all(|dimension| self.0.contains(dimension))
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(Dimension::name).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Set {
    type Err = UnknownSet;

    fn from_str(text: &str) -> Result<Self, UnknownSet> {
        let dimensions = text.split(',').map(|name| name.trim().parse().map_err(|_| UnknownSet));
        Self::new(dimensions.collect::<Result<_, _>>()?)
    }
}

/// The set with the fewest dimensions that has all of those, the first of several.
pub fn smallest<'s, T>(
    sets: impl IntoIterator<Item = &'s T>,
    set_of: impl Fn(&T) -> &Set,
    wanted: &[&Dimension],
) -> Option<&'s T> {
    let fitting = sets.into_iter().filter(|one| set_of(one).has_all(wanted.iter().copied()));
    fitting.min_by_key(|one| set_of(one).dimensions().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_names_each_dimension_once() {
        let set: Set = "clientId, modelId,meta.a.b".parse().unwrap();
        assert_eq!(set.to_string(), "clientId,modelId,meta.a.b");
        assert_eq!(set.position(&Dimension::Model), Some(1));
        for text in ["", ",", "clientId,clientId", "clientId,what", "a,b,c,d,e,f,g"] {
            assert_eq!(text.parse::<Set>(), Err(UnknownSet), "{text}");
        }
    }

    #[test]
    fn the_smallest_set_that_has_all_serves() {
        let sets: Vec<Set> = ["status,clientId,modelId", "clientId,modelId", "modelId,clientId"]
            .map(|text| text.parse().unwrap())
            .into();
        let found = |wanted: &[&Dimension]| smallest(&sets, |set| set, wanted).map(Set::to_string);
        assert_eq!(found(&[&Dimension::Client]).as_deref(), Some("clientId,modelId"));
        assert_eq!(found(&[&Dimension::Client, &Dimension::Status]).as_deref(), Some("status,clientId,modelId"));
        assert_eq!(found(&[&Dimension::Actor]), None);
        assert_eq!(found(&[]).as_deref(), Some("clientId,modelId"));
    }
}
