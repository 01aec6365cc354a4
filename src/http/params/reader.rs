//! Reads parameters: each by its rule, and every problem goes into one response.

use std::{collections::BTreeSet, fmt::Display};

use actix_web::{HttpRequest, web};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Choice;
use crate::domain::moment::{Moment, MomentError};
use crate::http::error::{FieldError, Problem};

/// Most models that one request may name.
pub const MAX_MODELS: usize = 100;
/// Problems that one response lists; a query string can hold thousands.
const MAX_PROBLEMS: usize = 50;

pub const UUID_FORM: &str = "must be a UUID such as 123e4567-e89b-12d3-a456-426614174000";

/// A UUID in its hyphenated form, the one that the contract knows.
pub fn uuid(text: &str) -> Option<Uuid> {
    (text.len() == uuid::fmt::Hyphenated::LENGTH).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// The parameters of a request that are still to be read, and what was wrong with those that were.
pub struct Params {
    request: HttpRequest,
    /// The names that the path's description has. One that ends with a part in braces stands for all that begin so.
    known: Vec<String>,
    pairs: Vec<(String, String)>,
    problems: Vec<FieldError>,
}

impl Params {
    /// Takes a query string apart. A parameter that is not `known` is a problem.
    pub fn new(request: &HttpRequest, known: Vec<String>) -> Self {
        let mut params = Self { request: request.clone(), known, pairs: Vec::new(), problems: Vec::new() };
        match web::Query::<Vec<(String, String)>>::from_query(request.query_string()) {
            Ok(pairs) => params.pairs = pairs.into_inner(),
            Err(_) => params.problem("query", "cannot be read"),
        }
        let names = params.pairs.iter().map(|(name, _)| name);
        let unknown: Vec<String> = names.filter(|name| !params.is_known(name)).cloned().collect();
        let rule = match &params.known[..] {
            [] => "is not a parameter of this path, which has none".to_owned(),
            known => format!("is not a parameter of this path, which are: {}", known.join(", ")),
        };
        for name in unknown {
            params.problem(&name, rule.as_str());
        }
        params
    }

    fn is_known(&self, name: &str) -> bool {
        self.known.iter().any(|known| match known.split_once('{') {
            Some((beginning, _)) => name.len() > beginning.len() && name.starts_with(beginning),
            None => known == name,
        })
    }

    /// Notes a problem, once.
    pub fn problem(&mut self, field: &str, message: impl Into<String>) {
        // A name comes back only where it is plain text; anything may stand there.
        let field = if is_plain(field) { field } else { "query" };
        let problem = FieldError { field: field.to_owned(), message: message.into() };
        if self.problems.len() < MAX_PROBLEMS && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// A parameter that may be there once.
    pub fn single(&mut self, name: &str) -> Option<String> {
        let mut values = self.values(name);
        let (first, more) = (values.next().map(str::to_owned), values.next().is_some());
        drop(values);
        if more {
            self.problem(name, "must be given once");
            return None;
        }
        first
    }

    pub fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        debug_assert!(self.is_known(name), "{name} is read and not documented");
        self.pairs.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that may be there any number of times.
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.values(name).map(str::to_owned).collect()
    }

    /// The names of parameters that begin so and go on, each once.
    pub fn names_that_begin(&self, beginning: &str) -> BTreeSet<String> {
        let begins =
            |name: &&String| name.len() > beginning.len() && name.starts_with(beginning) && self.is_known(name);
        self.pairs.iter().map(|(name, _)| name).filter(begins).cloned().collect()
    }

    /// A value of a parameter that may be repeated is wrong. With a comma it may have been meant as several.
    pub fn wrong_value(&mut self, name: &str, value: &str, rule: impl Display) {
        let repeated = "; several values are several parameters, such as groupBy=clientId&groupBy=modelId";
        self.problem(name, format!("{rule}{}", if value.contains(',') { repeated } else { "" }));
    }

    /// What the request is, apart from these parameters: another one has another.
    pub fn fingerprint(&self, apart_from: &[&str]) -> String {
        let mut pairs: Vec<_> = self.pairs.iter().filter(|(name, _)| !apart_from.contains(&name.as_str())).collect();
        pairs.sort();
        let text = serde_json::to_vec(&(self.request.path(), pairs)).unwrap_or_default();
        Sha256::digest(text).iter().take(12).map(|byte| format!("{byte:02x}")).collect()
    }

    /// A moment that must be there; a date is the first moment of that day in the zone.
    pub fn moment(&mut self, name: &str, zone: Tz) -> Option<DateTime<Utc>> {
        if !self.has(name) {
            self.problem(name, format!("is required and {}", MomentError::Form));
        }
        self.moment_if_given(name, zone)
    }

    pub fn moment_if_given(&mut self, name: &str, zone: Tz) -> Option<DateTime<Utc>> {
        let moment = Moment::parse(&self.single(name)?);
        let moment = moment.and_then(|moment| moment.in_zone(zone).ok_or(MomentError::Form));
        moment.map_err(|error| self.problem(name, error.to_string())).ok()
    }

    /// `start` and `end`, each of which may be there; a date is a day of UTC.
    pub fn span_if_given(&mut self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let (start, end) = (self.moment_if_given("start", Tz::UTC), self.moment_if_given("end", Tz::UTC));
        if start.zip(end).is_some_and(|(start, end)| end <= start) {
            self.problem("end", "must be after start");
        }
        (start, end)
    }

    /// A text of at most `max` bytes that may be there.
    pub fn text(&mut self, name: &str, max: usize) -> Option<String> {
        let text = self.single(name)?;
        if (1..=max).contains(&text.len()) {
            return Some(text);
        }
        self.problem(name, format!("must have 1 to {max} bytes"));
        None
    }

    /// A UUID that may be there.
    pub fn id(&mut self, name: &str) -> Option<Uuid> {
        let id = uuid(&self.single(name)?);
        if id.is_none() {
            self.problem(name, UUID_FORM);
        }
        id
    }

    /// An id of the path, which is named as the parameters are.
    pub fn path_id(&mut self, name: &str) -> Option<Uuid> {
        let id = self.request.match_info().get(name).and_then(uuid);
        if id.is_none() {
            self.problem(name, UUID_FORM);
        }
        id
    }

    /// One of a few words; the first where the parameter is not there, or is wrong.
    pub fn choice<T: Choice>(&mut self, name: &str) -> T {
        let (words, text) = (T::words(), self.single(name));
        let found = match &text {
            Some(text) => words.iter().find(|(word, _)| word == text),
            None => words.first(),
        };
        if let Some((_, value)) = found {
            return *value;
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.problem(name, format!("must be {}", names.join(" or ")));
        words[0].1
    }

    /// One of a few words that may be there.
    pub fn choice_if_given<T: Choice>(&mut self, name: &str) -> Option<T> {
        self.has(name).then(|| self.choice(name))
    }

    /// A number from 1 to `max`; `default` where the parameter is not there, or is wrong.
    pub fn number(&mut self, name: &str, max: u16, default: u16) -> u16 {
        let Some(text) = self.single(name) else { return default };
        match text.parse() {
            Ok(number) if (1..=max).contains(&number) => number,
            _ => {
                self.problem(name, format!("must be a number from 1 to {max}"));
                default
            }
        }
    }

    /// The models requested, each once: empty where none is named.
    pub fn models(&mut self) -> Vec<Uuid> {
        let texts: Vec<String> = self.values("modelId").map(str::to_owned).collect();
        if texts.len() > MAX_MODELS {
            self.problem("modelId", format!("must be given at most {MAX_MODELS} times"));
            return Vec::new();
        }
        let mut models: Vec<Uuid> = texts.iter().filter_map(|text| uuid(text)).collect();
        if let Some(wrong) = texts.iter().find(|text| uuid(text).is_none()) {
            self.wrong_value("modelId", wrong, UUID_FORM);
        }
        models.sort_unstable();
        models.dedup();
        models
    }

    /// `value` where nothing was wrong, else all that was.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(Problem::InvalidParameters(self.problems)),
        }
    }
}

fn is_plain(name: &str) -> bool {
    (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}
