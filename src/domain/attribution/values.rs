//! The values of a dimension that an org has.

use uuid::Uuid;

use super::Dimension;

/// Values in the order of their bytes.
#[derive(Clone, Debug)]
pub struct ValuesQuery {
    pub org_id: Uuid,
    pub dimension: Dimension,
    /// What they begin with.
    pub prefix: String,
    pub limit: u16,
}
