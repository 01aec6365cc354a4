//! One word for one thing: expressions that this project has given up, and what to write. Found in code, tests, docs and scripts.

use std::{fs, path::Path};

use crate::harness::files::below;

/// What not to write, as whole words, and what to write. In prose either case counts; names of types are as they are. `…` is at
/// most sixty bytes between two words of a line.
const GIVEN_UP: [(&[&str], &str); 15] = [
    (&["anew"], "again, recreated or restarted"),
    (&["mend", "mends", "mended", "mending"], "fix or repair"),
    (&["take … away", "takes … away", "took … away", "taken … away", "taking … away"], "delete, purge or remove"),
    (&["who asks", "asker", "askers", "whoever asked"], "the caller or the client"),
    (&["whom", "whomever"], "the caller, or another sentence"),
    (&["tell", "tells", "telling", "told"], "sends, reports, names, receives or learns"),
    (&["ask for", "asks for", "asked for", "asking for"], "request"),
    (&["sees to", "keeps to"], "maintains or respects"),
    (&["lets in", "let in", "let them in"], "authorizes or accepts"),
    (&["counts no longer", "count no longer"], "is revoked, released or dropped"),
    (&["sure of", "unsure", "certainly new events"], "fresh or suspect"),
    (&["window_version"], "foreign_writes"),
    (&["horizon", "horizons"], "the raw floor"),
    // Not `Visit`, which is a trait of `tracing`.
    (&["Desk", "Lent", "Pulse", "Whom"], "what it is"),
    (&["ExportsLine", "EventsLine", "KeysLine", "NoAnswer", "FixedAnswers"], "what it is"),
];

/// The same in some places only, where a word means one thing: people and checks have answers.
const GIVEN_UP_IN: [(&[&str], &str, &str); 1] =
    [(&["src/http/", "docs/api.md"], "answer", "response, and what is done to it: is returned, responds")];

/// The only file that may have them.
const THIS: &str = "tests/it/words.rs";

#[test]
fn given_up_words_are_not_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "docs", "load-tests", "deploy", "console", ".ci"] {
        files.extend(below(root.join(folder)));
    }
    files.extend(
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "config.default.toml"]
            .map(|name| root.join(name)),
    );
    // Not what others have written.
    files.retain(|file| !file.starts_with(root.join("console/vendor")));
    let mut wrong = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        // Binary files have no words.
        let Some(text) = fs::read_to_string(&file).ok().filter(|_| name != THIS) else { continue };
        let here = GIVEN_UP_IN.into_iter().filter(|(places, ..)| places.iter().any(|place| name.starts_with(place)));
        let here: Vec<_> = here.map(|(_, part, instead)| (part, instead)).collect();
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let parts = here.iter().copied().filter(|(part, _)| lower.contains(part));
            for (word, instead) in found(line).into_iter().chain(parts) {
                wrong.push(format!("{name}:{}: \"{word}\": write {instead}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn whole_words_are_found_in_either_case() {
    let words = |line| found(line).into_iter().map(|(word, _)| word).collect::<Vec<_>>();
    assert_eq!(words("It is asked for; asked, it tells"), ["tells", "asked for"]);
    assert_eq!(words("Told anew: raw_horizons, recommended, a desktop"), ["anew", "told"]);
    assert_eq!(words("the Desk of a desk"), ["Desk"]);
    assert_eq!(words("takes away, takes_away"), ["takes … away"]);
    assert_eq!(words("Takes a table's old rows away, or not"), ["takes … away"]);
    assert!(words("mistakes go away; it takes what is away").is_empty());
}

/// The given up words of a line, in the order of the table.
fn found(line: &str) -> Vec<(&'static str, &'static str)> {
    let lower = line.to_lowercase();
    let all = GIVEN_UP.iter().flat_map(|(words, instead)| words.iter().map(|word| (*word, *instead)));
    all.filter(|(word, _)| {
        let text = if word.starts_with(char::is_uppercase) { line } else { &lower };
        let (first, then) = word.split_once(" … ").unwrap_or((word, ""));
        after(text, first).any(|rest| {
            // Not where somebody takes what is away.
            let near = |behind: &str| {
                let between = &rest[..rest.len() - behind.len() - then.len()];
                between.len() <= 60 && !between.ends_with("is ") && !between.ends_with("are ")
            };
            then.is_empty() || after(rest, then).any(near)
        })
    })
    .collect()
}

/// What follows a word wherever it is in a line.
fn after<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(word).filter_map(move |(at, _)| {
        let in_word = |c: char| c.is_alphanumeric() || c == '_';
        let rest = &text[at + word.len()..];
        (!text[..at].ends_with(in_word) && !rest.starts_with(in_word)).then_some(rest)
    })
}
