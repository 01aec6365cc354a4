//! Which module may use which: the layers of the source and the crates that each knows, enforced by reading its paths.

use std::{collections::BTreeSet, fs, path::Path};

use crate::harness::files::with_extension;

/// A module and those of the crate that it may use. `http` sees of the actors only their messages, which live in
/// their files; it never sees an adapter to a server.
pub const MAY_USE: [(&str, &[&str]); 13] = [
    ("domain", &[]),
    ("config", &["domain"]),
    ("telemetry", &["config", "domain"]),
    ("auth", &["config", "domain"]),
    ("broker", &["config", "domain"]),
    ("cache", &["config", "domain"]),
    ("objects", &["config", "domain"]),
    ("store", &["config", "domain"]),
    ("actors", &["auth", "broker", "cache", "config", "domain", "objects", "store", "telemetry"]),
    ("http", &["actors", "auth", "config", "domain", "telemetry"]),
    ("app", &["actors", "auth", "broker", "cache", "config", "domain", "http", "objects", "store", "telemetry"]),
    ("workload", &["domain"]),
    (
        "cli",
        &[
            "actors",
            "app",
            "auth",
            "broker",
            "cache",
            "config",
            "domain",
            "http",
            "objects",
            "store",
            "telemetry",
            "workload",
        ],
    ),
];

#[test]
fn every_module_uses_only_what_its_layer_may() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in with_extension(&source, "rs") {
        let name = file.strip_prefix(&source).unwrap().to_string_lossy().into_owned();
        let module = name.split(['/', '.']).next().unwrap().to_owned();
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(layer, _)| *layer == module)
            .unwrap_or_else(|| panic!("{name}: the module {module} has no layer"));
        seen.insert(module.clone());
        for used in uses(&fs::read_to_string(&file).unwrap()) {
            if used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen.len(), MAY_USE.len(), "every layer has a module");
}

/// Crates and the only layers that know them: an adapter alone knows its driver, and the rules know no server, no thread and no log.
const KNOWN_TO: [(&str, &[&str]); 25] = [
    ("actix", &["actors", "app", "cli", "http"]),
    ("actix_cors", &["http"]),
    ("actix_http", &["http"]),
    ("actix_server", &["http"]),
    ("actix_service", &["http"]),
    ("actix_web", &["http"]),
    ("anyhow", &["app", "cli", "telemetry"]),
    ("clap", &["cli"]),
    ("crc32fast", &["broker"]),
    ("governor", &["http"]),
    ("jsonwebtoken", &["auth"]),
    ("lapin", &["broker"]),
    ("lz4_flex", &["broker"]),
    ("object_store", &["objects"]),
    ("opentelemetry", &["telemetry"]),
    ("prometheus_client", &["telemetry"]),
    ("redis", &["cache"]),
    ("reqwest", &["actors", "cli"]),
    ("ruzstd", &["broker"]),
    ("snap", &["broker"]),
    ("sqlx", &["store"]),
    ("tokio", &["actors", "app", "broker", "cli", "http", "objects", "store", "telemetry"]),
    ("tonic", &["telemetry"]),
    ("tracing", &["actors", "app", "auth", "broker", "cli", "http", "store", "telemetry"]),
    // Domain types that are serialised as they are describe themselves: apart from them, the description would be a second
    // declaration of each field. What is read from words is described where it is read, in `http`.
    ("utoipa", &["domain", "http"]),
];

#[test]
fn crates_are_used_by_their_layers_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in with_extension(&source, "rs") {
        let name = file.strip_prefix(&source).unwrap().to_string_lossy().into_owned();
        if name.contains("tests") || ["lib.rs", "main.rs"].contains(&name.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for (used, layers) in KNOWN_TO {
            let layer = name.split('/').next().unwrap();
            if !layers.contains(&layer) && names_crate(code, used) {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_crate_is_seen_wherever_it_is_named() {
    assert!(names_crate("use sqlx::Row;", "sqlx") && names_crate("#[derive(sqlx::FromRow)]", "sqlx"));
    assert!(!names_crate("use crate::redis::Cache; my_redis::f()", "redis") && !names_crate("actix_web::get", "actix"));
    assert!(!names_crate(r#"filter = "info,sqlx::postgres=warn""#, "sqlx") && names_crate("\"\"\nsqlx::query", "sqlx"));
}

/// Whether a path in it begins with the crate.
fn names_crate(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    let within = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let in_text = |before: &str| before.lines().next_back().is_some_and(|line| line.matches('"').count() % 2 == 1);
    code.match_indices(&path).any(|(at, _)| !code[..at].ends_with(within) && !in_text(&code[..at]))
}

/// Elsewhere a transaction that is dropped would keep its locks until its connection is used again.
#[test]
fn transactions_begin_in_one_place_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let home = source.join("store/transaction.rs");
    let begins = |text: &str| {
        [".begin()", ".begin_with(", "\"BEGIN", "\"START TRANSACTION"].iter().any(|form| text.contains(form))
    };
    let files = with_extension(&source, "rs");
    let found: Vec<_> = files.filter(|file| begins(&fs::read_to_string(file).unwrap())).collect();
    assert_eq!(found, [home], "use store::transaction");
}

/// One way to lay out a module: a folder's head is its `mod.rs`, which the benches also need of the harness that they share.
#[test]
fn modules_with_folders_are_mod_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "tests/it"].into_iter().flat_map(|folder| with_extension(root.join(folder), "rs"));
    let beside: Vec<_> = files.filter(|file| file.with_extension("").is_dir()).collect();
    assert!(beside.is_empty(), "move each into its folder as mod.rs: {beside:?}");
}

#[test]
fn grouped_and_inline_uses_are_seen() {
    let text = "use crate::{\n    actors::{a, b},\n    config::C,\n    store,\n};\nfn f() { crate::http::g(); }";
    assert_eq!(uses(text), ["actors", "config", "http", "store"].map(str::to_owned).into());
}

/// The first segments of every `crate::` path, in groups too.
fn uses(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => {
                found.insert(segment(rest));
            }
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (i, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if depth == 0 && start && c.is_alphabetic() => {
                            found.insert(segment(&group[i..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found.remove("");
    found
}

fn segment(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
