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
}

/// Every source file below a folder, in the order of their paths. Files of tests, which are named
/// `tests.rs` or lie in a folder `tests`, are left out.
#[must_use]
pub fn below(folder: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    collect(folder, &mut found);
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
        Self {
            path: path.to_owned(),
            tokens: without_tests(tokens),
            text,
        }
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
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(Source::read(&path));
        }
    }
}

/// The tokens without the items that are compiled for tests only.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let mut kept: Vec<TokenTree> = Vec::new();
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        let is_attribute = kept.last().is_some_and(is_hash);
        match &token {
            TokenTree::Group(group) if is_attribute && is_for_tests(group) => {
                kept.pop();
                let mut is_use = false;
                tokens.by_ref().find(|token| {
                    is_use |= is_word(token, "use");
                    ends_item(token, is_use)
                });
            }
            TokenTree::Group(group) => kept.push(TokenTree::Group(inside(group))),
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => kept.push(token),
        }
    }
    kept
}

/// A group without the tests in it, at its place.
fn inside(group: &Group) -> Group {
    let kept = without_tests(group.stream()).into_iter().collect();
    let mut new = Group::new(group.delimiter(), kept);
    new.set_span(group.span());
    new
}

fn is_hash(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == '#')
}

fn is_for_tests(attribute: &Group) -> bool {
    attribute.delimiter() == Delimiter::Bracket
        && attribute.stream().to_string().replace(' ', "") == "cfg(test)"
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
