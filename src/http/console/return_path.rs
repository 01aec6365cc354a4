//! Where a browser goes when somebody is signed in: a page of the console, and nothing else.

/// Longest that is kept, with its query.
const MAX: usize = 1000;
const HOME: &str = "/console/";

/// The page that is named, where it is one of the console; else the first one.
pub fn local(text: Option<&str>) -> &str {
    text.filter(|text| is_page(text)).unwrap_or(HOME)
}

fn is_page(text: &str) -> bool {
    let path = text.split(['?', '#']).next().unwrap_or(text);
    // A browser would read a backslash as a slash, and dots as steps.
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') && !path.contains('%');
    let steps = path.split('/').any(|segment| segment == "." || segment == "..");
    text.len() <= MAX
        && path.starts_with(HOME)
        && !path.contains("//")
        && !path.starts_with("/console/sign-in")
        && plain
        && !steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_the_console_are_returned_to() {
        for page in ["/console/", "/console/usage?by=model&zone=Europe%2FBerlin#chart", "/console/dead-letters/01-a_b"]
        {
            assert_eq!(local(Some(page)), page);
        }
    }

    #[test]
    fn anything_else_is_the_first_page() {
        for elsewhere in [
            "",
            "/",
            "/consoles",
            "/console",
            "//evil.example/console/",
            "https://evil.example/console/",
            "/console//evil.example",
            "/console/\\evil.example",
            "/console/../analytics/v1/me",
            "/console/%2e%2e/analytics/v1/me",
            "/console/./usage",
            "/console/\r\nSet-Cookie: a=b",
            "/console/us\u{e9}",
            "/console/sign-in",
            "/console/sign-in/issuer?return=/console/",
            "javascript:alert(1)//console/",
            &format!("/console/{}", "a".repeat(MAX)),
        ] {
            assert_eq!(local(Some(elsewhere)), HOME, "{elsewhere}");
        }
        assert_eq!(local(None), HOME);
    }
}
