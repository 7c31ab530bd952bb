//! Names by number: a function's name stands once, however many lines have it.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::limits::{NAME_BYTES_MAX, NAMES_MAX, OTHER};

/// The number of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name(u32);

impl Name {
    /// A name that is not known.
    pub(crate) const UNKNOWN: Self = Self(0);
}

/// All names.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    numbers: HashMap<Box<str>, Name>,
    texts: Vec<Box<str>>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            numbers: HashMap::from([("".into(), Name::UNKNOWN)]),
            texts: vec!["".into()],
        }
    }
}

impl Names {
    /// The number of `text`, which is cut where it is too long.
    pub(crate) fn name(&mut self, text: &str) -> Name {
        let text = &*shown(text);
        let end = text.floor_char_boundary(NAME_BYTES_MAX);
        let text = text.get(..end).unwrap_or_default();
        if let Some(name) = self.numbers.get(text) {
            return *name;
        }
        if NAMES_MAX <= self.texts.len() && text != OTHER {
            return self.name(OTHER);
        }
        let Ok(number) = u32::try_from(self.texts.len()) else {
            return Name::UNKNOWN;
        };
        self.texts.push(text.into());
        self.numbers.insert(text.into(), Name(number));
        Name(number)
    }

    /// The text of a name; empty for one that is not known.
    pub(crate) fn text(&self, name: Name) -> &str {
        let text = self.texts.get(name.0 as usize);
        text.map(AsRef::as_ref).unwrap_or_default()
    }
}

/// The text with a mark in the place of each control character, which a terminal would obey.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        text.replace(char::is_control, "\u{fffd}").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_and_long_ones_are_cut() {
        let mut names = Names::default();
        let (a, b) = (names.name("a"), names.name("b"));
        assert_eq!((names.name("a"), names.name("")), (a, Name::UNKNOWN));
        assert_ne!(a, b);
        assert_eq!(names.text(b), "b");
        let escape = names.name("\u{1b}[2J");
        assert_eq!(names.text(escape), "\u{fffd}[2J");
        let long = names.name(&"é".repeat(NAME_BYTES_MAX));
        assert_eq!(names.text(long), "é".repeat(NAME_BYTES_MAX / 2));
    }

    #[test]
    fn names_without_room_share_one() {
        let mut names = Names::default();
        for number in 0..NAMES_MAX + 5 {
            names.name(&number.to_string());
        }
        let late = names.name("late");
        assert_eq!(names.text(late), OTHER);
        assert!(names.texts.len() <= NAMES_MAX + 1);
    }
}
