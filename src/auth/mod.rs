//! Who calls, and what they may: credentials in, a [`Caller`] out.
//!
//! A credential is checked here and nowhere else. What is wrong with one is a constant text for the log; the caller
//! learns only that it was not accepted, and the credential itself is in neither.

mod api_key;
mod caller;
pub mod console;
#[cfg(test)]
pub mod fixtures;
pub mod jwks;
pub mod key_ring;
pub mod oidc;
mod token;

pub use api_key::{FreshKey, NoRandomness, PresentedKey, SecretHash};
pub use caller::{Caller, Credential, Permission, Role, UnknownRole};
pub use token::{IssueError, Refusal, Verifier, issue};
