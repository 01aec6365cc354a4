//! What people call ids, for the columns of names.

use std::collections::HashMap;

use crate::domain::attribution::Dimension;

/// By dimension and id.
#[derive(Clone, Debug, Default)]
pub struct Names(HashMap<Dimension, HashMap<String, String>>);

impl Names {
    pub fn add(&mut self, dimension: Dimension, id: String, name: String) {
        self.0.entry(dimension).or_default().insert(id, name);
    }

    pub fn get(&self, dimension: &Dimension, id: &str) -> Option<&str> {
        self.0.get(dimension)?.get(id).map(String::as_str)
    }
}
