//! Rust sources as their tokens: what is code, and what is in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A file of a crate, without its comments and its tests.
#[derive(Debug)]
pub struct Source {
    /// The path of the file.
    pub path: PathBuf,
    text: String,
    tokens: Vec<TokenTree>,
    /// The names of the modules that are in files of their own and compiled for tests only.
    test_modules: Vec<String>,
}

/// Every source file below a folder, in the order of their paths. Modules that are compiled for
/// tests or for the fuzzer only are left out, with the files below them.
#[must_use]
pub fn below(folder: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    collect(folder, &mut found);
    let test_modules: Vec<PathBuf> = found.iter().flat_map(Source::test_modules).collect();
    found.retain(|source| {
        let mut module = source.path.with_extension("");
        if module.ends_with("mod") {
            module.pop();
        }
        !test_modules.iter().any(|tests| module.starts_with(tests))
    });
    assert!(
        !found.is_empty(),
        "no source file below {}",
        folder.display()
    );
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

impl Source {
    /// Reads a file.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        Self::parse(path, text)
    }

    fn parse(path: &Path, text: String) -> Self {
        let tokens = TokenStream::from_str(&text)
            .unwrap_or_else(|error| panic!("{} is not Rust: {error}", path.display()));
        let mut test_modules = Vec::new();
        Self {
            path: path.to_owned(),
            tokens: without_tests(tokens, &mut test_modules),
            text,
            test_modules,
        }
    }

    /// The paths of the modules that are compiled for tests only, without the ending of a file.
    fn test_modules(&self) -> impl Iterator<Item = PathBuf> {
        let mut folder = self.path.with_extension("");
        if ["mod", "lib", "main"]
            .iter()
            .any(|root| folder.ends_with(root))
        {
            folder.pop();
        }
        self.test_modules.iter().map(move |name| folder.join(name))
    }

    /// The text as it is, with comments and tests.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many lines have a token of code on them. Blank lines, comments and tests have none.
    #[must_use]
    pub fn code_lines(&self) -> usize {
        let mut lines = BTreeSet::new();
        let text: Vec<&str> = self.text.lines().collect();
        count(&self.tokens, &text, &mut lines);
        lines.len()
    }

    /// Whether a word is a token of the code.
    #[must_use]
    pub fn has_word(&self, word: &str) -> bool {
        let mut found = false;
        visit(&self.tokens, &mut |tokens| {
            found |= tokens.iter().any(|token| is_word(token, word));
        });
        found
    }

    /// The names of the structs and enums that the file defines.
    #[must_use]
    pub fn types(&self) -> Vec<String> {
        let mut names = Vec::new();
        visit(&self.tokens, &mut |tokens| {
            for pair in tokens.windows(2) {
                if let [keyword, TokenTree::Ident(name)] = pair
                    && (is_word(keyword, "struct") || is_word(keyword, "enum"))
                {
                    names.push(name.to_string());
                }
            }
        });
        names
    }

    /// The types for which the file implements a trait, by the last words of both paths.
    #[must_use]
    pub fn implementors(&self, implemented: &str) -> Vec<String> {
        let mut names = Vec::new();
        visit(&self.tokens, &mut |tokens| {
            for window in tokens.windows(3) {
                if let [name, middle, TokenTree::Ident(implementor)] = window
                    && is_word(name, implemented)
                    && is_word(middle, "for")
                {
                    names.push(implementor.to_string());
                }
            }
        });
        names
    }
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(Source::read(&path));
        }
    }
}

/// The tokens without the items that are compiled for tests only. `modules` takes the names of the
/// modules among them that are in files of their own.
fn without_tests(tokens: TokenStream, modules: &mut Vec<String>) -> Vec<TokenTree> {
    let mut kept: Vec<TokenTree> = Vec::new();
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        let is_attribute = kept.last().is_some_and(is_hash);
        match token {
            TokenTree::Group(group) if is_attribute && is_for_tests(&group) => {
                kept.pop();
                modules.extend(module(&item(&mut tokens)));
            }
            TokenTree::Group(group) => {
                let inner = without_tests(group.stream(), modules);
                let mut new = Group::new(group.delimiter(), inner.into_iter().collect());
                new.set_span(group.span());
                kept.push(TokenTree::Group(new));
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => kept.push(token),
        }
    }
    kept
}

