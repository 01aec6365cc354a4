//! The alerts of `deploy/prometheus`: each has its page, its tests and all that an operator needs, and none of these is
//! of an alert that is gone.

use std::{collections::BTreeSet, fs, process::Command};

use analytics_service::telemetry::metrics::declared;

use crate::{docs::root, harness::prometheus_tool};

pub const RULES: &str = "deploy/prometheus/alerts";
const TESTS: &str = "deploy/prometheus/tests";
const PAGES: &str = "docs/runbooks";

/// A file of rules.
pub struct Alert {
    pub name: String,
    pub rules: Vec<Rule>,
    /// What the head of the file lists.
    pub must_not: Vec<String>,
}

#[derive(Default)]
pub struct Rule {
    pub alert: String,
    pub expr: String,
    /// All else, by its key: `for`, labels, annotations.
    pub fields: Vec<(String, String)>,
}

impl Rule {
    pub fn field(&self, key: &str) -> &str {
        self.fields.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }
}

#[test]
fn every_alert_has_a_page_and_tests() {
    let names = BTreeSet::from_iter(alerts().into_iter().map(|alert| alert.name));
    assert!(names.len() >= 27, "{names:?}");
    assert_eq!(stems(TESTS, "yaml"), names, "{TESTS}");
    let mut pages = stems(PAGES, "md");
    assert!(pages.remove("README"));
    assert_eq!(pages, names, "{PAGES}");
    let index = read(&format!("{PAGES}/README.md"));
    for name in names {
        assert!(index.contains(&format!("| [{name}]({name}.md) |")), "{PAGES}/README.md: {name}");
        let tests = read(&format!("{TESTS}/{name}.yaml"));
        assert!(tests.starts_with(&format!("rule_files: [../alerts/{name}.yaml]\n")), "{name}");
    }
}

#[test]
fn every_rule_says_what_an_operator_needs() {
    for Alert { name, rules, .. } in alerts() {
        assert!(!rules.is_empty(), "{name}");
        for rule in rules {
            assert_eq!(rule.alert, name);
            assert!(["page", "ticket"].contains(&rule.field("severity")), "{name}: {}", rule.field("severity"));
            assert_eq!(rule.field("runbook_url"), format!("{PAGES}/{name}.md"));
            for key in ["for", "summary", "description"] {
                assert!(!rule.field(key).is_empty(), "{name}: {key}");
            }
        }
    }
}

