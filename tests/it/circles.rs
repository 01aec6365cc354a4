//! No circles between files: a reader of one need not know the other first. Found by reading the paths of the source.
//!
//! A file in a folder may use what the folder's head (`mod.rs`) has: they are one module in several files. Tests are left out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::Path,
};

use crate::harness::files::with_extension;

/// A path within the crate, in segments.
type Module = Vec<String>;

#[test]
fn no_files_use_each_other() {
    let circles = circles(&source());
    assert!(circles.is_empty(), "move what both need into a file of its own:\n{}", circles.join("\n"));
}

#[test]
fn circles_are_found_through_reexports_and_inline_paths() {
    let circles_of = |files: &[(&str, &str)]| {
        circles(&files.iter().map(|(module, text)| (segments(module), (*text).to_owned())).collect())
    };
    let head = "pub mod a;\npub mod b;\npub mod c;\npub use self::c::Thing;\n";
    let three = [
        ("m", head),
        ("m::a", "use super::b::{self, Other as O};\n"),
        ("m::b", "fn f(x: crate::m::c::Thing) {}\n"),
        ("m::c", "use std::fmt;\npub struct Thing(super::a::A);\n"),
    ];
    assert_eq!(circles_of(&three), ["m::a -> m::b -> m::c -> m::a"]);
    let reexported = [("m", head), ("m::a", "use crate::m::{Thing};"), ("m::c", "use super::{\n    a::{A},\n};")];
    assert_eq!(circles_of(&reexported), ["m::a -> m::c -> m::a"]);
    let head_and_own = [("m", head), ("m::a", "use super::Mine;"), ("m::b", "use super::a;"), ("m::c", "")];
    assert_eq!(circles_of(&head_and_own), [""; 0]);
}

/// The text of every module, without comments and tests.
fn source() -> BTreeMap<Module, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeMap::new();
    for file in with_extension(&source, "rs") {
        let name = file.strip_prefix(&source).unwrap().with_extension("").to_string_lossy().replace('/', "::");
        let module: Module =
            segments(&name).into_iter().filter(|segment| segment != "mod" && segment != "lib").collect();
        if name == "main" || module.iter().any(|segment| segment == "tests") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        modules.insert(module, lines.join("\n"));
    }
    modules
}

/// Each circle once, as the shortest way around.
fn circles(modules: &BTreeMap<Module, String>) -> Vec<String> {
    let imports: BTreeMap<&Module, Vec<Import>> =
        modules.iter().map(|(module, text)| (module, imports(module, text, modules))).collect();
    let mut names = BTreeMap::new();
    for (module, imports) in &imports {
        for import in imports {
            if let Some(name) = &import.name {
                names.insert([module.as_slice(), std::slice::from_ref(name)].concat(), import.path.clone());
            }
        }
    }
    let mut uses: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for (module, imports) in &imports {
        let used = imports.iter().filter_map(|import| home(&import.path, modules, &names, 0));
        uses.entry(module).or_default().extend(used.filter(|used| !module.starts_with(used)));
    }
    let mut found: BTreeMap<BTreeSet<&Module>, String> = BTreeMap::new();
    for start in modules.keys() {
        if let Some(way) = way_around(start, &uses) {
            let text: Vec<String> = way.iter().map(|module| module.join("::")).collect();
            found.entry(way.into_iter().collect()).or_insert_with(|| text.join(" -> "));
        }
    }
    found.into_values().collect()
}

fn way_around<'a>(start: &'a Module, uses: &BTreeMap<&'a Module, BTreeSet<&'a Module>>) -> Option<Vec<&'a Module>> {
    let mut before: BTreeMap<&'a Module, &'a Module> = BTreeMap::new();
    let mut next = VecDeque::from([start]);
    while let Some(module) = next.pop_front() {
        for used in uses.get(module).into_iter().flatten() {
            if *used == start {
                let mut way = vec![start, module];
                while let Some(module) = way.last().filter(|module| **module != start).and_then(|last| before.get(last))
                {
                    way.push(module);
                }
                way.reverse();
                return Some(way);
            }
            if !before.contains_key(used) {
                before.insert(used, module);
                next.push_back(used);
            }
        }
    }
    None
}

