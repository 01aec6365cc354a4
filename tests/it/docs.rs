//! The pages of the documentation: what they link to is there, and every page is linked.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use crate::harness::files::with_extension;

#[test]
fn every_link_leads_to_a_page_and_heading() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { beside(&page, file) };
            match fs::read_to_string(root().join(&target)) {
                Ok(text) if anchor.is_empty() || headings(&text).contains(anchor) => {}
                Ok(_) => wrong.push(format!("{}: {link}: no such heading", page.display())),
                Err(_) if anchor.is_empty() && root().join(&target).exists() => {}
                Err(error) => wrong.push(format!("{}: {link}: {error}", page.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_page_is_linked() {
    let mut linked = BTreeSet::from([PathBuf::from("README.md")]);
    let pages = pages();
    for page in &pages {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let targets =
            links(&text).into_iter().filter_map(|link| link.split('#').next()).filter(|file| !file.is_empty());
        linked.extend(targets.map(|file| beside(page, file)).filter(|target| target != page));
    }
    let alone: Vec<_> = pages.iter().filter(|page| !linked.contains(*page)).collect();
    assert!(alone.is_empty(), "{alone:?}");
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages at the root, those of deploy/ and of the load profiles, and all below docs/, from the root.
pub fn pages() -> Vec<PathBuf> {
    let mut pages = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(PathBuf::from).to_vec();
    let folders = ["argocd", "grafana", "helm/analytics-service", "local", "prometheus"];
    pages.extend(folders.map(|folder| format!("deploy/{folder}/README.md").into()));
    pages.push("load-tests/README.md".into());
    pages.extend(with_extension(root().join("docs"), "md").map(|page| page.strip_prefix(root()).unwrap().to_owned()));
    pages
}

/// Where a relative link of a page leads, from the root.
fn beside(page: &Path, file: &str) -> PathBuf {
    let mut target = PathBuf::new();
    for component in page.parent().unwrap().join(file).components() {
        match component {
            Component::ParentDir => assert!(target.pop(), "{}: {file} leads out of the project", page.display()),
            other => target.push(other),
        }
    }
    target
}

/// Targets within the project, outside of code.
fn links(text: &str) -> Vec<&str> {
    let mut code = false;
    let prose = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !fence && !code && !line.starts_with("    ")
    });
    let targets = prose.flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
    targets.filter(|link| !link.contains("://")).collect()
}

/// The anchors that a reader's browser finds: words of a heading in lower case, joined by hyphens.
fn headings(text: &str) -> BTreeSet<String> {
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    let anchor = |title: &str| title.to_lowercase().chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-");
    titles.map(anchor).collect()
}
