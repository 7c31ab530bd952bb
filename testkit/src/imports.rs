//! The imports among the files of a crate, read from their text.
//!
//! A file imports another if a path that begins with `crate`, `super` or `self` leads into it, be
//! it in a `use` or in an expression. `mod` declarations, comments and test modules do not count,
//! and neither do the paths of `lib.rs` and `main.rs`, which stand above all others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Which module imports which; a module is named by its path without `crate::`.
#[derive(Debug, Default)]
pub struct Imports {
    modules: BTreeMap<String, BTreeSet<String>>,
}

impl Imports {
    /// Reads every file below the folder of a crate's root.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let mut texts = BTreeMap::new();
        collect(root, "", &mut texts);
        assert!(!texts.is_empty(), "no module below {}", root.display());
        let tests: Vec<String> = texts
            .iter()
            .flat_map(|(module, text)| test_modules(text).map(move |name| join(module, name)))
            .collect();
        texts.retain(|module, _| {
            let is_below = |test: &String| module.strip_prefix(test.as_str());
            !tests
                .iter()
                .filter_map(is_below)
                .any(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        let modules = texts.iter().map(|(module, text)| {
            let paths = paths(module, &code(text));
            let imported = paths.iter().filter_map(|path| owner(path, &texts));
            (
                module.clone(),
                imported.filter(|other| other != module).collect(),
            )
        });
        Self {
            modules: modules.collect(),
        }
    }

    /// The same with folders in place of files: a module counts as the first part of its path.
    #[must_use]
    pub fn folders(&self) -> Self {
        let folder = |module: &str| module.split("::").next().unwrap().to_owned();
        let mut folders = Self::default();
        for (module, imported) in &self.modules {
            let from = folder(module);
            let to = imported.iter().map(|other| folder(other));
            let to: Vec<String> = to.filter(|other| *other != from).collect();
            folders.modules.entry(from).or_default().extend(to);
        }
        folders
    }

    /// The modules that one module imports.
    pub fn of(&self, module: &str) -> impl Iterator<Item = &str> {
        self.modules[module].iter().map(String::as_str)
    }

    /// A circle, if there is one: each module imports the next, the last one the first.
    #[must_use]
    pub fn circle(&self) -> Option<Vec<&str>> {
        let mut done = BTreeSet::new();
        let mut path = Vec::new();
        self.modules
            .keys()
            .find_map(|module| self.visit(module, &mut path, &mut done))
    }

    fn visit<'a>(
        &'a self,
        module: &'a str,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<&'a str>> {
        if let Some(start) = path.iter().position(|other| *other == module) {
            return Some(path.split_off(start));
        }
        if !done.insert(module) {
            return None;
        }
        path.push(module);
        let found = self
            .of(module)
            .find_map(|next| self.visit(next, path, done));
        path.pop();
        found
    }
}

/// Reads the modules of a folder, without the crate's roots and without its tests.
fn collect(folder: &Path, prefix: &str, texts: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let module = match (prefix, name) {
            (_, "tests") | ("", "lib" | "main") => continue,
            (prefix, "mod") => prefix.to_owned(),
            (prefix, name) => join(prefix, name),
        };
        if path.is_dir() {
            collect(&path, &module, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.insert(module, fs::read_to_string(&path).unwrap());
        }
    }
}

/// The text without comments and without what only tests compile: a `use`, the declaration of a
/// module, and the module at the end of a file.
fn code(text: &str) -> String {
    let mut parts = text.split(ONLY_IN_TESTS);
    let mut code = parts.next().unwrap().to_owned();
    for part in parts {
        let end = part.find([';', '{']).unwrap();
        let (item, rest) = part.split_at(end);
        match declared(item) {
            Some(_) if rest.starts_with('{') => break,
            Some(_) => code.push_str(rest),
            None if item.starts_with("use ") => {
                code.push_str(part.split_once(";\n").map_or("", |(_, rest)| rest));
            }
            None => code.push_str(part),
        }
    }
    let lines = code.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules, in files of their own, that only tests compile.
fn test_modules(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(ONLY_IN_TESTS).skip(1);
    parts.filter_map(|part| declared(part.split_once(';')?.0))
}

/// The name of the module that an item declares, visible or not.
fn declared(item: &str) -> Option<&str> {
    let (_, name) = item.split_once("mod ")?;
    let name = name.trim_end();
    name.chars()
        .all(|c| c.is_alphanumeric() || c == '_')
        .then_some(name)
}

/// In front of an item.
const ONLY_IN_TESTS: &str = "#[cfg(test)]\n";

/// Every path of the text that begins at the crate's root, at the module or above it, as a path
/// from the root. Braces are taken apart.
fn paths(module: &str, code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut before = None;
    for (start, _) in code.match_indices("::") {
        let head_at = code
            .get(..start)
            .unwrap()
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_'))
            .map_or(0, |at| at + 1);
        let head = code.get(head_at..start).unwrap();
        // Inside a longer path, which was read from its own beginning; or only how far something
        // is visible.
        let front = code.get(..head_at).unwrap();
        let inside = front.ends_with("::") || front.ends_with("pub(in ");
        if inside || before.is_some_and(|end| head_at < end) {
            continue;
        }
        let base = match head {
            "crate" => String::new(),
            "self" => module.to_owned(),
            "super" => parent(module),
            _ => continue,
        };
        let mut rest = code.get(start + 2..).unwrap();
        let length = expand(&base, &mut rest, &mut paths);
        before = Some(start + 2 + length);
    }
    paths
}

/// Takes one path from the front of the text, and gives how many bytes it was.
fn expand(base: &str, text: &mut &str, paths: &mut Vec<String>) -> usize {
    let whole = text.len();
    *text = text.trim_start();
    if let Some(rest) = text.strip_prefix('{') {
        *text = rest;
        loop {
            *text = text.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if let Some(rest) = text.strip_prefix('}') {
                *text = rest;
                break;
            }
            if expand(base, text, paths) == 0 {
                break;
            }
        }
        return whole - text.len();
    }
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    *text = rest;
    let path = match (base, name) {
        (base, "super") => parent(base),
        (base, "self" | "") => base.to_owned(),
        (base, name) => join(base, name),
    };
    if let Some(rest) = text.strip_prefix("::") {
        *text = rest;
        expand(&path, text, paths);
    } else {
        // `as` gives it another name here.
        if let Some(rest) = text.strip_prefix(" as ") {
            let end = rest.find([',', ';', '}']).unwrap_or(rest.len());
            *text = rest.get(end..).unwrap();
        }
        paths.push(path);
    }
    whole - text.len()
}

fn join(module: &str, name: &str) -> String {
    match module {
        "" => name.to_owned(),
        _ => format!("{module}::{name}"),
    }
}

fn parent(module: &str) -> String {
    module
        .rsplit_once("::")
        .map_or_else(String::new, |(parent, _)| parent.to_owned())
}

/// The module that a path leads into: the longest beginning of it that is a file.
fn owner(path: &str, texts: &BTreeMap<String, String>) -> Option<String> {
    let mut path = path;
    loop {
        if texts.contains_key(path) {
            return Some(path.to_owned());
        }
        (path, _) = path.rsplit_once("::")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_every_form() {
        let code = code(
            "use crate::a::{self, b::C, d};\nuse super::e as f;\nuse std::io;\n\
             #[cfg(test)]\nuse crate::no::{No, no};\n#[cfg(test)]\npub(super) mod fixtures;\n\
             pub(in crate::no) fn x() { crate::g::h(self::i::J) } // crate::no\n\
             #[cfg(test)]\nfn only_for_tests() { crate::k() }\n\
             #[cfg(test)]\npub(super) mod tests {\n use crate::no; }",
        );
        let found = paths("m::n", &code);
        assert_eq!(
            found,
            ["a", "a::b::C", "a::d", "m::e", "g::h", "m::n::i::J", "k"]
        );
    }

    #[test]
    fn modules_of_tests_are_known() {
        let text = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\npub(super) mod c;\nmod d;\n\
                    #[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
        assert_eq!(test_modules(text).collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn a_circle_is_found() {
        let folder = std::env::temp_dir().join(format!("imports-{}", std::process::id()));
        fs::create_dir_all(folder.join("b")).unwrap();
        for (file, text) in [
            ("lib.rs", "use crate::a::A;"),
            ("a.rs", "use crate::b::c::C;"),
            ("b/mod.rs", "mod c;\n#[cfg(test)]\nmod e;"),
            ("b/e.rs", "use super::super::b::c::C;"),
            ("b/c.rs", "use super::super::d::{D, e};"),
            ("d.rs", "fn d() { crate::a::f() }"),
        ] {
            fs::write(folder.join(file), text).unwrap();
        }
        let imports = Imports::read(&folder);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(imports.circle(), Some(vec!["a", "b::c", "d"]));
        assert_eq!(imports.folders().circle(), Some(vec!["a", "b", "d"]));
    }
}
