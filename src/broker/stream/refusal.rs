//! What the broker's refusals mean: which may go away by themselves, and which will not.

use bytes::Bytes;

use super::{
    frames::{code, responses::Fields},
    framing::End,
};
use crate::broker::BrokerError;

/// What a response says, unless its code is a refusal of what was requested.
///
/// # Errors
/// It is one.
pub fn accepted(key: u16, what: &str, body: Bytes) -> Result<Fields, BrokerError> {
    let mut fields = Fields::of(key, body);
    match fields.code().map_err(End::from)? {
        code::OK => Ok(fields),
        code => Err(refused(what, code)),
    }
}

/// As by AMQP, a stream that does not exist may come back, and one without a leader is said not to be available.
pub fn refused(what: &str, code: u16) -> BrokerError {
    let text = format!("{what}: {} ({code:#04x})", code::words(code));
    match code {
        code::MECHANISM
        | code::AUTHENTICATION
        | code::SASL
        | code::CHALLENGE
        | code::LOOPBACK
        | code::VIRTUAL_HOST
        | code::UNKNOWN_FRAME
        | code::FRAME_TOO_LARGE
        | code::ACCESS_REFUSED => BrokerError::Permanent(text),
        _ => BrokerError::Interrupted(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_go_away_is_transient() {
        for code in [code::NO_STREAM, code::NOT_AVAILABLE, 0x0f, 0x11, 0x7777] {
            assert!(refused("s", code).is_transient(), "{code}");
        }
        for code in [code::AUTHENTICATION, code::VIRTUAL_HOST, code::ACCESS_REFUSED, code::MECHANISM] {
            assert!(!refused("s", code).is_transient(), "{code}");
        }
        let error = accepted(7, "subscribing to s", Bytes::from_static(&[0, 2])).err().unwrap();
        assert_eq!(error.to_string(), "broker: subscribing to s: stream does not exist (0x02)");
    }
}
