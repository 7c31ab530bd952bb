//! Rules of the house that the compiler does not check, held against the sources and documents.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::imports::Imports;
use testkit::source::{self, Source};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of the repository that end like this, by their paths from its root.
fn files(ending: &str) -> Vec<String> {
    let mut command = Command::new("git");
    command.current_dir(root()).args(["ls-files", "--cached"]);
    command.args(["--others", "--exclude-standard"]);
    let listed = command.output().unwrap();
    assert!(listed.status.success(), "{command:?}");
    let names = String::from_utf8(listed.stdout).unwrap();
    let names = names.lines().filter(|name| name.ends_with(ending));
    // A file that was deleted and not yet committed is still listed.
    let names = names.filter(|name| root().join(name).exists());
    let names: Vec<String> = names.map(str::to_owned).collect();
    assert!(!names.is_empty(), "no file ends with {ending}");
    names
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn name(source: &Source) -> String {
    let name = source.path.strip_prefix(root()).unwrap();
    name.to_str().unwrap().to_owned()
}

/// Everything that ships: the binary and what `layer/build` links to it.
fn shipped() -> Vec<Source> {
    let folders = [root().join("src"), root().join("layer/link/src")];
    folders
        .iter()
        .flat_map(|folder| source::below(folder))
        .collect()
}

#[test]
fn every_folder_says_what_it_does() {
    for name in files("mod.rs") {
        let first = read(&name).lines().next().unwrap_or_default().to_owned();
        assert!(first.starts_with("//! "), "{name} begins with {first:?}");
    }
}

#[test]
fn no_comment_is_wider_than_100_columns() {
    let mut wide = Vec::new();
    for name in files("") {
        let Ok(text) = fs::read_to_string(root().join(&name)) else {
            continue;
        };
        let ends = [".rs", ".sh", ".py", ".toml"];
        // A script has no ending where it is a command.
        if !ends.iter().any(|end| name.ends_with(end)) && !text.starts_with("#!") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let text = line.trim_start();
            let is_comment = text.starts_with("//") || text.starts_with("# ");
            // A link cannot be broken.
            if is_comment && 100 < line.chars().count() && !line.contains("://") {
                wide.push(format!("{name}:{}", number + 1));
            }
        }
    }
    assert_eq!(wide, Vec::<String>::new());
}

#[test]
fn unsafe_is_where_nothing_else_will_do() {
    let sources = shipped();
    let found = sources.iter().filter(|source| source.has_word("unsafe"));
    let mut found: Vec<String> = found.map(name).collect();
    found.sort();
    assert_eq!(found, UNSAFE);
}

/// The files with `unsafe` in the order of their paths. Each has its proof in it.
const UNSAFE: [&str; 15] = [
    "layer/link/src/heap.rs",
    "layer/link/src/memory.rs",
    "layer/link/src/stubs.rs",
    "src/main.rs",
    "src/runtime/executable/spawn.rs",
    "src/runtime/hooks/shutdown.rs",
    "src/runtime/macros.rs",
    "src/runtime/process_one.rs",
    "src/runtime/trace.rs",
    "src/runtime/workers/board.rs",
    "src/runtime/workers/process.rs",
    "src/shared/os/child.rs",
    "src/shared/os/mod.rs",
    "src/shared/os/reexec.rs",
    "src/shared/os/start.rs",
];

#[test]
fn files_import_each_other_without_a_circle() {
    let imports = Imports::read(&root().join("src"));
    assert_eq!(imports.circle(), None);
    assert_eq!(imports.folders().circle(), None);
}

#[test]
fn every_error_is_an_error_of_the_standard_library() {
    let sources = source::below(&root().join("src"));
    let implementors: Vec<String> = sources
        .iter()
        .flat_map(|source| source.implementors("Error"))
        .collect();
    // Named as one, or used as one.
    let is_returned = |name: &str| {
        let end = format!(", {name}>");
        let mut lines = sources.iter().flat_map(|source| source.text().lines());
        lines.any(|line| line.contains("Result<") && line.contains(&end))
    };
    let errors = sources.iter().flat_map(Source::types);
    let errors = errors.filter(|name| name.ends_with("Error") || is_returned(name));
    let others: BTreeSet<String> = errors.filter(|name| !implementors.contains(name)).collect();
    assert_eq!(others, BTreeSet::from(OTHERS.map(str::to_owned)));
}

