//! Sets: the lists of dimensions whose sums are kept.
//!
//! As text a set is the names of its dimensions, separated by commas, and several sets are separated by semicolons. The name of a field
//! of the metadata may have any character: a backslash stands before one that would end it.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};

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
        f.write_str(&list(self.0.iter().map(Dimension::name)))
    }
}

/// Names as a set has them.
pub fn list(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| escaped(name.as_ref())).collect();
    names.join(",")
}

/// The parts of a text between separators, as they are written. One behind a backslash separates nothing.
pub fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut is_escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        if c == separator && !is_escaped {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    parts.push(&text[start..]);
    parts
}

fn escaped(name: &str) -> String {
    let last = name.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(name.len());
    for (n, c) in name.chars().enumerate() {
        // Blanks at the ends are no part of a name, unless they are marked.
        if matches!(c, ',' | ';' | '\\') || c.is_whitespace() && (n == 0 || n == last) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// None where a backslash has nothing behind it.
fn unescaped(text: &str) -> Option<String> {
    let (mut chars, mut rest) = (Vec::new(), text.chars());
    while let Some(c) = rest.next() {
        chars.push(if c == '\\' { (rest.next()?, true) } else { (c, false) });
    }
    let is_text = |(c, is_escaped): &(char, bool)| *is_escaped || !c.is_whitespace();
    let end = chars.iter().rposition(is_text).map_or(0, |last| last + 1);
    let start = chars.iter().position(is_text).unwrap_or(end);
    Some(chars[start..end].iter().map(|(c, _)| c).collect())
}

impl FromStr for Set {
    type Err = UnknownSet;

    fn from_str(text: &str) -> Result<Self, UnknownSet> {
        let dimension = |name: &str| unescaped(name).and_then(|name| name.parse().ok()).ok_or(UnknownSet);
        Self::new(split(text, ',').into_iter().map(dimension).collect::<Result<_, _>>()?)
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

/// The set that serves a request that begins then: of those that have all from then on the smallest that fits, else the smallest of all.
pub fn serving<'s, T>(
    sets: &'s [T],
    set_of: impl Fn(&T) -> &Set,
    complete_from: impl Fn(&T) -> Option<DateTime<Utc>>,
    start: DateTime<Utc>,
    wanted: &[&Dimension],
) -> Option<&'s T> {
    let reaches = |one: &&T| complete_from(one).is_none_or(|from| from <= start);
    smallest(sets.iter().filter(reaches), &set_of, wanted).or_else(|| smallest(sets, &set_of, wanted))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn a_field_may_have_any_name() {
        let set: Set = r"clientId, meta.a\,b\;c\\,meta.\ , meta. x".parse().unwrap();
        let names: Vec<_> = set.dimensions().iter().map(Dimension::name).collect();
        assert_eq!(names, ["clientId", r"meta.a,b;c\", "meta. ", "meta. x"]);
        assert_eq!(set.to_string(), r"clientId,meta.a\,b\;c\\,meta.\ ,meta. x");
        for text in [r"clientId\", r"clientId,modelId\", r"clientId\,modelId"] {
            assert_eq!(text.parse::<Set>(), Err(UnknownSet), "{text}");
        }
        assert_eq!(split(r"a\;b;c\\;", ';'), [r"a\;b", r"c\\", ""]);
    }

    proptest! {
        #[test]
        fn a_set_is_read_as_it_is_written(fields in prop::collection::btree_set("[a,;\\\\ \t🦀]{1,6}", 1..6)) {
            let dimensions: Vec<Dimension> = fields.iter().map(|field| Dimension::Meta(field.as_str().into())).collect();
            let set = Set::new(dimensions).unwrap();
            let text = set.to_string();
            prop_assert_eq!(text.parse::<Set>(), Ok(set.clone()));
            let twice = format!("{text};{text}");
            prop_assert_eq!(split(&twice, ';'), [text.as_str(), &text]);
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
