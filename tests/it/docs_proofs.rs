//! What the documentation gives as proof is there: tests, files and functions.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::{
    docs::{pages, root},
    harness::files::{below, with_extension},
};

#[test]
fn failures_have_effect_signs_remedy_and_proof() {
    let page = fs::read_to_string(root().join("docs/failure-modes.md")).unwrap();
    let labels = ["**Effect.**", "**What you see.**", "**What to do.**", "**Proof.**"];
    let mut wrong = Vec::new();
    for section in page.split("\n### ").skip(1) {
        let title = section.lines().next().unwrap();
        let section = section.split("\n## ").next().unwrap();
        let places: Vec<_> = labels.iter().map(|label| section.find(label)).collect();
        if !places.is_sorted() || places.contains(&None) {
            wrong.push(format!("{title}: {labels:?}, in this order"));
        }
        let proof = section.split(labels[3]).nth(1).unwrap_or_default();
        let admits = ["Tried by hand", "Measured", "ot tested"].iter().any(|word| proof.contains(word));
        if !admits && !code_spans(proof).any(is_long_name) {
            wrong.push(format!("{title}: names no test"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tests_that_are_named_as_proof_exist() {
    let tests = tests();
    assert!(tests.len() > 500, "the tests are found: {}", tests.len());
    let mut named = BTreeSet::new();
    for page in ["docs/backup.md", "docs/failure-modes.md", "docs/security.md", "README.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let before = named.len();
        for proof in proofs(&text) {
            named.extend(code_spans(proof).filter(|span| is_long_name(span)).map(|name| format!("{page}: {name}")));
        }
        assert!(named.len() > before, "{page} names tests");
    }
    named.retain(|name| !tests.contains(name.rsplit(' ').next().unwrap()));
    assert!(named.is_empty(), "no such test:\n{}", Vec::from_iter(named).join("\n"));
}

/// Settings, commands and plugins of other programs.
const FOREIGN: [&str; 4] = ["max_message_size", "default_pool_size", "add_replica", "rabbitmq_auth_mechanism_ssl"];

/// Settings, metrics, functions, columns, files: what a page names must be somewhere in the project.
#[test]
fn names_in_the_pages_are_in_the_project() {
    let (files, project) = project();
    let words: BTreeSet<&str> = project.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    let mut wrong = BTreeSet::new();
    for page in pages().into_iter().filter(|page| page != &PathBuf::from("CHANGELOG.md")) {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        for span in code_spans(&text) {
            let known = match span {
                name if is_name(name) => {
                    let metric = name.strip_prefix("analytics_").unwrap_or(name);
                    let counter = metric.strip_suffix("_total").unwrap_or(metric);
                    [name, metric, counter].iter().any(|name| words.contains(name)) || FOREIGN.contains(&name)
                }
                file if is_file(file) => root().join(file).exists(),
                file if is_source(file) => files.iter().any(|path| path.ends_with(file)),
                _ => true,
            };
            if !known {
                wrong.insert(format!("{}: {span}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", Vec::from_iter(wrong).join("\n"));
}

/// A row of a walkthrough: step, what happens, file, functions or types in it.
#[test]
fn walkthroughs_name_files_and_functions_that_exist() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for title in ["\n## An event, from publish to response", "\n## A request, from socket to SQL"] {
        let (_, rest) = page.split_once(title).unwrap_or_else(|| panic!("{title}"));
        let rows = rest.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| "));
        for row in rows.skip(1) {
            let cells: Vec<_> = row.trim_matches('|').split(" | ").collect();
            let [_, _, file, functions] = cells[..] else { panic!("four columns: {row}") };
            let file = code_spans(file).next().unwrap_or_else(|| panic!("a file: {row}"));
            let Ok(text) = fs::read_to_string(root().join(file)) else {
                wrong.push(format!("no file {file}"));
                continue;
            };
            for name in code_spans(functions) {
                seen += 1;
                let name = name.rsplit("::").next().unwrap();
                let forms = ["fn", "struct", "enum", "trait", "type", "const"].map(|kind| format!("{kind} {name}"));
                let whole = |form: &String| {
                    text.match_indices(form.as_str())
                        .any(|(at, _)| !text[at + form.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_'))
                };
                if !forms.iter().any(whole) {
                    wrong.push(format!("{file} has no {name}"));
                }
            }
        }
    }
    assert!(seen > 20, "the walkthroughs name functions: {seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a page offers as proof: paragraphs behind `Proof.`, and rows of tables of which the last column is the proof.
fn proofs(text: &str) -> Vec<&str> {
    let paragraphs = text.split("**Proof.**").skip(1).map(|rest| rest.split("\n#").next().unwrap());
    let mut table = false;
    let rows = text.lines().filter(move |line| {
        table = line.starts_with('|') && (table || line.contains("proved"));
        table
    });
    paragraphs.chain(rows).collect()
}

/// Texts between backticks, within a line.
pub fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Of several words in the form of the code.
fn is_name(span: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    span.contains('_') && span.chars().all(word) && span.starts_with(|c: char| c.is_ascii_lowercase())
}

/// So long that it can only be a test's.
fn is_long_name(span: &str) -> bool {
    is_name(span) && span.matches('_').count() >= 2
}

fn is_file(span: &str) -> bool {
    let path = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let folders = ["src/", "tests/", "docs/", "deploy/", "migrations/", "benches/", "load-tests/", "data/"];
    span.chars().all(path) && folders.iter().any(|folder| span.starts_with(folder)) && !span.contains("NAME")
}

fn is_source(span: &str) -> bool {
    let path = |c: char| c.is_ascii_lowercase() || "_/.".contains(c);
    !span.starts_with('.')
        && span.chars().all(path)
        && [".rs", ".sql"].iter().any(|extension| span.ends_with(extension))
}

/// Names of functions that an attribute with `test` in it stands before, or that a test for each protocol calls.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in ["src", "tests"].into_iter().flat_map(|folder| with_extension(root().join(folder), "rs")) {
        let text = fs::read_to_string(file).unwrap();
        let mut marked = false;
        for line in text.lines().map(str::trim_start) {
            if line.starts_with("#[") {
                marked |= line.contains("test]") || line.contains("test(");
            } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| marked || line.contains("(by: Protocol)"))
            {
                found.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
                marked = false;
            }
        }
    }
    found
}

/// Every file but the pages, and their texts.
fn project() -> (Vec<PathBuf>, String) {
    let folders = ["src", "tests", "benches", "migrations", "deploy", "load-tests", ".ci"];
    let mut files: Vec<_> = folders.into_iter().flat_map(|folder| below(root().join(folder))).collect();
    let others = ["Makefile", "Cargo.toml", "config.default.toml", "docs/analytics-events-openapi.yaml"];
    files.extend(others.map(|file| root().join(file)));
    files.retain(|file| file.extension().is_none_or(|extension| extension != "md"));
    let texts: Vec<_> = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    (files, texts.join("\n"))
}
