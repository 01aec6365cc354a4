//! Cursors that hold texts: the place behind which a page begins.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::{Params, parameter, text};

/// Longest cursor that is read: that of an id of 200 characters which JSON writes with six bytes each.
const MAX_BYTES: usize = 8192;

/// In a form that clients are not tempted to calculate with.
pub fn encode(place: &[&str]) -> String {
    // Texts in memory can be written.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).unwrap_or_default())
}

fn decode(cursor: &str) -> Option<Vec<String>> {
    let bytes = (cursor.len() <= MAX_BYTES).then(|| URL_SAFE_NO_PAD.decode(cursor).ok())??;
    serde_json::from_slice(&bytes).ok()
}

/// The place that `cursor` says, where it is given. A wrong one is a problem.
pub fn read<T>(params: &mut Params, place: impl FnOnce(Vec<String>) -> Option<T>) -> Option<T> {
    let found = params.single("cursor").map(|cursor| decode(&cursor).and_then(place))?;
    if found.is_none() {
        params.problem("cursor", "must be the nextCursor of an earlier response to the same request");
    }
    found
}

pub fn describe() -> Parameter {
    parameter(ParameterIn::Query, "cursor", "nextCursor of the page before", text()).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_returns_to_its_place() {
        let place = ["clientId", "a\"b🙂\u{7f}"];
        assert_eq!(decode(&encode(&place)), Some(place.map(str::to_owned).into()));
        for cursor in ["", "1", "AAAAAAAAAAE=", "' OR 1=1 --", &"A".repeat(9000)] {
            assert_eq!(decode(cursor), None, "{cursor}");
        }
    }
}
