//! Who calls, and what they may: bearer tokens in, a [`Caller`] out.
//!
//! A credential is checked here and nowhere else. What is wrong with one is a constant text for the log; the caller
//! learns only that it was not accepted, and the token itself is in neither.

mod caller;
mod token;

pub use caller::{Caller, Permission, Role, UnknownRole};
pub use token::{IssueError, Refusal, Verifier, issue};
