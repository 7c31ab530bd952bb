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
        }
    }
}
