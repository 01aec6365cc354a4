//! Attribution: what each client, model, person or team has used, exactly.
//!
//! A *dimension* is a field of events that can be grouped by. A *set* is a list of dimensions whose sums are kept. Each set
//! partitions the events, since a missing field is a value too: so the sums of any set are those of the rollups.
//!
//! A request reads the totals of all keys first. What ranks them picks the keys whose series are read, of the same snapshot.

mod dimension;
mod fold;
mod measures;
mod part;
mod partials;
mod plan;
mod query;
mod report;
mod retention;
mod set;
mod values;

pub use dimension::{Dimension, MAX_NAME_CHARS, UnknownDimension, Value, kept};
pub use fold::{Dictionary, Folding, KnownKeys, Named, Naming};
pub use measures::Measures;
pub use part::{LOST, MISSING, Part};
pub use partials::{PartialEntry, Partials, carried};
pub use plan::{Piece, Unit, pieces, split_parts};
pub use query::{Attribution, AttributionQuery, Filter, KeyKind, KeyTotals, NoSet, SetStatus};
pub use report::{AttributionReport, Group, OrderBy, Place, Ranked, Ranking};
pub use retention::SetRetention;
pub use set::{MAX_DIMENSIONS, Set, UnknownSet, list, serving, split};
pub use values::ValuesQuery;
