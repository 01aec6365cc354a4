//! The API's description in the hands of others: a linter, and generators of clients for Python and TypeScript.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use analytics_service::http::openapi;

use crate::harness::{not_run, output_of};

/// A tool that `make test` installs.
fn tool(path: &str) -> Option<PathBuf> {
    let local = std::env::var("ANALYTICS_LOCAL_DIR")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join(".local"), PathBuf::from);
    let program = local.join(path);
    if program.exists() {
        return Some(program);
    }
    not_run(&format!("{} is not there (make test installs it)", program.display()));
    None
}

/// Runs a tool in a folder with the description in it, and gives the folder and what was printed.
async fn run(program: PathBuf, args: &[&str]) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let document = openapi::document().to_pretty_json().unwrap();
    std::fs::write(directory.path().join("openapi.json"), document).unwrap();
    let mut command = Command::new(program);
    command.current_dir(directory.path()).args(args).env("CI", "1").env("REDOCLY_TELEMETRY", "off");
    let output = output_of(command).await;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{args:?}: {text}");
    (directory, text)
}

fn read(directory: &Path, file: &str) -> String {
    std::fs::read_to_string(directory.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[tokio::test]
async fn a_linter_finds_nothing_in_the_description() {
    let Some(program) = tool("node/node_modules/.bin/redocly") else { return };
    // A download answers 302 alone.
    let args = ["lint", "openapi.json", "--extends", "recommended", "--skip-rule", "operation-2xx-response"];
    let (_directory, text) = run(program, &[&args[..], &["--format", "json"]].concat()).await;
    assert!(text.contains(r#""errors": 0"#) && text.contains(r#""warnings": 0"#), "{text}");
}

#[tokio::test]
async fn a_python_client_is_generated_without_a_warning() {
    let Some(program) = tool("tools/bin/openapi-python-client") else { return };
    let args = ["generate", "--path", "openapi.json", "--output-path", "client", "--meta", "none"];
    let (directory, text) = run(program, &args).await;
    assert!(!["WARNING", "ERROR", "Unable to process"].iter().any(|word| text.contains(word)), "{text}");
    assert!(read(directory.path(), "client/models/dead_letter_page.py").contains("class DeadLetterPage"));
    let opened = read(directory.path(), "client/models/opened_letter.py");
    assert!(opened.contains("payload_base_64") && opened.contains("reasons"), "{opened}");
}

#[tokio::test]
async fn two_generators_make_typescript_of_the_description() {
    let Some(types) = tool("node/node_modules/.bin/openapi-typescript") else { return };
    let Some(client) = tool("node/node_modules/.bin/openapi-ts") else { return };
    let (directory, _) = run(types, &["openapi.json", "--output", "types.ts"]).await;
    let text = read(directory.path(), "types.ts");
    assert!(text.contains("getUsage") && text.contains("RevisionReason: \"late\" | \"replay\""), "{text}");
    let (directory, text) = run(client, &["--input", "openapi.json", "--output", "client", "--no-log-file"]).await;
    assert!(!text.to_lowercase().contains("warn"), "{text}");
    assert!(read(directory.path(), "client/types.gen.ts").contains("export type OpenedLetter"));
}
