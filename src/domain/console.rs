//! The console: the two ports that serve it, each to people of its own.

use super::named::named;

named! {
    /// Whose console it is: that of organisations on the API's port, that of operators on the operations port.
    pub enum ConsolePort {
        Api = "api",
        Operations = "operations",
    } else UnknownPort
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be api or operations")]
pub struct UnknownPort;
