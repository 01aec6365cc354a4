//! Reading frames, apart from chunks.

use std::collections::HashMap;

use bytes::{Buf, Bytes};

use super::{FrameError, RESPONSE, key};

/// Bytes that are kept of a broker's reason.
const MOST_REASON: usize = 500;

/// What comes, apart from chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// `body` begins with the response code, but for metadata, which has none.
    Response {
        key: u16,
        correlation: u32,
        body: Bytes,
    },
    Tune {
        frame_max: u32,
        heartbeat_seconds: u32,
    },
    /// The stream was deleted, or the member that it is read from has ended.
    MetadataUpdate {
        code: u16,
    },
    Close {
        correlation: u32,
        code: u16,
        reason: String,
    },
    CreditRefused {
        code: u16,
    },
    Heartbeat,
    /// One that is no response, of a key that was never agreed on.
    Other,
}

/// Reads a frame, from its key on.
///
/// # Errors
/// It is shorter than what it holds.
pub fn read(frame: Bytes) -> Result<Inbound, FrameError> {
    let mut fields = Fields { key: 0, rest: frame };
    fields.key = fields.u16()?;
    fields.u16()?;
    Ok(match fields.key {
        key::TUNE => Inbound::Tune { frame_max: fields.u32()?, heartbeat_seconds: fields.u32()? },
        key::METADATA_UPDATE => Inbound::MetadataUpdate { code: fields.u16()? },
        key::CLOSE => {
            let (correlation, code, mut reason) = (fields.u32()?, fields.u16()?, fields.text()?);
            reason.truncate(reason.floor_char_boundary(MOST_REASON));
            Inbound::Close { correlation, code, reason }
        }
        key::HEARTBEAT => Inbound::Heartbeat,
        key if key == key::CREDIT | RESPONSE => Inbound::CreditRefused { code: fields.u16()? },
        key if key & RESPONSE != 0 => {
            Inbound::Response { key: key & !RESPONSE, correlation: fields.u32()?, body: fields.rest }
        }
        _ => Inbound::Other,
    })
}

/// A broker's address, as it advertises itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

/// Where a stream's members are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    pub code: u16,
    pub leader: Option<Endpoint>,
    pub replicas: Vec<Endpoint>,
}

/// What a response says behind its code.
pub struct Fields {
    key: u16,
    rest: Bytes,
}

impl Fields {
    /// Of a response's body.
    pub fn of(key: u16, body: Bytes) -> Self {
        Self { key, rest: body }
    }

    fn too_short(&self) -> FrameError {
        FrameError { key: self.key }
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        self.rest.try_get_u16().map_err(|_| self.too_short())
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.rest.try_get_u32().map_err(|_| self.too_short())
    }

    fn i64(&mut self) -> Result<i64, FrameError> {
        self.rest.try_get_i64().map_err(|_| self.too_short())
    }

    /// A length of -1 is no text. Logs and errors show it, so it has no control characters.
    fn text(&mut self) -> Result<String, FrameError> {
        let length = self.rest.try_get_i16().map_err(|_| self.too_short())?;
        let length = usize::from(u16::try_from(length.max(0)).unwrap_or_default());
        if length > self.rest.len() {
            return Err(self.too_short());
        }
        let text = String::from_utf8(self.rest.split_to(length).into()).map_err(|_| self.too_short())?;
        Ok(if text.contains(char::is_control) { text.replace(char::is_control, "\u{fffd}") } else { text })
    }

    /// A list, each of whose elements takes at least a byte, so that a count is no reason to wait or to allocate.
    fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Result<T, FrameError>) -> Result<Vec<T>, FrameError> {
        let count = self.u32()?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(element(self)?);
        }
        Ok(list)
    }

    pub fn code(&mut self) -> Result<u16, FrameError> {
        self.u16()
    }

    pub fn texts(&mut self) -> Result<Vec<String>, FrameError> {
        self.list(Self::text)
    }

    /// Properties; none where the frame ends before them.
    pub fn properties(&mut self) -> Result<Vec<(String, String)>, FrameError> {
        if self.rest.is_empty() {
            return Ok(Vec::new());
        }
        self.list(|fields| Ok((fields.text()?, fields.text()?)))
    }

    pub fn statistics(&mut self) -> Result<Vec<(String, i64)>, FrameError> {
        self.list(|fields| Ok((fields.text()?, fields.i64()?)))
    }

    /// The members of the one stream that was requested. There is no code before them.
    pub fn members(&mut self) -> Result<Members, FrameError> {
        let nodes = self.list(|fields| Ok((fields.u16()?, (fields.text()?, fields.u32()?))))?;
        let nodes: HashMap<u16, (String, u32)> = nodes.into_iter().collect();
        let of = |reference: u16| {
            let (host, port) = nodes.get(&reference)?;
            Some(Endpoint { host: host.clone(), port: u16::try_from(*port).ok()? })
        };
        let mut streams = self.list(|fields| {
            fields.text()?;
            let (code, leader) = (fields.u16()?, fields.u16()?);
            let replicas = fields.list(Self::u16)?;
            Ok(Members { code, leader: of(leader), replicas: replicas.into_iter().filter_map(of).collect() })
        })?;
        streams.pop().ok_or_else(|| self.too_short())
    }
}
