//! Addresses of hosts by name, from the table of hosts and from name servers.
//!
//! The messages are those of <https://www.rfc-editor.org/rfc/rfc1035#section-4>, with one question.
//! The resolver of the libc does the same in 25 KB, most of it for names of services, sorting, and
//! reading of files.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use super::text::same;

/// The type of an address, with its number as a type of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4 = 1,
    V6 = 28,
}

/// An answer does not belong to the question, or the server does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer to the question")
    }
}

impl core::error::Error for NoAnswer {}

/// The address of a host in the text of `/etc/hosts`.
/// <https://man7.org/linux/man-pages/man5/hosts.5.html>
pub(crate) fn in_table(table: &[u8], name: &str) -> Option<IpAddr> {
    lines(table).find_map(|mut line| {
        let address = ip(line.next()?)?;
        line.any(|word| same(word, name.as_bytes()))
            .then_some(address)
    })
}

/// The values of a setting in the text of `/etc/resolv.conf`: addresses of name servers, or domains
/// to search in. <https://man7.org/linux/man-pages/man5/resolv.conf.5.html>
pub(crate) fn setting<'a>(config: &'a [u8], name: &str) -> impl Iterator<Item = &'a str> {
    let lines = lines(config).filter_map(move |mut line| {
        let is_setting = line.next() == Some(name.as_bytes());
        is_setting.then_some(line)
    });
    lines.flatten().filter_map(|word| str::from_utf8(word).ok())
}

/// The words of each line, without comments.
fn lines(text: &[u8]) -> impl Iterator<Item = impl Iterator<Item = &[u8]>> {
    text.split(|byte| *byte == b'\n').map(|line| {
        let comment = line.iter().position(|byte| matches!(byte, b'#' | b';'));
        let line = line.get(..comment.unwrap_or(line.len()));
        let words = line.unwrap_or_default().split(u8::is_ascii_whitespace);
        words.filter(|word| !word.is_empty())
    })
}

/// An IP address in text.
pub(crate) fn ip(text: &[u8]) -> Option<IpAddr> {
    str::from_utf8(text).ok()?.parse().ok()
}

/// A question for addresses. `None` for a name that no host can have.
pub(crate) fn question(id: u16, name: &str, family: Family) -> Option<Vec<u8>> {
    let [high, low] = id.to_be_bytes();
    // The server is to ask others, and there is one question.
    let mut message = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        let length = u8::try_from(label.len()).ok();
        message.push(length.filter(|length| (1..=LABEL_BYTES_MAX).contains(length))?);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, family as u8, 0, INTERNET]);
    Some(message)
}

/// The first address in the answer to a question; `None` if there is none.
///
/// # Errors
///
/// [`NoAnswer`] if another server or another attempt may know it.
pub(crate) fn answer(
    question: &[u8],
    family: Family,
    message: &[u8],
) -> Result<Option<IpAddr>, NoAnswer> {
    let (head, asked) = question.split_at_checked(HEAD_BYTES).ok_or(NoAnswer)?;
    let [is_answer, outcome] = *number(message, 2).ok_or(NoAnswer)?;
    let [count_high, count_low] = *number(message, 6).ok_or(NoAnswer)?;
    let is_echoed = message.get(..2) == head.get(..2)
        && message.get(HEAD_BYTES..question.len()) == Some(asked)
        && is_answer & 0x80 != 0;
    match outcome & 0xf {
        0 if is_echoed => {}
        NO_SUCH_NAME if is_echoed => return Ok(None),
        _ => return Err(NoAnswer),
    }
    let mut rest = message.get(question.len()..).unwrap_or_default();
    for _ in 0..u16::from_be_bytes([count_high, count_low]) {
        // A record that was cut off is the end of what there is.
        let Some((kind, data, after)) = record(rest) else {
            break;
        };
        if kind == [0, family as u8, 0, INTERNET]
            && let Some(address) = address(data)
        {
            return Ok(Some(address));
        }
        rest = after;
    }
    Ok(None)
}

/// The type and class of a record, its data, and what is behind it.
fn record(mut rest: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    loop {
        let (length, after) = rest.split_first()?;
        match length {
            0 => rest = after,
            // It goes on elsewhere, which ends it here.
            0xC0.. => rest = after.get(1..)?,
            length => {
                rest = after.get(usize::from(*length)..)?;
                continue;
            }
        }
        break;
    }
    let kind = *number(rest, 0)?;
    let length = u16::from_be_bytes(*number(rest, 8)?);
    let (data, after) = rest.get(10..)?.split_at_checked(length.into())?;
    Some((kind, data, after))
}

