//! The files of the console: what is of others is what the list says, what pages import is there, and what they compute holds.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use sha2::{Digest, Sha256};

use crate::{
    docs::root,
    harness::{files::below, not_run},
};

#[test]
fn vendored_files_are_what_the_list_says() {
    let folder = root().join("console/vendor");
    let list = fs::read_to_string(folder.join("VENDORED.toml")).unwrap();
    let mut listed = Vec::new();
    for entry in list.split("[[file]]").skip(1) {
        let fields: BTreeMap<_, _> = entry.lines().filter_map(|line| line.split_once(" = ")).collect();
        let field = |name: &str| fields.get(name).unwrap_or_else(|| panic!("{name} of {entry}")).trim_matches('"');
        let name = field("name");
        let sum = Sha256::digest(fs::read(folder.join(name)).unwrap());
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sum, field("sha256"), "{name}");
        assert!(folder.join(field("licence_file")).is_file(), "{name}");
        for known in ["package", "version", "licence", "source", "package_sha256", "path"] {
            assert!(!field(known).is_empty(), "{known} of {name}");
        }
        listed.push(name.to_owned());
    }
    listed.sort();
    let mut there: Vec<_> = below(&folder).iter().map(|file| name_of(file)).collect();
    there.retain(|name| name.ends_with(".js"));
    there.sort();
    assert_eq!(listed, there, "VENDORED.toml and console/vendor");
}

#[test]
fn modules_import_files_that_are_there() {
    let mut wrong = Vec::new();
    for file in below(root().join("console")).iter().filter(|file| name_of(file).ends_with(".js")) {
        let text = fs::read_to_string(file).unwrap();
        for (before, name) in quoted(&text) {
            let imports = ["from", "import(", "import"].iter().any(|word| before.trim_end().ends_with(word));
            let of_node = name.starts_with("node:") && file.starts_with(root().join("console/tests"));
            if imports && !of_node && !file.parent().unwrap().join(name).is_file() {
                wrong.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let page = fs::read_to_string(root().join("console/index.html")).unwrap();
    let addresses = quoted(&page).filter(|(before, _)| before.ends_with("src=") || before.ends_with("href="));
    let elsewhere: Vec<_> = addresses
        .map(|(_, address)| address)
        .filter(|address| !address.starts_with("{{assets}}/") && !address.starts_with("data:"))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    for forbidden in [" style=", " onclick=", "<style", "<script>"] {
        assert!(!page.contains(forbidden), "the content security policy refuses {forbidden}");
    }
}

#[test]
fn what_the_console_computes_holds() {
    if !Command::new("node").arg("--version").output().is_ok_and(|found| found.status.success()) {
        return not_run("there is no node");
    }
    let ran = Command::new("node").arg("console/tests/run.mjs").current_dir(root()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && !said.starts_with("0 passed"), "{said}");
}

/// What is in quotes, and what of its line is before it.
fn quoted(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().flat_map(|line| {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(from) = line[at..].find(['\'', '"']).map(|from| at + from) {
            let mark = line[from..].chars().next().unwrap();
            let Some(to) = line[from + 1..].find(mark).map(|to| from + 1 + to) else { break };
            parts.push((&line[at..from], &line[from + 1..to]));
            at = to + 1;
        }
        parts
    })
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap().to_string_lossy().into_owned()
}
