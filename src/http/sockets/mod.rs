//! Sockets: what a client may hold of this process before anything is known of it.
//!
//! Each port has a table of its open connections ([`Connections`]). A connection says at which stage it is
//! ([`Stage`]); a sweep closes those that are at a stage for too long, and a new one that finds no room has the
//! connection closed that is needed least. A connection whose request is being handled is never closed.

mod connection;
mod deadlines;
mod guarded;
mod request_body;
mod response_body;
mod self_check;
mod table;

pub use connection::Connection;
pub use deadlines::{Deadlines, KEEP_ALIVE};
pub use guarded::Guarded;
pub use request_body::RequestBody;
pub use response_body::watched;
pub use self_check::{IS_SELF_CHECK, check_self};
pub use table::{ConnectionLimits, Connections, SWEEP_EVERY};
