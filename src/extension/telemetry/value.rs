//! What a JSON value says.

use std::borrow::Cow;

use crate::shared::json::{self, JsonError};

/// The text of a JSON value, which is well formed, or empty for none.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Value<'a>(pub(super) &'a str);

impl<'a> Value<'a> {
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        let text = self.quoted()?;
        if text.as_bytes().contains(&b'\\') {
            // A copy has to be made, and what is not borrowed has a limit.
            if TEXT_BYTES_MAX < text.len() {
                return None;
            }
            return json::text(self.0.as_bytes()).ok();
        }
        Some(Cow::Borrowed(text))
    }

    fn quoted(self) -> Option<&'a str> {
        self.0.strip_prefix("\"")?.strip_suffix("\"")
    }

    /// Like [`Self::text`], for what outlives the buffer.
    #[inline(never)]
    pub(in super::super) fn string(self) -> Option<String> {
        self.text().map(Cow::into_owned)
    }

    /// A number that is not negative, whole or not, in quotes or not. One that is too large to be
    /// counted with is none, so that sums and times made of it stay numbers.
    pub(in super::super) fn number(self) -> Option<f64> {
        let digits = self.quoted().unwrap_or(self.0);
        let number = json::number(digits.as_bytes());
        number.filter(|number| (0.0..=NUMBER_MAX).contains(number))
    }
}

/// Hands out the members of a JSON object. Of members with the same name, the last is to count.
pub(in super::super) fn members<'a>(
    object: &'a str,
    each: &mut dyn FnMut(&str, Value<'a>),
) -> Result<(), JsonError> {
    json::members(object.as_bytes(), &mut |name, value| {
        each(name, Value(value.get()));
    })
}

/// Bytes of a text with escapes. The longest without any are ARNs and trace headers.
const TEXT_BYTES_MAX: usize = 4_096;

/// 2^53, up to which a double has every whole number.
const NUMBER_MAX: f64 = 9_007_199_254_740_992.0;
