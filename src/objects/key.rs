//! Keys: the names of objects. They come from requests too, so what is no plain name is refused before it is a path.

use object_store::path::Path;

use super::ObjectError;

/// As S3 bounds it.
const MAX_BYTES: usize = 1024;
/// Names of files end at 255 bytes; a staging file's is longer than the object's.
const MAX_SEGMENT_BYTES: usize = 200;

/// Letters, digits, dots, dashes and underscores, in segments between slashes of which none is empty, `.` or `..`.
pub fn is_key(text: &str) -> bool {
    (1..=MAX_BYTES).contains(&text.len()) && text.split('/').all(is_segment)
}

/// The name of one file.
pub(super) fn is_segment(text: &str) -> bool {
    (1..=MAX_SEGMENT_BYTES).contains(&text.len())
        && !matches!(text, "." | "..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

pub(super) fn path(key: &str) -> Result<Path, ObjectError> {
    let path = is_key(key).then(|| Path::parse(key).ok()).flatten();
    path.ok_or_else(|| {
        ObjectError::permanent("a key must be letters, digits, dots, dashes and underscores between slashes")
    })
}

/// What a download is saved as: the key's last segment.
pub fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// The header Content-Disposition of a download. Characters that would have a meaning in it are left out.
pub fn content_disposition(file_name: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || " .-_()".contains(*c);
    format!("attachment; filename=\"{}\"", file_name.chars().filter(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_keys() {
        for key in ["a", "analytics/exports/0b7c/202601.r2.csv", "a/b/c.manifest.json", "...", "-", "_/.hidden"] {
            assert!(is_key(key) && path(key).is_ok(), "{key}");
        }
        let long = ["a".repeat(201), "a/".repeat(512) + "a"];
        for key in [
            "", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a/..", "a\\..\\b", "a%2e%2e", "a\0b",
            "a b", "a\nb", "ä", "a#1", "a+b", "~", "C:", &long[0], &long[1],
        ] {
            assert!(!is_key(key) && path(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_downloads_name_breaks_no_header() {
        assert_eq!(file_name("analytics/exports/org/202601.csv"), "202601.csv");
        assert_eq!(content_disposition("usage 2026.csv"), "attachment; filename=\"usage 2026.csv\"");
        assert_eq!(content_disposition("a\"; x=\r\n/\\é.csv"), "attachment; filename=\"a x.csv\"");
    }
}
