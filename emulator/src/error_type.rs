//! What the platform keeps of the error a runtime reports.

/// The error type the platform records. A type with `Runtime.Reason` or `Function.Reason`
/// anywhere in it is kept; the search is not anchored. The rest becomes an unknown of its
/// category, as in aws-lambda-runtime-interface-emulator.
pub(crate) fn recorded(raw: &str) -> String {
    let kept = ["Runtime.", "Function."]
        .into_iter()
        .any(|category| raw.split(category).skip(1).any(starts_as_a_reason));
    if kept {
        raw.to_owned()
    } else if raw.starts_with("Function.") {
        "Function.Unknown".to_owned()
    } else {
        "Runtime.Unknown".to_owned()
    }
}

/// The X-Ray cause the platform passes on: at most 64 KiB.
pub(crate) fn cropped_cause(cause: &str) -> String {
    let mut end = cause.len().min(XRAY_CAUSE_BYTES_MAX);
    while !cause.is_char_boundary(end) {
        end -= 1;
    }
    cause.get(..end).unwrap_or_default().to_owned()
}

/// `[A-Z][a-zA-Z]+`
fn starts_as_a_reason(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|c| c.is_ascii_uppercase())
        && characters.next().is_some_and(|c| c.is_ascii_alphabetic())
}

const XRAY_CAUSE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_kept_or_become_unknown() {
        let table = [
            ("Function.Panic", "Function.Panic"),
            ("Runtime.UnmarshalError", "Runtime.UnmarshalError"),
            ("my Runtime.Xy, really", "my Runtime.Xy, really"),
            ("Function.Runtime.Bad", "Function.Runtime.Bad"),
            ("Function.panic", "Function.Unknown"),
            ("Function.P", "Function.Unknown"),
            ("Function.", "Function.Unknown"),
            ("Runtime.X", "Runtime.Unknown"),
            ("unhandled", "Runtime.Unknown"),
            ("Extension.Crash", "Runtime.Unknown"),
            ("", "Runtime.Unknown"),
        ];
        for (raw, expected) in table {
            assert_eq!(recorded(raw), expected, "{raw}");
        }
    }

    #[test]
    fn a_cause_is_cropped_at_a_character() {
        let cause = "\u{e9}".repeat(40 * 1024);
        let cropped = cropped_cause(&format!("x{cause}"));
        assert_eq!(cropped.len(), XRAY_CAUSE_BYTES_MAX - 1);
        assert_eq!(cropped_cause("short"), "short");
    }
}
