//! Each list in the documentation has what it lists, and nothing else.

use std::{collections::BTreeSet, fs};

use analytics_service::telemetry::metrics::{Declared, declared};

use crate::{
    docs::{pages, root},
    docs_proofs::code_spans,
    harness::files::below,
    layout::MAY_USE,
};

type Names = BTreeSet<String>;

#[test]
fn the_tables_of_settings_are_complete() {
    let settings = settings();
    let keys: Names = settings.iter().map(|(key, _)| key.clone()).collect();
    let page = read("docs/install.md");
    let mut documented = Names::new();
    let mut wrong = Vec::new();
    for row in tables(&page, "setting") {
        let mut section = "";
        let mut named = Vec::new();
        for span in code_spans(row[0]) {
            let (of, key) = span.rsplit_once('.').unwrap_or((section, span));
            section = of;
            match key {
                "*" => named.extend(keys.iter().filter(|key| key.starts_with(&format!("{of}."))).cloned()),
                key => named.push(format!("{of}.{key}")),
            }
        }
        // Where the cell has as many values as the other has names, they are the defaults.
        let values: Vec<_> = row[1].split(", ").collect();
        if values.len() == named.len() {
            for (name, value) in named.iter().zip(values) {
                let Some((_, default)) = settings.iter().find(|(key, _)| key == name) else { continue };
                if !is_default(default, value) {
                    wrong.push(format!("{name} is {default}, not {value}"));
                }
            }
        }
        documented.extend(named);
    }
    assert_same(&documented, &keys, "docs/install.md", "config.default.toml");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn settings_named_in_the_pages_exist() {
    let settings: Names = settings().into_iter().map(|(key, _)| key).collect();
    let sections: BTreeSet<&str> = settings.iter().filter_map(|key| key.split('.').next()).collect();
    let code = source("src");
    let mut wrong = Names::new();
    for page in pages() {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        for span in code_spans(&text) {
            let Some((section, key)) = span.split_once('.') else { continue };
            let is_key = sections.contains(section)
                && key != "rs"
                && key.chars().all(|c| c.is_ascii_lowercase() || "_*".contains(c));
            let prefix = span.split('*').next().unwrap();
            // Acts of the audit log have the same form.
            let known = settings.iter().any(|name| name == span || prefix != span && name.starts_with(prefix))
                || code.contains(&format!("\"{span}\""));
            if is_key && !known {
                wrong.insert(format!("{}: {span}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "no such setting: {wrong:?}");
}

#[test]
fn the_table_of_metrics_is_what_is_declared() {
    let page = read("docs/observe.md");
    let documented: Vec<_> =
        tables(&page, "metric").iter().map(|row| format!("{} | {}", row[0].trim_matches('`'), row[1])).collect();
    let declared = declared().map(|Declared { name, kind, labels }| match labels {
        [] => format!("{name} | {kind}"),
        labels => format!("{name}{{{}}} | {kind}", labels.join(",")),
    });
    assert_eq!(documented, Vec::from_iter(declared), "docs/observe.md and src/telemetry/metrics");
}

#[test]
fn log_lines_in_the_docs_are_written() {
    let source = source("src");
    let page = read("docs/observe.md");
    let mut wrong = Vec::new();
    for row in tables(&page, "line") {
        for line in code_spans(row[0]) {
            // Up to the first field, and without what stands for something else.
            let text = line.split([' ', '…', '(']).take_while(|word| !word.contains('=')).collect::<Vec<_>>().join(" ");
            let text = text.trim();
            if !source.contains(text) {
                wrong.push(line);
            }
        }
    }
    assert!(wrong.is_empty(), "no such lines: {wrong:?}");
}

#[test]
fn the_table_of_spans_is_complete() {
    let code = read("src/domain/trace.rs");
    let (_, code) = code.split_once("pub mod span {").unwrap();
    let (names, attributes) = code.split_once("pub mod attribute {").unwrap();
    let (attributes, _) = attributes.split_once("\n}\n").unwrap();
    let values = |code: &str| -> Names {
        let values = code.lines().filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(": &str = \""));
        values.map(|(_, value)| value.trim_end_matches("\";").to_owned()).collect()
    };
    let page = read("docs/traces.md");
    let rows = tables(&page, "span");
    let spans = rows.iter().flat_map(|row| code_spans(row[0])).map(|name| name.split(' ').next().unwrap().to_owned());
    let spans: Names = spans.filter(|name| name != "<method>").collect();
    assert_same(&spans, &values(names), "docs/traces.md", "domain::trace::span");
    let is_attribute = |name: &&str| name.contains('.') && !name.contains(' ');
    let listed: Names =
        rows.iter().flat_map(|row| code_spans(row[3])).filter(is_attribute).map(str::to_owned).collect();
    assert_same(&listed, &values(attributes), "docs/traces.md", "domain::trace::attribute");
}

#[test]
fn the_tables_of_the_schema_are_listed() {
    let mut migrations: Vec<_> = fs::read_dir(root().join("migrations")).unwrap().map(|e| e.unwrap().path()).collect();
    migrations.sort();
    let mut there = Names::new();
    for file in migrations.iter().filter(|file| file.to_string_lossy().ends_with(".up.sql")) {
        for line in fs::read_to_string(file).unwrap().lines() {
            let name =
                |rest: &str| rest.trim_start_matches("IF EXISTS ").split([' ', '(', ';']).next().unwrap().to_owned();
            if let Some(rest) = line.strip_prefix("CREATE TABLE analytics.") {
                there.insert(name(rest));
            } else if let Some(rest) = line.strip_prefix("DROP TABLE analytics.") {
                there.remove(&name(rest));
            } else if let Some(rest) = line.strip_prefix("ALTER TABLE analytics.")
                && let Some((old, new)) = rest.split_once(" RENAME TO ")
            {
                there.remove(&name(old));
                there.insert(name(new));
            }
        }
    }
    let page = read("docs/architecture.md");
    let documented: Names =
        tables(&page, "table").iter().flat_map(|row| code_spans(row[0])).map(str::to_owned).collect();
    assert_same(&documented, &there, "docs/architecture.md", "migrations/");
}

#[test]
fn the_table_of_modules_is_the_layers() {
    let page = read("docs/architecture.md");
    let row = |row: &Vec<&str>| (row[0].trim_matches('`').to_owned(), row[2].replace("nothing", ""));
    let documented: Vec<_> = tables(&page, "module").iter().map(row).collect();
    let layers = MAY_USE.iter().map(|(module, uses)| ((*module).to_owned(), uses.join(", ")));
    assert_eq!(documented, Vec::from_iter(layers), "docs/architecture.md and tests/it/layout.rs");
}

#[test]
fn every_module_is_in_the_readme() {
    let page = read("README.md");
    let (_, source) = page.split_once("## The source").unwrap();
    let mut listed = Names::new();
    for line in source.lines().take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("    ")) {
        let mut folder = "";
        let words = line.split_whitespace().map(|word| word.trim_end_matches(','));
        for word in words.take_while(|word| word.contains('/') || word.ends_with(".rs")) {
            // `src/main.rs, lib.rs`: the second lies beside the first.
            let path = if word.contains('/') { word.to_owned() } else { format!("{folder}{word}") };
            assert!(root().join(&path).exists(), "README.md lists {path}");
            folder = if path.starts_with("src/") { "src/" } else { "" };
            listed.insert(path.trim_end_matches('/').to_owned());
        }
    }
    for entry in fs::read_dir(root().join("src")).unwrap().map(Result::unwrap) {
        let path = format!("src/{}", entry.file_name().to_string_lossy());
        assert!(listed.contains(&path), "README.md does not list {path}");
    }
}

#[test]
fn make_targets_in_the_pages_exist() {
    let makefile = read("Makefile");
    let targets: Names = makefile
        .lines()
        .filter_map(|line| line.split_once(':').map(|(name, _)| name))
        .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .map(str::to_owned)
        .collect();
    for page in pages() {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        for span in code_spans(&text).chain(text.lines().filter_map(|line| line.strip_prefix("    "))) {
            let Some(target) = span.strip_prefix("make ").and_then(|rest| rest.split_whitespace().next()) else {
                continue;
            };
            assert!(targets.contains(target), "{}: make {target}", page.display());
        }
    }
}

#[test]
fn the_table_of_stacks_has_the_names_that_can_be_chosen() {
    let stacks = read("deploy/local/stacks");
    let rows = stacks.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '));
    let names: Names = rows.map(|(name, _)| name.to_owned()).collect();
    let page = read("deploy/local/README.md");
    let documented = tables(&page, "stack").iter().flat_map(|row| code_spans(row[0])).map(str::to_owned).collect();
    assert_same(&documented, &names, "deploy/local/README.md", "deploy/local/stacks");
    for page in pages() {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        for (at, _) in text.match_indices("STACK=") {
            let name: String = text[at + 6..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            assert!(name == "NAME" || names.contains(&name), "{}: no stack {name}", page.display());
        }
    }
}

/// `ANALYTICS__SECTION__KEY` is a setting; of the others, the pages name those that the code reads.
#[test]
fn environment_variables_in_the_docs_are_read() {
    let settings = settings();
    let mut code = source("src");
    for folder in ["deploy/image", "deploy/local", "tests/it/harness", "load-tests"] {
        for entry in fs::read_dir(root().join(folder)).unwrap().map(Result::unwrap) {
            if entry.path().is_file() && entry.path().extension().is_none_or(|extension| extension != "md") {
                code.push_str(&fs::read_to_string(entry.path()).unwrap_or_default());
            }
        }
    }
    code.push_str(&read("Makefile"));
    let mut named = Names::new();
    for page in pages() {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        for variable in variables(&text) {
            match variable.strip_prefix("ANALYTICS__") {
                Some("SECTION__KEY") => {}
                Some(path) => {
                    let key = path.to_lowercase().replace("__", ".");
                    assert!(settings.iter().any(|(name, _)| *name == key), "{}: no setting {key}", page.display());
                }
                None => assert!(code.contains(&variable), "{}: nothing reads {variable}", page.display()),
            }
            named.insert(variable);
        }
    }
    for variable in variables(&source("src")).into_iter().filter(|name| !name.starts_with("ANALYTICS__")) {
        assert!(named.contains(&variable), "no page names {variable}");
    }
}

#[test]
fn the_glossary_has_the_terms_of_the_domain() {
    let page = read("docs/glossary.md");
    let terms: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| **")?.split_once("** | ")).collect();
    for wanted in [
        "partition",
        "batch",
        "credit",
        "epoch",
        "fencing",
        "incarnation",
        "ledger",
        "gap",
        "dedupe window",
        "suspect",
        "dead letter",
        "correction",
        "replay",
        "repair",
        "watermark",
        "asOf",
        "final",
        "revision",
        "rollup",
        "engine",
    ] {
        assert!(terms.iter().any(|(term, _)| *term == wanted), "{wanted}");
    }
    for (term, meaning) in terms {
        assert!(meaning.ends_with(". |") && !meaning.trim_end_matches(". |").contains(". "), "{term}: one sentence");
    }
}

fn assert_same(documented: &Names, there: &Names, page: &str, source: &str) {
    let missing: Vec<_> = there.difference(documented).collect();
    let stale: Vec<_> = documented.difference(there).collect();
    assert!(missing.is_empty() && stale.is_empty(), "{page} lacks {missing:?}; {source} has no {stale:?}");
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// All that is below a folder.
fn source(folder: &str) -> String {
    below(root().join(folder)).iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

/// Rows, cell by cell, of the tables that have this heading over their first column.
pub fn tables<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let mut inside = false;
    let mut rows = Vec::new();
    for line in page.lines() {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        if !line.starts_with('|') {
            inside = false;
        } else if cells[0] == heading {
            inside = true;
        } else if inside && !line.starts_with("|-") {
            rows.push(cells);
        }
    }
    assert!(!rows.is_empty(), "a table of each {heading}");
    rows
}

/// Each setting of the defaults' file, and its value as it stands there.
fn settings() -> Vec<(String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in read("config.default.toml").lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            found.push((format!("{section}.{key}"), value.trim_matches('"').to_owned()));
        }
    }
    found
}

/// Whether a value of the table says what the file has.
fn is_default(default: &str, documented: &str) -> bool {
    let documented = documented.trim_matches('`').replace(',', "");
    let plain = default.replace('_', "");
    let number = |text: &str| text.parse::<u64>().ok();
    let (amount, unit) = documented.split_once(' ').unwrap_or((&documented, ""));
    match (documented.as_str(), unit) {
        ("empty" | "none", _) => default.is_empty(),
        ("localhost", _) => default.contains("127.0.0.1"),
        ("see the file" | "", _) => true,
        (_, "MiB") => number(&plain) == number(amount).map(|n| n << 20),
        (_, "GB") => number(&plain) == number(amount).map(|n| n * 1_000_000_000),
        (_, "days") => default == format!("{amount}D"),
        _ => {
            default == documented
                || plain == documented
                || default.ends_with(&documented) && documented.starts_with(':')
        }
    }
}

fn variables(text: &str) -> Names {
    let word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let found = text.match_indices("ANALYTICS_").map(|(at, _)| {
        let end = text[at..].find(|c| !word(c)).map_or(text.len(), |length| at + length);
        text[at..end].to_owned()
    });
    found.filter(|name| !name.ends_with('_')).collect()
}