/// Takes the tokens to the end of an item.
fn item(tokens: &mut impl Iterator<Item = TokenTree>) -> Vec<TokenTree> {
    let mut item = Vec::new();
    for token in tokens {
        let is_use = item.iter().any(|token| is_word(token, "use"));
        let is_end = ends_item(&token, is_use);
        item.push(token);
        if is_end {
            break;
        }
    }
    item
}

/// The name of the module, where the item is `mod name;`.
fn module(item: &[TokenTree]) -> Option<String> {
    match item {
        [.., keyword, TokenTree::Ident(name), TokenTree::Punct(_)] if is_word(keyword, "mod") => {
            Some(name.to_string())
        }
        _ => None,
    }
}

fn is_hash(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == '#')
}

fn is_for_tests(attribute: &Group) -> bool {
    let text = attribute.stream().to_string().replace(' ', "");
    attribute.delimiter() == Delimiter::Bracket
        && matches!(
            text.as_str(),
            "cfg(test)" | "cfg(any(test,fuzzing))" | "cfg(fuzzing)"
        )
}

/// An item ends with its body, or with a semicolon.
fn ends_item(token: &TokenTree, is_use: bool) -> bool {
    match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && !is_use,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    }
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

/// Shows the tokens of the file and of each group in it, side by side.
fn visit(tokens: &[TokenTree], see: &mut impl FnMut(&[TokenTree])) {
    see(tokens);
    for token in tokens {
        if let TokenTree::Group(group) = token {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            visit(&inner, see);
        }
    }
}

/// Notes the lines of the tokens. A doc comment comes as the attribute that it stands for, with the
/// place of the comment.
fn count(tokens: &[TokenTree], text: &[&str], lines: &mut BTreeSet<usize>) {
    for token in tokens {
        if is_comment(token, text) {
            continue;
        }
        if let TokenTree::Group(group) = token {
            lines.insert(group.span_open().start().line);
            lines.insert(group.span_close().end().line);
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            count(&inner, text, lines);
        } else {
            let span = token.span();
            lines.extend(span.start().line..=span.end().line);
        }
    }
}

fn is_comment(token: &TokenTree, text: &[&str]) -> bool {
    let start = token.span().start();
    let mut here = text[start.line - 1].chars().skip(start.column);
    let is_slash = here.next() == Some('/');
    is_slash && !matches!(token, TokenTree::Punct(punct) if punct.as_char() == '/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::parse(Path::new("source.rs"), text.to_owned())
    }

    #[test]
    fn comments_blank_lines_and_tests_are_no_code() {
        let code = source(
            "//! A file.\n\n/// A function.\n#[must_use] // why\npub fn half(of: u32) -> u32 {\n\
             \n    /* more */\n    of\n        / 2\n}\n\n#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n",
        );
        assert_eq!(code.code_lines(), 5);
        assert!(!code.has_word("tests"));
        assert!(code.has_word("half"));
        assert_eq!(source("const TEXT: &str = \"\n\n\";\n").code_lines(), 3);
        assert_eq!(
            source("#[cfg(test)]\nuse a::{b, c};\nuse d;\n").code_lines(),
            1
        );
    }

    #[test]
    fn modules_for_tests_are_left_out_with_their_files() {
        let names = |path: &str| {
            let text = "#[cfg(test)]\nmod tests;\n#[cfg(any(test, fuzzing))]\npub(crate) mod fuzz;\n\
                        #[cfg(test)]\nmod inner {}\nmod shipped;\n";
            let source = Source::parse(Path::new(path), text.to_owned());
            assert_eq!(source.code_lines(), 1);
            source.test_modules().collect::<Vec<_>>()
        };
        let folder = ["src/a/tests", "src/a/fuzz"].map(PathBuf::from);
        assert_eq!(names("src/a/mod.rs"), folder);
        assert_eq!(names("src/a.rs"), folder);
    }

    #[test]
    fn types_and_what_they_implement_are_found() {
        let code = source(
            "pub(crate) enum ReadError<E> { One(E) }\nmod inner { struct Other; }\n\
             impl<E> std::error::Error for ReadError<E> {}\n",
        );
        assert_eq!(code.types(), ["ReadError", "Other"]);
        assert_eq!(code.implementors("Error"), ["ReadError"]);
        assert_eq!(code.implementors("Display"), Vec::<String>::new());
    }
}
