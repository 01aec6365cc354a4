//! File descriptors: each connection needs one, and without any left a process can accept no probe either.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Settings;

/// For everything that is no client's connection: servers, files, and what is being accepted.
const OTHERS: usize = 256;

/// Raises the limit as far as the system allows, and lowers `http.max_connections` where that is not enough.
pub fn raise(settings: &mut Settings) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let files = if raised.is_ok() { maximum } else { current };
    // None: there is no limit.
    let Some(files) = files.and_then(|files| usize::try_from(files).ok()) else { return };
    let most = files.saturating_sub(OTHERS + settings.ops.max_connections).max(1);
    let http = &mut settings.http;
    if http.max_connections > most {
        let wanted = http.max_connections;
        tracing::warn!(files, wanted, most, "http.max_connections is lowered: the system allows too few open files");
        http.max_connections = most;
        http.max_connections_per_address = http.max_connections_per_address.min(most);
    }
}
