//! Who may and who did: API keys, sessions of the console, and the audit log.
//!
//! Not here: what is done. Whatever changes data records it here, in its own transaction.

pub mod api_keys;
pub mod audit;
pub mod console;
