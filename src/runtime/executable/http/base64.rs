//! Base64 with padding, as events and responses hold bodies that are not text.
//!
//! <https://www.rfc-editor.org/rfc/rfc4648#section-4>

/// The text of `bytes`.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at| group.get(at).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = ALPHABET.get((bits >> shift) as usize & 63);
            let is_padding = group.len() < at;
            text.push(digit.copied().filter(|_| !is_padding).unwrap_or(b'='));
        }
    }
    String::from_utf8(text).unwrap_or_default()
}

/// The bytes of `text`; `None` if it is not base64.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (groups, rest) = text.as_chunks::<4>();
    let last = groups.len().checked_sub(1);
    for (at, group) in groups.iter().enumerate() {
        let digits = match group {
            [_, _, b'=', b'='] if Some(at) == last => 2,
            [_, _, _, b'='] if Some(at) == last => 3,
            _ => 4,
        };
        let mut bits = 0;
        for (at, byte) in group.iter().enumerate() {
            bits = bits << 6 | if at < digits { value(*byte)? } else { 0 };
        }
        let [_, decoded @ ..] = u32::to_be_bytes(bits);
        bytes.extend_from_slice(decoded.get(..digits - 1).unwrap_or_default());
    }
    rest.is_empty().then_some(bytes)
}

fn value(digit: u8) -> Option<u32> {
    Some(match digit {
        b'A'..=b'Z' => u32::from(digit - b'A'),
        b'a'..=b'z' => u32::from(digit - b'a') + 26,
        b'0'..=b'9' => u32::from(digit - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_specification_hold_both_ways() {
        let table = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in table {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
    }

    #[test]
    fn every_byte_comes_back() {
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        for start in 0..bytes.len() {
            let bytes = &bytes[start..];
            assert_eq!(decode(encode(bytes).as_bytes()).unwrap(), bytes);
        }
        assert_eq!(encode(&[0xFB, 0xEF, 0xFF]), "++//");
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "Z", "Zg", "Zg=", "Zm9v\n", "Zg==Zg==", "Z===", "====", "Zm-_", "Zm9=v",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
    }
}