/// The module that has what a path names, behind re-exports.
fn home<'a>(
    path: &[String],
    modules: &'a BTreeMap<Module, String>,
    names: &BTreeMap<Module, Module>,
    depth: usize,
) -> Option<&'a Module> {
    for length in (0..=path.len()).rev() {
        if let Some((module, _)) = modules.get_key_value(&path[..length]) {
            let shown = path.get(..=length).and_then(|path| names.get(path)).filter(|shown| **shown != path[..=length]);
            return match shown {
                Some(shown) if depth < 8 => home(&[shown, &path[length + 1..]].concat(), modules, names, depth + 1),
                _ => Some(module),
            };
        }
    }
    None
}

struct Import {
    path: Module,
    /// What it is called here; none where it is used in place.
    name: Option<String>,
}

fn imports(module: &Module, text: &str, modules: &BTreeMap<Module, String>) -> Vec<Import> {
    let mut found = Vec::new();
    let mut rest = String::new();
    let mut tree: Option<String> = None;
    for line in text.lines() {
        let bare = line.trim_start();
        let bare = bare.strip_prefix("pub ").or_else(|| bare.strip_prefix("pub(")?.split_once(") ").map(|(_, b)| b));
        let begun = bare.unwrap_or(line.trim_start()).strip_prefix("use ");
        match (&mut tree, begun) {
            (Some(tree), _) => tree.push_str(line.trim()),
            (None, Some(begun)) => tree = Some(begun.to_owned()),
            (None, None) => rest = rest + line + "\n",
        }
        if let Some(whole) = tree.take_if(|tree| tree.trim_end().ends_with(';')) {
            let mut leaves = Vec::new();
            collect(whole.trim_end().trim_end_matches(';'), &[], &mut leaves);
            let known = |(path, name): (Module, String)| {
                Some(Import { path: absolute(module, &path, modules)?, name: Some(name) })
            };
            found.extend(leaves.into_iter().filter_map(known));
        }
    }
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let paths =
        rest.split(|c: char| !part(c)).filter(|path| path.starts_with("crate::") || path.starts_with("super::"));
    found.extend(
        paths.filter_map(|path| Some(Import { path: absolute(module, &segments(path), modules)?, name: None })),
    );
    found
}

/// The leaves of a `use` tree: each path, and its name here.
fn collect(tree: &str, prefix: &[String], leaves: &mut Vec<(Module, String)>) {
    let Some((head, group)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
        let mut path = [prefix, &segments(path)].concat();
        path.pop_if(|last| path_ends(last));
        let name = if alias.is_empty() { path.last().cloned().unwrap_or_default() } else { alias.trim().to_owned() };
        leaves.push((path, name));
        return;
    };
    let prefix = [prefix, &segments(head)].concat();
    let (mut depth, mut start) = (0, 0);
    let group = group.rsplit_once('}').map_or(group, |(group, _)| group);
    for (i, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[start..i].trim().is_empty() {
                    collect(group[start..i].trim(), &prefix, leaves);
                }
                start = i + 1;
            }
            _ => {}
        }
    }
}

/// The module itself, or everything in it.
fn path_ends(last: &str) -> bool {
    last == "self" || last == "*"
}

/// From the crate's root; none where the path leads out of the crate.
fn absolute(module: &Module, path: &[String], modules: &BTreeMap<Module, String>) -> Option<Module> {
    let above = path.iter().take_while(|segment| *segment == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => Some([module.get(..module.len().checked_sub(above)?)?, &path[above..]].concat()),
        first => {
            let child = [module.as_slice(), &[first.to_owned()]].concat();
            modules.contains_key(&child).then(|| [child.as_slice(), &path[1..]].concat())
        }
    }
}

fn segments(path: &str) -> Module {
    path.split("::").map(str::trim).filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
}
