//! Text and numbers into a buffer, by functions that are there once: the standard library's are
//! compiled into each place that uses them.

use alloc::vec::Vec;

/// Appends `text`.
#[inline(never)]
pub(crate) fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// The first bytes of `text`, `bytes_max` at most, without a part of a character.
pub(crate) fn prefix(text: &str, bytes_max: usize) -> &str {
    let mut ends = (0..=bytes_max.min(text.len())).rev();
    let prefix = ends.find_map(|end| text.get(..end));
    prefix.unwrap_or_default()
}

/// Appends a number in decimal digits.
pub(crate) fn push_decimal(out: &mut Vec<u8>, value: u64) {
    push_padded(out, value, 1);
}

/// Appends a number in at least `width` decimal digits.
#[inline(never)]
pub(crate) fn push_padded(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut digits = [b'0'; DIGITS_MAX];
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        *digit += (value % 10) as u8;
        value /= 10;
        length += 1;
        if value == 0 && width <= length {
            break;
        }
    }
    out.extend_from_slice(digits.get(DIGITS_MAX - length..).unwrap_or_default());
}

/// Whether two texts are the same but for the case of ASCII letters.
#[inline]
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    // Most names differ in their lengths, which takes no call.
    left.len() == right.len() && same_letters(left, right)
}

#[inline(never)]
fn same_letters(left: &[u8], right: &[u8]) -> bool {
    // Most are the same altogether, which is the shorter way to find out.
    left == right || left.eq_ignore_ascii_case(right)
}

/// What stands before the first `byte`, which is ASCII, and what behind it.
#[inline(never)]
pub(crate) fn cut(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(byte, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Digits of the largest number.
const DIGITS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_does() {
        for value in [0, 9, 10, 202, 6_291_556, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            push_decimal(&mut out, value);
            assert_eq!(out, value.to_string().into_bytes());
        }
    }

    #[test]
    fn a_prefix_ends_with_a_whole_character() {
        // Two, three and four bytes.
        let text = "a\u{e9}\u{20ac}\u{1f600}";
        let lengths: Vec<_> = (0..=11).map(|most| prefix(text, most).len()).collect();
        assert_eq!(lengths, [0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10]);
        assert_eq!(prefix(text, usize::MAX), text);
    }

    #[test]
    fn a_text_is_cut_at_the_first_byte() {
        assert_eq!(cut("a=b=c", b'='), Some(("a", "b=c")));
        assert_eq!(cut("=", b'='), Some(("", "")));
        assert_eq!(cut("\u{e9}=\u{20ac}", b'='), Some(("\u{e9}", "\u{20ac}")));
        assert_eq!(cut("a", b'='), None);
    }
}
