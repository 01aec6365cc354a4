//! Writing frames.

use super::{RESPONSE, VERSION, code, key};
use crate::broker::incoming::StartAt;

/// A frame that is being written.
struct Frame(Vec<u8>);

impl Frame {
    fn new(key: u16) -> Self {
        let mut frame = Self(Vec::with_capacity(64));
        frame.0.extend([0; 4]);
        frame.u16(key).u16(VERSION);
        frame
    }

    fn request(key: u16, correlation: u32) -> Self {
        let mut frame = Self::new(key);
        frame.u32(correlation);
        frame
    }

    fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i64(&mut self, value: i64) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// What is longer than its length can say is cut: settings bound what is written long before.
    fn text(&mut self, text: &str) -> &mut Self {
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        self.0.extend(length.to_be_bytes());
        self.0.extend(&text.as_bytes()[..usize::from(length.unsigned_abs())]);
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend(bytes);
        self
    }

    fn properties(&mut self, properties: &[(&str, &str)]) -> &mut Self {
        self.u32(u32::try_from(properties.len()).unwrap_or(u32::MAX));
        for (name, value) in properties {
            self.text(name).text(value);
        }
        self
    }

    fn end(&mut self) -> Vec<u8> {
        let mut frame = std::mem::take(&mut self.0);
        let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame
    }
}

pub fn peer_properties(correlation: u32, properties: &[(&str, &str)]) -> Vec<u8> {
    Frame::request(key::PEER_PROPERTIES, correlation).properties(properties).end()
}

pub fn sasl_handshake(correlation: u32) -> Vec<u8> {
    Frame::request(key::SASL_HANDSHAKE, correlation).end()
}

/// `response` is a secret, and so is the frame.
pub fn sasl_authenticate(correlation: u32, mechanism: &str, response: &[u8]) -> Vec<u8> {
    Frame::request(key::SASL_AUTHENTICATE, correlation).text(mechanism).bytes(response).end()
}

/// The response to the broker's own `Tune`, which has no correlation id.
pub fn tune(frame_max: u32, heartbeat_seconds: u32) -> Vec<u8> {
    Frame::new(key::TUNE | RESPONSE).u32(frame_max).u32(heartbeat_seconds).end()
}

pub fn open(correlation: u32, virtual_host: &str) -> Vec<u8> {
    Frame::request(key::OPEN, correlation).text(virtual_host).end()
}

/// Says which versions of `Deliver` are understood: 1, and 2 with the committed chunk.
pub fn exchange_versions(correlation: u32) -> Vec<u8> {
    Frame::request(key::EXCHANGE_VERSIONS, correlation).u32(1).u16(key::DELIVER).u16(1).u16(2).end()
}

pub fn metadata(correlation: u32, stream: &str) -> Vec<u8> {
    Frame::request(key::METADATA, correlation).u32(1).text(stream).end()
}

pub fn stream_stats(correlation: u32, stream: &str) -> Vec<u8> {
    Frame::request(key::STREAM_STATS, correlation).text(stream).end()
}

pub fn subscribe(correlation: u32, subscription: u8, stream: &str, from: StartAt, credit: u16) -> Vec<u8> {
    let mut frame = Frame::request(key::SUBSCRIBE, correlation);
    frame.u8(subscription).text(stream);
    match from {
        StartAt::First => frame.u16(1),
        StartAt::Last => frame.u16(2),
        StartAt::Offset(offset) => frame.u16(4).i64(offset),
        StartAt::Time(at) => frame.u16(5).i64(at.timestamp_millis()),
    };
    frame.u16(credit).end()
}

pub fn credit(subscription: u8, credit: u16) -> Vec<u8> {
    Frame::new(key::CREDIT).u8(subscription).u16(credit).end()
}

pub fn unsubscribe(correlation: u32, subscription: u8) -> Vec<u8> {
    Frame::request(key::UNSUBSCRIBE, correlation).u8(subscription).end()
}

pub fn close(correlation: u32) -> Vec<u8> {
    Frame::request(key::CLOSE, correlation).u16(code::OK).text("done").end()
}

/// The response to the broker's own `Close`.
pub fn closed(correlation: u32) -> Vec<u8> {
    Frame::request(key::CLOSE | RESPONSE, correlation).u16(code::OK).end()
}

pub fn heartbeat() -> Vec<u8> {
    Frame::new(key::HEARTBEAT).end()
}