/// `Error` takes any other error by `?`, which an error of the standard library cannot; `AnyError`
/// and `Boxed` are marks of a macro. `Answered` is the proof that an invocation has its answer, and
/// `Stop` the order to end the loop. `Stopped` is an error only to those who waited for something
/// else.
const OTHERS: [&str; 6] = ["AnyError", "Answered", "Boxed", "Error", "Stop", "Stopped"];

/// The first block of code that begins with this line, in a Markdown text.
fn first_code(text: &str, begin: &str) -> String {
    let (_, code) = text.split_once(begin).unwrap();
    code.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_readme_and_the_crate_show_the_same_function() {
    let crate_doc = read("src/lib.rs");
    let lines = crate_doc.lines().map_while(|line| line.strip_prefix("//!"));
    let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let crate_doc: String = lines.flat_map(|line| [line, "\n"]).collect();
    let shown = first_code(&crate_doc, "```no_run\n");
    assert_eq!(shown, first_code(&read("README.md"), "```rust\n"));
}

/// Paths that a document names: words that begin with a folder of this repository, and the targets
/// of links.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_alphanumeric() || "_-./…$".contains(c);
    let words = text.split(move |c: char| !is_part(c));
    let words = words.filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)));
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split([')', '#']).next());
    words
        .map(|word| word.trim_end_matches('.'))
        .chain(targets.filter(|path| !path.is_empty() && !path.contains("://")))
}

/// Folders that documents name.
const FOLDERS: [&str; 11] = [
    ".ci/",
    "benches/",
    "docs/",
    "emulator/",
    "examples/",
    "fuzz/",
    "layer/",
    "report/",
    "src/",
    "testkit/",
    "tests/",
];

