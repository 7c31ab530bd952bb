//! Numbers and properties as JSON.

use crate::extension::metric::Detail;
use crate::shared::json::{comma, key, write_str};
use crate::shared::text::{push, push_decimal};

/// Appends a finite number with up to three decimals, without an exponent. A number whose digits do
/// not fit 64 bits becomes the largest that does; no sum and no value of the accounting is as
/// large.
pub(super) fn number(value: f64, out: &mut Vec<u8>) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a half is added and the rest cut off, which rounds; it saturates as documented"
    )]
    let digits = (value.abs() * SCALE as f64 + 0.5) as u64;
    if value < 0.0 && digits != 0 {
        push(out, "-");
    }
    push_decimal(out, digits / SCALE);
    let mut rest = digits % SCALE;
    if rest != 0 {
        push(out, ".");
    }
    while rest != 0 {
        rest *= 10;
        push_decimal(out, rest / SCALE);
        rest %= SCALE;
    }
}

/// Appends an array of numbers.
pub(super) fn numbers(values: &[f64], out: &mut Vec<u8>) {
    push(out, "[");
    for value in values {
        comma(out);
        number(*value, out);
    }
    push(out, "]");
}

/// Appends `"name":` and the value of a property, after a comma unless it is the first member.
pub(super) fn detail(name: &str, value: &Detail, out: &mut Vec<u8>) {
    key(name, out);
    match value {
        Detail::Text(text) => write_str(text, out),
        Detail::Number(value) => number(*value, out),
    }
}

/// Three decimals. The platform writes thousandths of a millisecond; further digits are noise that
/// costs log bytes.
const SCALE: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: f64) -> String {
        let mut out = Vec::new();
        number(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_rounded_and_have_no_exponent() {
        let table = [
            (0.0, "0"),
            (-0.0, "0"),
            (-0.0001, "0"),
            (1.0, "1"),
            (397.68, "397.68"),
            (0.1 + 0.2, "0.3"),
            (0.001, "0.001"),
            (0.0005, "0.001"),
            (0.0004, "0"),
            (10.05, "10.05"),
            (-12.5, "-12.5"),
            (0.9996, "1"),
            (10_737_418_240.0, "10737418240"),
            (5e-324, "0"),
            (1e300, "18446744073709551.615"),
        ];
        for (value, expected) in table {
            assert_eq!(written(value), expected, "{value}");
        }
    }
}
