//! Who works at the command line, as the service's records name them.

/// `command-line/` and the variable `USER`.
pub fn name() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    format!("command-line/{}", user.as_deref().unwrap_or("unknown"))
}
