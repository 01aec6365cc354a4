//! The two sizes of rollups.

/// Rollups of hours or of days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Hourly,
    Daily,
}

impl Unit {
    pub const ALL: [Self; 2] = [Self::Hourly, Self::Daily];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
        }
    }
}
