//! Numbers written in digits.

/// Reads decimal digits and nothing else: no sign, no white space, no overflow.
#[must_use]
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    number::<10>(text)
}

/// Reads hexadecimal digits and nothing else, like [`decimal`].
#[must_use]
pub(crate) fn hexadecimal(text: &[u8]) -> Option<u64> {
    number::<16>(text)
}

fn number<const BASE: u32>(text: &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for byte in text {
        let digit = char::from(*byte).to_digit(BASE)?;
        value = value
            .checked_mul(u64::from(BASE))?
            .checked_add(u64::from(digit))?;
    }
    (!text.is_empty()).then_some(value)
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
