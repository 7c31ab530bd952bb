//! Numbers written in digits.

/// Reads decimal digits and nothing else: no sign, no white space, no overflow.
#[must_use]
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    number(text, 10)
}

/// Reads hexadecimal digits and nothing else, like [`decimal`].
#[must_use]
pub(crate) fn hexadecimal(text: &[u8]) -> Option<u64> {
    number(text, 16)
}

fn number(text: &[u8], base: u32) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = char::from(*byte).to_digit(base)?;
        value
            .checked_mul(u64::from(base))?
            .checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_and_nothing_else() {
        for (text, value) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            (" 1", None),
            ("1 ", None),
            ("1e3", None),
            ("1_000", None),
            ("\u{661}", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), value, "{text:?}");
        }
        for (text, value) in [
            ("ffffffffffffffff", Some(u64::MAX)),
            ("10000000000000000", None),
            ("fF", Some(255)),
            ("0x1", None),
            ("g", None),
        ] {
            assert_eq!(hexadecimal(text.as_bytes()), value, "{text:?}");
        }
    }
}
