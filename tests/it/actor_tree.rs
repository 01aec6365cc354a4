//! The tree of a running process is the one that docs/architecture.md and the head of `src/actors/mod.rs` show.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::{
    docs::root,
    docs_lists::tables,
    harness::{World, eventually},
};

#[tokio::test]
async fn docs_and_code_show_the_running_tree() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("keys.json"), r#"{"keys": []}"#).unwrap();
    let mut world = World::new(1).await;
    // Some actors run only where they are configured.
    let settings = [
        ("AUTH__JWKS_FILE", path("keys.json")),
        ("OBJECTS__DIRECTORY", path("exports")),
        ("OBJECTS__ALLOW_UNENCRYPTED", "true".to_owned()),
        ("MAINTENANCE__ENABLED", "true".to_owned()),
        ("CONSOLE__OIDC_ISSUER", "https://issuer.test".to_owned()),
        ("CONSOLE__OIDC_CLIENT_ID", "analytics".to_owned()),
    ];
    world.set_all(settings.map(|(key, value)| (format!("ANALYTICS__{key}"), value)));
    let service = world.serve().await;
    let running = eventually("the partition runs", async || {
        let names = names(&service.actors().await["actors"]);
        names.contains("writer/n").then_some(names)
    })
    .await;

    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let rows = tables(&page, "actor").into_iter().map(|row| row[0].to_owned());
    let mut table: BTreeSet<String> = rows.filter(|name| name != "the supervisor").collect();
    // A group and not an actor.
    table.insert("partition/n".to_owned());
    assert_eq!(table, running, "the table of actors on the left, the running process on the right");

    let head = fs::read_to_string(root().join("src/actors/mod.rs")).unwrap();
    let picture = head.split("```").find(|block| block.starts_with("text\n//! supervisor")).unwrap();
    let names = picture.lines().skip(2).filter_map(|line| line.trim_start_matches("//!").split_whitespace().next());
    assert_eq!(names.map(str::to_owned).collect::<BTreeSet<_>>(), running, "src/actors/mod.rs on the left");

    let picture = page.split("```").find(|block| block.starts_with("mermaid\nflowchart TD")).unwrap();
    let shown: BTreeSet<&str> = picture.split(|c: char| !(c.is_ascii_lowercase() || "/-".contains(c))).collect();
    let missing: Vec<_> = running.iter().filter(|name| !shown.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "the picture of the tree lacks {missing:?}");
}

/// Names of the actors and of those below them, without their numbers.
fn names(actors: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for actor in actors.as_array().into_iter().flatten() {
        let name = actor["name"].as_str().unwrap();
        found.insert(match name.split_once('/') {
            Some((role @ ("query" | "export"), _)) => format!("{role}/k"),
            Some((role, _)) => format!("{role}/n"),
            None => name.to_owned(),
        });
        found.extend(names(&actor["children"]));
    }
    found
}
