//! Cursors of pages: the place behind an entry, in a form that clients are not tempted to calculate with.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::params::Params;

/// The cursor behind the entry of that id.
pub fn of(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id)
}

/// The parameter `cursor`.
pub fn read(params: &mut Params) -> Option<Uuid> {
    let place = params.single("cursor").map(|text| position(&text));
    if place == Some(None) {
        params.problem("cursor", "must be the nextCursor of an earlier answer");
    }
    place.flatten()
}

fn position(cursor: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    Uuid::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_returns_to_its_place() {
        for id in [Uuid::from_u128(1), Uuid::from_u128(77), Uuid::max()] {
            assert_eq!(position(&of(id)), Some(id));
        }
        for text in ["", "1", "AAAAAAAAAAE=", "AAAAAAAAAAAB", "' OR 1=1 --"] {
            assert_eq!(position(text), None, "{text}");
        }
    }
}
