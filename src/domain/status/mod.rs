//! The whole installation at one moment, for people, and what of it is not well.

pub mod finding;
pub mod installation;
pub mod judge;
