//! RabbitMQ's stream protocol: a consumer of streams by their own protocol.
//!
//! [`chunk`] is the unit that the broker delivers, and iterates over its records; [`message`] says which bytes of a record are
//! the event. Both are pure. [`frames`] are what is sent and received, [`connection`] is a connection that is open, [`members`]
//! says to which node. [`subscription`] reads a stream, [`glance`] looks at one.

mod address;
pub mod chunk;
mod connection;
mod frames;
mod framing;
pub mod glance;
mod handshake;
mod link;
mod members;
pub mod message;
pub mod read_ahead;
mod refusal;
mod source;
pub mod subscription;
#[cfg(test)]
mod tests;
mod transport;
mod value;
mod window;
