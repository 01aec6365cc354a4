//! The container image, without building it: what `deploy/image/Dockerfile` promises, and that its context has what the build reads.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{docs::root, harness::files::with_extension};

/// Values of an instruction, in order, with continued lines joined.
fn instructions(name: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("deploy/image/Dockerfile")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let prefix = format!("{name} ");
    lines.lines().filter_map(|line| line.strip_prefix(&prefix)).map(|value| value.trim().to_owned()).collect()
}

/// The last one counts, as for the engine.
fn last(name: &str) -> String {
    instructions(name).pop().unwrap_or_else(|| panic!("no {name}"))
}

fn default_of(argument: &str) -> String {
    let prefix = format!("{argument}=");
    let found = instructions("ARG").into_iter().find_map(|value| value.strip_prefix(&prefix).map(str::to_owned));
    found.unwrap_or_else(|| panic!("no ARG {argument} with a default"))
}

/// Words of the form that no shell reads.
fn words(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[test]
fn bases_are_pinned_and_go_together() {
    for argument in ["BUILD_BASE", "RUN_BASE"] {
        let base = default_of(argument);
        let digest = base.split_once("@sha256:").unwrap_or_else(|| panic!("{base} has no digest")).1;
        assert!(digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit()), "{base}");
    }
    assert_eq!(instructions("FROM"), ["${BUILD_BASE} AS build", "${RUN_BASE}"]);
    // The binary is linked to the C library of one and runs with that of the other.
    assert!(default_of("BUILD_BASE").contains("-trixie@") && default_of("RUN_BASE").contains("-debian13:nonroot@"));
    let built_with = default_of("BUILD_BASE").split_once("rust:").unwrap().1.to_owned();
    let minor = |version: &str| version.split('.').nth(1).and_then(|part| part.parse::<u32>().ok()).unwrap();
    assert!(minor(&built_with) >= minor(env!("CARGO_PKG_RUST_VERSION")), "{built_with}");
}

#[test]
fn the_image_runs_the_service_without_rights() {
    assert_eq!(last("USER"), "65532:65532");
    assert_eq!(last("STOPSIGNAL"), "SIGTERM");
    let program = words(&last("ENTRYPOINT"));
    assert!(instructions("COPY").iter().any(|copy| copy.ends_with(&program[0])), "{program:?} is not copied");
    let health = last("HEALTHCHECK").split_once("CMD ").unwrap().1.to_owned();
    let health = words(&health).split_off(1);
    for command in [words(&last("CMD")), health] {
        let help = Command::new(env!("CARGO_BIN_EXE_analytics-service")).args(&command).arg("--help").output().unwrap();
        assert!(help.status.success(), "{command:?}: {}", String::from_utf8_lossy(&help.stderr));
    }
}

#[test]
fn labels_and_ports_are_those_of_the_crate() {
    let labels = last("LABEL");
    assert_eq!(default_of("VERSION"), env!("CARGO_PKG_VERSION"));
    for (label, value) in [
        ("title", env!("CARGO_PKG_NAME")),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("version", "${VERSION}"),
        ("revision", "${REVISION}"),
    ] {
        assert!(labels.contains(&format!("org.opencontainers.image.{label}=\"{value}\"")), "{label}");
    }
    let ports: Vec<_> = last("EXPOSE").split_whitespace().map(str::to_owned).collect();
    let set: Vec<_> =
        last("ENV").split_whitespace().map(|entry| entry.rsplit_once(':').unwrap().1.to_owned()).collect();
    assert_eq!(ports, set);
}

/// A file that the source embeds and that does not reach the builder would break the image alone.
#[test]
fn the_context_has_what_the_build_reads() {
    let ignore = fs::read_to_string(root().join(".dockerignore")).unwrap();
    let mut rules = ignore.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    assert_eq!(rules.next(), Some("*"), "what is not named stays out");
    let named: Vec<_> =
        rules.map(|rule| rule.strip_prefix('!').unwrap_or_else(|| panic!("{rule} leaves out"))).collect();
    for name in &named {
        assert!(root().join(name).exists(), "{name} does not exist");
    }
    let copied = instructions("COPY").into_iter().filter(|copy| !copy.starts_with("--from"));
    let mut read: Vec<PathBuf> = copied.map(|copy| PathBuf::from(copy.split_once(' ').unwrap().0)).collect();
    read.retain(|path| path != Path::new("."));
    read.extend(["Cargo.toml", "Cargo.lock", "build.rs", "benches", "migrations", "src"].map(PathBuf::from));
    // Unit tests embed more, and are not built there.
    for path in with_extension(root().join("src"), "rs").filter(|path| !path.ends_with("tests.rs")) {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        read.extend(embedded(code).map(|file| resolved(path.parent().unwrap(), file)));
    }
    assert!(read.iter().any(|path| path.starts_with("src/store")), "statements are embedded: {read:?}");
    let missing: Vec<_> = read.iter().filter(|path| !named.iter().any(|name| path.starts_with(name))).collect();
    assert!(missing.is_empty(), "not in .dockerignore: {missing:?}");
}

/// Files outside of their own folder that the compiler reads, as the source names them.
fn embedded(code: &str) -> impl Iterator<Item = &str> {
    ["include_str!(\"", "include_bytes!(\"", "include!(\""]
        .into_iter()
        .flat_map(|call| code.split(call).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .filter(|file| file.starts_with("../"))
}

/// From the root.
fn resolved(folder: &Path, file: &str) -> PathBuf {
    let path = fs::canonicalize(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    path.strip_prefix(fs::canonicalize(root()).unwrap()).unwrap().to_owned()
}