#[test]
fn every_rule_fires_and_is_silent_in_tests() {
    let mut wrong = Vec::new();
    for Alert { name, rules, must_not } in alerts() {
        let tests = read(&format!("{TESTS}/{name}.yaml"));
        let cases: Vec<_> = tests.split("\n  - name: \"").skip(1).collect();
        for rule in rules {
            let labels = ["severity", "window", "scope"].map(|key| (key, rule.field(key)));
            let wanted = labels.iter().filter(|(_, value)| !value.is_empty());
            let wanted: Vec<_> = wanted.map(|(key, value)| format!("{key}: \"{value}\"")).collect();
            let fires = |line: &str| line.contains("exp_labels: ") && wanted.iter().all(|label| line.contains(label));
            if !cases.iter().any(|case| case.starts_with("fires: ") && case.lines().any(fires)) {
                wrong.push(format!("{name}: nothing fires {wanted:?}"));
            }
            // That it waits for its `for`: without it the rule is never pending, and the sample is not there.
            let pending = wanted.iter().map(|label| format!(", {}", label.replacen(": ", "=", 1))).collect::<String>();
            let pending = format!("{{alertname=\"{name}\"{pending}, alertstate=\"pending\"}}");
            if rule.field("for") != "0m" && !tests.contains(&pending) {
                wrong.push(format!("{name}: no test counts {pending}"));
            }
        }
        // That it fires at no moment of the test.
        let never = format!("expr: count_over_time(ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}}[");
        for case in must_not {
            let silent =
                |test: &&&str| test.starts_with(&format!("silent: {case}\"")) && test.contains("exp_samples: []");
            if !cases.iter().find(silent).is_some_and(|test| test.contains(&never)) {
                wrong.push(format!("{name}: no test that it is silent on {case}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Labels that are not the service's own: of the scrape, and of histograms.
const OF_SCRAPES: [&str; 5] = ["namespace", "job", "instance", "le", "exported_job"];

#[test]
fn rules_use_metrics_and_labels_that_exist() {
    let own = Vec::from_iter(declared());
    let labels_of = |name: &str| {
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let metric = own.iter().find(|metric| {
            metric.name == name || metric.kind == "histogram" && base.is_some_and(|base| metric.name == base)
        });
        metric.map(|metric| metric.labels).or((name == "up").then_some(&[]))
    };
    let mut wrong = Vec::new();
    for Alert { name, rules, .. } in alerts() {
        for rule in rules {
            let found = selectors(&rule.expr);
            assert!(!found.is_empty(), "{name}");
            let mut known = BTreeSet::from(OF_SCRAPES);
            for selector in found {
                let (metric, matchers) = selector.split_once('{').unwrap_or((&selector, ""));
                let Some(labels) = labels_of(metric) else {
                    wrong.push(format!("{name}: no metric {metric}"));
                    continue;
                };
                for label in labels_of_matchers(matchers) {
                    if !labels.contains(&label) && !OF_SCRAPES.contains(&label) {
                        wrong.push(format!("{name}: {metric} has no label {label}"));
                    }
                }
                known.extend(labels);
            }
            for label in ["by (", "on ("].iter().flat_map(|list| rule.expr.split(list).skip(1)) {
                let list = label.split(')').next().unwrap();
                let unknown = list.split(", ").filter(|label| !known.contains(label));
                wrong.extend(unknown.map(|label| format!("{name}: no metric of it has a label {label}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn labels_of_matchers(matchers: &str) -> Vec<&str> {
    // Every second part is quoted.
    let outside = matchers.split('"').step_by(2);
    outside.map(|part| part.trim_matches(|c: char| !c.is_ascii_lowercase())).filter(|part| !part.is_empty()).collect()
}

#[test]
fn promtool_accepts_rules_and_their_tests() {
    let Some(promtool) = prometheus_tool("promtool") else { return };
    for (command, folder) in [(["check", "rules"], RULES), (["test", "rules"], TESTS)] {
        let files = stems(folder, "yaml").into_iter().map(|stem| format!("{folder}/{stem}.yaml"));
        let output = Command::new(&promtool).args(command).args(files).current_dir(root()).output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success(), "{command:?}: {text}");
    }
}

/// Metrics with their matchers, as an expression has them.
pub fn selectors(expr: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = BTreeSet::new();
    for prefix in ["analytics_", "process_", "up"] {
        for (at, _) in expr.match_indices(prefix) {
            let quoted = expr[..at].matches('"').count() % 2 == 1;
            let inside = expr[..at].chars().next_back().is_some_and(word);
            let end = expr[at..].find(|c| !word(c)).map_or(expr.len(), |length| at + length);
            let whole = prefix != "up" || &expr[at..end] == "up";
            if quoted || inside || !whole {
                continue;
            }
            let matchers = expr[end..].strip_prefix('{').and_then(|rest| rest.find('}')).map_or(0, |length| length + 2);
            found.insert(expr[at..end + matchers].to_owned());
        }
    }
    found
}

#[test]
fn runbooks_have_their_sections_in_order() {
    let sections = ["Meaning", "Impact", "Diagnosis", "Mitigation", "How to know that it worked", "Walked"];
    for name in stems(PAGES, "md").into_iter().filter(|name| name != "README") {
        let page = read(&format!("{PAGES}/{name}.md"));
        assert!(page.starts_with(&format!("# {name}\n")), "{name}");
        let found: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(found, sections, "{name}");
        for (part, section) in page.split("\n## ").skip(1).zip(sections) {
            assert!(part.lines().skip(1).any(|line| !line.is_empty()), "{name}: {section} is empty");
        }
    }
}

/// Each file of rules. Their form is narrow, so that no parser of YAML is needed: `promtool` reads them as YAML.
pub fn alerts() -> Vec<Alert> {
    stems(RULES, "yaml").into_iter().map(|name| read_alert(&read(&format!("{RULES}/{name}.yaml")), name)).collect()
}

fn read_alert(text: &str, name: String) -> Alert {
    let head: Vec<_> = text.lines().map_while(|line| line.strip_prefix("# ")).collect();
    let head = head.join(" ");
    let (_, must_not) = head.split_once("Must not fire on: ").unwrap_or_else(|| panic!("{name}: must not fire on?"));
    let must_not = must_not.trim_end_matches('.').split("; ").map(str::to_owned).collect();
    let mut rules: Vec<Rule> = Vec::new();
    let mut in_expr = false;
    for line in text.lines() {
        if let Some(alert) = line.strip_prefix("      - alert: ") {
            rules.push(Rule { alert: alert.to_owned(), ..Rule::default() });
        }
        let Some(rule) = rules.last_mut() else { continue };
        let inside = line.starts_with("          ");
        if line == "        expr: |" {
            in_expr = true;
        } else if in_expr && inside {
            rule.expr.push_str(line.trim_start());
            rule.expr.push('\n');
        } else if let Some((key, value)) = line.trim_start().split_once(": ") {
            in_expr = false;
            rule.fields.push((key.to_owned(), value.trim_matches('"').to_owned()));
        } else {
            in_expr = false;
        }
    }
    Alert { name, rules, must_not }
}

/// Names of a folder's files with this extension, without it.
fn stems(folder: &str, extension: &str) -> BTreeSet<String> {
    let files = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|found| found == extension));
    files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}
