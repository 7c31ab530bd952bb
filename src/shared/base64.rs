//! Bytes as text: <https://www.rfc-editor.org/rfc/rfc4648#section-4>.

use alloc::vec::Vec;

/// Appends `bytes` in base64, with padding.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .zip([16, 8, 0])
            .fold(0, |bits, (byte, shift)| bits | u32::from(*byte) << shift);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS.get((bits >> shift & 0x3F) as usize);
            let is_padding = group.len() < place;
            out.push(digit.filter(|_| !is_padding).copied().unwrap_or(b'='));
        }
    }
}

/// The bytes of `text`; `None` if it is not base64.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut groups = text.chunks_exact(4);
    let is_whole = groups.remainder().is_empty();
    while let Some(group) = groups.next() {
        let is_last = groups.len() == 0;
        let digits = match group {
            [_, _, b'=', b'='] if is_last => 2,
            [_, _, _, b'='] if is_last => 3,
            _ => 4,
        };
        let mut bits = 0;
        for (at, byte) in group.iter().enumerate() {
            bits = bits << 6 | if at < digits { value(*byte)? } else { 0 };
        }
        let [_, decoded @ ..] = u32::to_be_bytes(bits);
        bytes.extend_from_slice(decoded.get(..digits - 1).unwrap_or_default());
    }
    is_whole.then_some(bytes)
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

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_the_standard_says() {
        // <https://www.rfc-editor.org/rfc/rfc4648#section-10>
        let table: [(&[u8], &str); 9] = [
            (b"", ""),
            (b"f", "Zg=="),
            (b"\x66\x6f", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"fooba", "Zm9vYmE="),
            (b"foobar", "Zm9vYmFy"),
            (b"\xFB\xFF\xBF", "+/+/"),
            (b"\x00\x10\x83", "ABCD"),
        ];
        for (bytes, text) in table {
            let mut out = Vec::new();
            encode(bytes, &mut out);
            assert_eq!(out, text.as_bytes(), "{bytes:?}");
            assert_eq!(decode(&out).unwrap(), bytes);
        }
    }

    #[test]
    fn every_byte_comes_back() {
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        for start in 0..bytes.len() {
            let mut text = Vec::new();
            encode(&bytes[start..], &mut text);
            assert_eq!(decode(&text).unwrap(), bytes[start..]);
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "Z", "Zg", "Zg=", "Zm9v\n", "Zg==Zg==", "Zm8=Zm9v", "Z===", "====", "Zm-_", "Zm9=v",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
    }
}