fn address(data: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(data) {
        return Some(v4.into());
    }
    let v6 = <[u8; 16]>::try_from(data).ok()?;
    Some(Ipv6Addr::from(v6).to_canonical())
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

/// Bytes of a message before its question.
const HEAD_BYTES: usize = 12;

const LABEL_BYTES_MAX: u8 = 63;

/// The class of records that are about the internet.
const INTERNET: u8 = 1;

/// <https://www.rfc-editor.org/rfc/rfc1035#section-4.1.1>
const NO_SUCH_NAME: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"# comment\n127.0.0.1\tlocalhost\n\n10.0.0.7 runtime Other.Name # one\n\
        fd00::1 six six6\nbad name\n10.0.0.8 runtime\n10.0.0.9";

    #[test]
    fn the_table_of_hosts_gives_the_first_address_of_a_name() {
        for (name, address) in [
            ("localhost", Some("127.0.0.1")),
            ("runtime", Some("10.0.0.7")),
            ("OTHER.name", Some("10.0.0.7")),
            ("six6", Some("fd00::1")),
            ("10.0.0.9", None),
            ("one", None),
            ("name", None),
            ("", None),
        ] {
            let found = in_table(TABLE, name).map(|address| address.to_string());
            assert_eq!(found.as_deref(), address, "{name}");
        }
    }

    #[test]
    fn settings_are_read_from_every_line() {
        let config = b"; comment\nnameserver 127.0.0.11\nsearch a.example  b.example#c\n\
            options ndots:0\nnameserver\t::1\nnameservers 10.0.0.1";
        let values = |name| setting(config, name).collect::<Vec<_>>();
        assert_eq!(values("nameserver"), ["127.0.0.11", "::1"]);
        assert_eq!(values("search"), ["a.example", "b.example"]);
        assert!(values("domain").is_empty());
    }

    #[test]
    fn a_question_names_the_host_in_labels() {
        let expected = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03api\x07example\0\0\x1c\0\x01";
        for name in ["api.example", "api.example."] {
            let question = question(0x1234, name, Family::V6);
            assert_eq!(question.as_deref(), Some(&expected[..]));
        }
        for name in ["", ".", "a..b", &"x".repeat(64)] {
            assert_eq!(question(1, name, Family::V4), None, "{name}");
        }
    }

    /// An alias, its address, and another address, as a name server sends them.
    fn aliased() -> (Vec<u8>, Vec<u8>) {
        let question = question(7, "api.example", Family::V4).unwrap();
        let mut message = question.clone();
        message[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 3]);
        message.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01b\xc0\x10");
        message.extend_from_slice(b"\x01b\xc0\x10\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x07");
        message.extend_from_slice(b"\x01b\0\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x08");
        (question, message)
    }

    #[test]
    fn an_answer_holds_the_address_behind_aliases() {
        let (question, message) = aliased();
        let found = answer(&question, Family::V4, &message);
        assert_eq!(found, Ok(Some(IpAddr::from([10, 0, 0, 7]))));
        // The records have no address of the other kind.
        assert_eq!(answer(&question, Family::V6, &message), Ok(None));
        let mut no_such_name = message;
        no_such_name[3] = 0x83;
        assert_eq!(answer(&question, Family::V4, &no_such_name), Ok(None));
    }

    #[test]
    fn an_address_of_the_other_kind_has_16_bytes() {
        let question = question(7, "six", Family::V6).unwrap();
        let mut message = question.clone();
        message[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
        message.extend_from_slice(b"\xc0\x0c\0\x1c\0\x01\0\0\0\x3c\0\x10\xfd");
        message.extend_from_slice(&[0; 14]);
        message.push(9);
        let found = answer(&question, Family::V6, &message);
        assert_eq!(found, Ok(Some("fd00::9".parse().unwrap())));
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_refused() {
        let (question, message) = aliased();
        // Another id, a question, a server that failed, and another question.
        for (at, byte) in [(1, 8), (2, 0x01), (3, 0x82), (13, b'x')] {
            let mut other = message.clone();
            other[at] = byte;
            assert_eq!(answer(&question, Family::V4, &other), Err(NoAnswer), "{at}");
        }
    }

    #[test]
    fn an_answer_that_is_cut_off_anywhere_is_read_as_far_as_it_goes() {
        let (question, message) = aliased();
        for length in 0..message.len() {
            let found = answer(&question, Family::V4, &message[..length]);
            let expected = match length {
                0..29 => Err(NoAnswer),
                29..63 => Ok(None),
                _ => Ok(Some(IpAddr::from([10, 0, 0, 7]))),
            };
            assert_eq!(found, expected, "{length}");
        }
    }
}
