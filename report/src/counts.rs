//! Counts and prices as text. The library and the command each have this file as a module.

/// A number of things.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(count))
}

/// A number with a comma between groups of three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at != 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A price. One that is too low for cents is not shown as none.
pub(crate) fn usd(price: f64) -> String {
    if 0.0 < price && price < 0.01 {
        return "< 0.01 USD".to_owned();
    }
    format!("{price:.2} USD")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_digits_in_groups_of_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(123), "123");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(1_000, "start"), "1,000 starts");
    }

    #[test]
    fn a_low_price_is_not_zero() {
        assert_eq!(usd(0.0), "0.00 USD");
        assert_eq!(usd(0.000_1), "< 0.01 USD");
        assert_eq!(usd(12.345), "12.35 USD");
    }
}
