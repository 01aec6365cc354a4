//! Frames of the stream protocol: how requests are written, and what responses and notices mean.
//!
//! Source: `deps/rabbitmq_stream/docs/PROTOCOL.adoc` and `rabbit_stream_core.erl` in github.com/rabbitmq/rabbitmq-server. All
//! integers are big-endian. A frame is its length, a key, a version, and in requests and responses a correlation id. Reading is
//! total: a frame that is shorter than it says is an error, and nothing is allocated by a length that it states.

pub mod requests;
pub mod responses;
#[cfg(test)]
mod tests;

/// The bit of a key that makes it a response.
const RESPONSE: u16 = 0x8000;
const VERSION: u16 = 1;
/// Bytes before a frame's content: length, key, version.
pub const HEAD: usize = 8;

pub mod key {
    pub const SUBSCRIBE: u16 = 0x07;
    pub const DELIVER: u16 = 0x08;
    pub const CREDIT: u16 = 0x09;
    pub const UNSUBSCRIBE: u16 = 0x0c;
    pub const METADATA: u16 = 0x0f;
    pub const METADATA_UPDATE: u16 = 0x10;
    pub const PEER_PROPERTIES: u16 = 0x11;
    pub const SASL_HANDSHAKE: u16 = 0x12;
    pub const SASL_AUTHENTICATE: u16 = 0x13;
    pub const TUNE: u16 = 0x14;
    pub const OPEN: u16 = 0x15;
    pub const CLOSE: u16 = 0x16;
    pub const HEARTBEAT: u16 = 0x17;
    pub const EXCHANGE_VERSIONS: u16 = 0x1b;
    pub const STREAM_STATS: u16 = 0x1c;
}

/// A frame that is not what the protocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of key {key:#06x} is shorter than what it holds, or holds no text where one is due")]
pub struct FrameError {
    pub key: u16,
}

/// Response codes.
pub mod code {
    pub const OK: u16 = 0x01;
    pub const NO_STREAM: u16 = 0x02;
    pub const NOT_AVAILABLE: u16 = 0x06;
    pub const MECHANISM: u16 = 0x07;
    pub const AUTHENTICATION: u16 = 0x08;
    pub const SASL: u16 = 0x09;
    pub const CHALLENGE: u16 = 0x0a;
    pub const LOOPBACK: u16 = 0x0b;
    pub const VIRTUAL_HOST: u16 = 0x0c;
    pub const UNKNOWN_FRAME: u16 = 0x0d;
    pub const FRAME_TOO_LARGE: u16 = 0x0e;
    pub const ACCESS_REFUSED: u16 = 0x10;

    /// In the words of the protocol's description.
    pub fn words(code: u16) -> &'static str {
        match code {
            OK => "ok",
            NO_STREAM => "stream does not exist",
            0x03 => "subscription id already exists",
            0x04 => "subscription id does not exist",
            NOT_AVAILABLE => "stream not available",
            MECHANISM => "SASL mechanism not supported",
            AUTHENTICATION => "authentication failure",
            SASL => "SASL error",
            CHALLENGE => "SASL challenge",
            LOOPBACK => "authentication failure: this user may only connect by the loopback interface",
            VIRTUAL_HOST => "virtual host access failure",
            UNKNOWN_FRAME => "unknown frame",
            FRAME_TOO_LARGE => "frame too large",
            0x0f => "internal error",
            ACCESS_REFUSED => "access refused",
            0x11 => "precondition failed",
            _ => "a code that is not known",
        }
    }
}
