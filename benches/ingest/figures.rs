//! Figures of all rounds: the table of their medians, and the JSON.

use serde_json::{Value, json};

use crate::args::Part;

/// What a figure counts, and with how many decimals it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    Seconds,
    Millis,
    Micros,
    Mebibytes,
    Cores,
    Count,
    Ratio,
}

impl Unit {
    const fn shown(self) -> (&'static str, usize) {
        match self {
            Self::PerSecond => ("/s", 0),
            Self::Seconds => ("s", 3),
            Self::Millis => ("ms", 1),
            Self::Micros => ("µs", 1),
            Self::Mebibytes => ("MiB", 0),
            Self::Cores => ("cores", 2),
            Self::Count => ("", 0),
            Self::Ratio => ("", 2),
        }
    }
}

struct Figure {
    part: Part,
    what: String,
    unit: Unit,
    /// One of each round.
    values: Vec<f64>,
}

/// In the order in which the first round gave them.
#[derive(Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// This round's value.
    pub fn add(&mut self, part: Part, what: impl Into<String>, unit: Unit, value: f64) {
        let what = what.into();
        let (name, digits) = unit.shown();
        println!("    {part:<9} {what:<66} {value:>12.digits$} {name}");
        match self.0.iter_mut().find(|figure| figure.part == part && figure.what == what) {
            Some(figure) => figure.values.push(value),
            None => self.0.push(Figure { part, what, unit, values: vec![value] }),
        }
    }

    /// This round's ratio of two figures, where both were measured.
    pub fn add_ratio(&mut self, part: Part, what: &str, of: (Part, &str), to: (Part, &str)) {
        if let (Some(of), Some(to)) = (self.last(of), self.last(to)) {
            self.add(part, what, Unit::Ratio, of / to);
        }
    }

    fn last(&self, (part, what): (Part, &str)) -> Option<f64> {
        self.0.iter().find(|figure| figure.part == part && figure.what == what)?.values.last().copied()
    }

    pub fn print(&self) {
        println!("\n{:<9} {:<66} {:<5} {:>9} {:>9} {:>9}", "part", "what", "unit", "median", "min", "max");
        for Figure { part, what, unit, values } in &self.0 {
            let [median, least, most] = spread(values);
            let (name, digits) = unit.shown();
            println!("{part:<9} {what:<66} {name:<5} {median:>9.digits$} {least:>9.digits$} {most:>9.digits$}");
        }
    }

    pub fn json(&self) -> Value {
        let one = |Figure { part, what, unit, values }: &Figure| {
            let [median, least, most] = spread(values);
            json!({
                "part": part.to_string(), "what": what, "unit": unit.shown().0, "median": median, "min": least, "max": most,
                "values": values,
            })
        };
        self.0.iter().map(one).collect()
    }
}

/// Median, least and most.
fn spread(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
    [median, sorted[0], sorted[sorted.len() - 1]]
}