#[test]
fn documents_name_files_that_exist() {
    for name in files(".md") {
        let text = read(&name);
        // The name of a file that the reader makes stands alone on its line.
        let is_made = |line: &&str| line.starts_with('`') && line.ends_with("`:");
        let lines = text.lines().filter(|line| !is_made(line));
        let text = lines.collect::<Vec<_>>().join("\n");
        let folder = root().join(&name).parent().unwrap().to_owned();
        for path in paths(&text) {
            let places: [PathBuf; 2] = [folder.join(path), root().join(path)];
            assert!(
                places.iter().any(|place| place.exists()),
                "{path} in {name}"
            );
        }
    }
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_to_headings_that_exist() {
    let mut found = 0;
    for name in files(".md") {
        let text = read(&name);
        let folder = root().join(&name).parent().unwrap().to_owned();
        let targets = text.split("](").skip(1);
        let targets = targets.filter_map(|rest| rest.split_once(')')?.0.split_once('#'));
        for (path, to) in targets.filter(|(path, _)| !path.contains("://")) {
            let document = match path {
                "" => text.clone(),
                path => fs::read_to_string(folder.join(path)).unwrap(),
            };
            let headings = document.lines().filter(|line| line.starts_with('#'));
            let mut headings = headings.map(anchor);
            assert!(
                headings.any(|heading| heading == to),
                "{path}#{to} in {name}"
            );
            found += 1;
        }
    }
    assert!(50 < found, "{found}");
}

/// The types of errors that a line names between quotes, such as `Function.Panic`.
fn error_types(line: &str) -> impl Iterator<Item = &str> {
    let is_kind = |kind: &str| ["Runtime", "Function", "Extension"].contains(&kind);
    line.split('"').skip(1).step_by(2).filter(move |text| {
        let (kind, name) = text.split_once('.').unwrap_or_default();
        is_kind(kind) && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Callers match on them: SECURITY.md says so.
#[test]
fn error_types_of_the_runtime_are_documented() {
    let documents: String = files(".md").iter().map(|name| read(name)).collect();
    let mut found = BTreeSet::new();
    for source in source::below(&root().join("src/runtime")) {
        // Tests are at the end of a file, and have types of their own.
        let text = source.text().split("#[cfg(test)]\nmod ").next().unwrap();
        for line in text.lines() {
            for error_type in error_types(line) {
                let is_documented = documents.contains(&format!("`{error_type}`"));
                assert!(
                    is_documented,
                    "no document has {error_type}, of {}",
                    name(&source)
                );
                found.insert(error_type.to_owned());
            }
        }
    }
    assert!(20 < found.len(), "{found:?}");
}

#[test]
fn every_manifest_has_the_licence() {
    for name in files("Cargo.toml") {
        // What a user makes of the template is the user's.
        let is_ours = name != "layer/template/Cargo.toml";
        let text = read(&name);
        let has = [
            "license = \"MIT OR Apache-2.0\"",
            "license.workspace = true",
        ];
        assert!(
            !is_ours || has.iter().any(|line| text.contains(line)),
            "{name}"
        );
    }
}

/// The rows of the tables of a document, in cells. Their headings are rows, too.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("| "));
    lines.map(|line| {
        line.trim_end_matches('|')
            .split(" | ")
            .map(str::trim)
            .collect()
    })
}

/// The texts between backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn everything_that_holds_a_promise_exists() {
    let mut tests = BTreeSet::new();
    for name in files(".rs") {
        let text = read(&name);
        for after in text.split("#[test]").skip(1) {
            let function = after.split_once("fn ").unwrap_or_default().1;
            tests.extend(function.split_once('(').map(|(name, _)| name.to_owned()));
        }
    }
    let (specification, run) = (read("SPECIFICATION.md"), read(".ci/run"));
    let mut held = 0;
    let promises = specification.split("## Threat model").next().unwrap();
    for row in rows(promises) {
        let promise = row.first().unwrap();
        let holders: Vec<&str> = names(row.last().unwrap()).collect();
        let is_heading = row.last() == Some(&"held by");
        let is_pending = row.last().unwrap().starts_with("*pending*");
        assert!(is_heading || is_pending || !holders.is_empty(), "{promise}");
        for holder in holders {
            let (path, step) = holder.split_once(' ').unwrap_or((holder, ""));
            let exists = match path.contains('/') {
                true => root().join(path).exists() && run.contains(&format!("step_{step}")),
                false => tests.contains(holder) || holder == "bantam-emulator conform",
            };
            assert!(exists, "{promise} {holder}");
            held += 1;
        }
    }
    assert!(60 < held, "{held}");
}

#[test]
fn the_sizes_that_are_promised_are_the_ones_that_are_held() {
    let (specification, layer) = (read("SPECIFICATION.md"), read(".ci/layer"));
    for (limit, promise) in [
        ("stock_bytes_max=", "The stock binary is small."),
        ("hello_bytes_max=", "A typed function is small."),
    ] {
        let held = layer.lines().find_map(|line| line.strip_prefix(limit));
        let row = rows(&specification).find(|row| row.first() == Some(&promise));
        let figure = row.unwrap()[1].replace(',', "");
        let expected = format!("at most {} bytes", held.unwrap());
        assert!(
            figure.starts_with(&expected),
            "{promise} {figure}, {expected}"
        );
    }
}

/// The value of a constant in the sources: a product of numbers, or a duration in milliseconds.
fn value(expression: &str) -> Option<u64> {
    let (expression, unit) = match expression.split_once("from_secs(") {
        Some((_, rest)) => (rest, 1_000),
        None => (expression.split("from_millis(").last()?, 1),
    };
    let factors = expression.trim_end_matches(')').split('*');
    let factors = factors.map(|factor| factor.trim().replace('_', "").parse::<u64>());
    factors.product::<Result<u64, _>>().ok()?.checked_mul(unit)
}

#[test]
fn the_limits_of_the_document_are_those_of_the_source() {
    let mut constants = Vec::new();
    for source in shipped() {
        for line in source.text().lines() {
            let declared = line.trim_end_matches(';').split_once("const ");
            let declared = declared.and_then(|(_, rest)| rest.split_once(" = "));
            if let Some((name, value)) = declared.map(|(name, text)| (name, value(text))) {
                let name = name.split(':').next().unwrap().to_owned();
                constants.extend(value.map(|value| (name, value)));
            }
        }
    }
    let document = read("docs/limits.md");
    let mut compared = 0;
    for row in rows(&document) {
        let [what, limit, _, constant] = row[..] else {
            panic!("{row:?}");
        };
        let Some(constant) = names(constant).next() else {
            continue;
        };
        let mut words = limit.split([' ', ';']);
        let number = words.next().unwrap().replace(',', "");
        let number: u64 = number.parse().unwrap_or_else(|_| panic!("{what}: {limit}"));
        let unit = if words.next() == Some("s") { 1_000 } else { 1 };
        let stated = (constant.to_owned(), number * unit);
        assert!(constants.contains(&stated), "{what}: {stated:?}");
        compared += 1;
    }
    assert!(25 < compared, "{compared}");
}
