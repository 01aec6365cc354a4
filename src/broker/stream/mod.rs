//! RabbitMQ's stream protocol: what a stream holds, read as the broker stores it.
//!
//! [`chunk`] is the unit that the broker delivers, and iterates over its records. [`message`] says which bytes of a record are
//! the event. Both are pure.

pub mod chunk;
pub mod message;
mod value;
