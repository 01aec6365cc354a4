//! Statements in files: the head of each names its parameters.

use std::{collections::BTreeSet, fs, path::Path};

/// The comment that a file begins with, and the statement without comments.
fn parts(text: &str) -> (String, String) {
    let head = text.lines().take_while(|line| line.starts_with("--")).collect::<Vec<_>>().join("\n");
    let code = text.lines().map(|line| line.split("--").next().unwrap()).collect::<Vec<_>>().join("\n");
    (head, code)
}

/// The parameters in the order of the text; `$1 to $4` names those between, too.
fn parameters(text: &str) -> Vec<u32> {
    let mut found = Vec::new();
    let mut pieces = text.split('$');
    let mut before = pieces.next().unwrap();
    for piece in pieces {
        let digits: String = piece.chars().take_while(char::is_ascii_digit).collect();
        if let Ok(number) = digits.parse() {
            let from = if before.ends_with(" to ") { found.last().map_or(number, |last| last + 1) } else { number };
            found.extend(from..=number);
        }
        before = piece;
    }
    found
}

/// What is wrong with a file's head; nothing where all is well.
fn fault(text: &str) -> Option<String> {
    let (head, code) = parts(text);
    let named = parameters(&head);
    let used: BTreeSet<u32> = parameters(&code).into_iter().collect();
    let known: BTreeSet<u32> = named.iter().copied().collect();
    let unnamed: Vec<_> = used.difference(&known).collect();
    // What is put in may use those that the text itself does not.
    let unused: Vec<_> = if code.contains('{') { Vec::new() } else { known.difference(&used).collect() };
    match head.is_empty() {
        true => Some("has no head".to_owned()),
        false if !unnamed.is_empty() => Some(format!("does not name {unnamed:?}")),
        false if !unused.is_empty() => Some(format!("names {unused:?}, which are not used")),
        false if !named.is_sorted() => Some(format!("names its parameters in another order: {named:?}")),
        false => None,
    }
}

#[test]
fn every_head_names_its_parameters() {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut seen = 0;
    let mut wrong = Vec::new();
    let rooms = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path().join("sql"));
    for folder in rooms.chain([store.join("sql")]).filter(|folder| folder.is_dir()) {
        for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            seen += 1;
            let fault = fault(&fs::read_to_string(&file).unwrap());
            wrong.extend(fault.map(|fault| format!("{} {fault}", file.strip_prefix(&store).unwrap().display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 80, "{seen} files");
}

#[test]
fn a_wrong_head_is_found() {
    let of = |text: &str| fault(text).unwrap_or_default();
    assert_eq!(of("SELECT 1"), "has no head");
    assert_eq!(of("-- One.\nSELECT $1"), "does not name [1]");
    assert_eq!(of("-- $1 one, $2 two\nSELECT $1 -- $2"), "names [2], which are not used");
    assert_eq!(of("-- $2 two, $1 one\nSELECT $1, $2"), "names its parameters in another order: [2, 1]");
    for right in
        ["-- $1 to $3 some, $10 ten\nSELECT $1, $2, $3, $10", "-- $1 one, $9 days\nSELECT {days}, $1", "-- x\nSELECT"]
    {
        assert_eq!(fault(right), None, "{right}");
    }
}
