//! Fuzz targets of the small readers, and what all targets use.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a target ends where a promise is broken"
)]

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::Value;

use super::endpoint::{self, Endpoint};
use super::http::{Expect, HeadWriter, Limits, Progress, Reader};
use super::log_record::{Format, Level, Record};
use super::time::EpochMs;
use super::{base64, digits, json, settings, text};

/// Numbers, times, addresses, base64, JSON strings and lines of the log.
pub(crate) fn texts(data: &[u8]) {
    let parsed = core::str::from_utf8(data).ok();
    let number = parsed.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let expected = number.and_then(|text| text.parse().ok());
    assert_eq!(digits::decimal(data), expected);
    let number = parsed.filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let expected = number.and_then(|text| u64::from_str_radix(text, 16).ok());
    assert_eq!(digits::hexadecimal(data), expected);
    in_base64(data);
    let text = String::from_utf8_lossy(data);
    times(&text);
    addresses(&text);
    strings(&text);
    log_lines(&text);
    let warnings = [&settings::EXTENSION[..], &settings::RUNTIME]
        .map(|role| settings::unknown(&text, role).is_some());
    assert!(warnings != [true, true]);
    assert!(text.starts_with("BANTAM_") || warnings == [false, false]);
}

fn in_base64(data: &[u8]) {
    let mut encoded = Vec::new();
    base64::encode(data, &mut encoded);
    assert_eq!(base64::decode(&encoded).as_deref(), Some(data));
    if let Some(bytes) = base64::decode(data) {
        let mut again = Vec::new();
        base64::encode(&bytes, &mut again);
        assert_eq!(again.len(), data.len());
        // The last group may have bits that mean nothing.
        let same = data.len().saturating_sub(4);
        assert_eq!(again[..same], data[..same]);
    }
}

fn times(text: &str) {
    let found = EpochMs::parse_rfc3339(text.as_bytes());
    let by_jiff = text.parse::<jiff::Timestamp>().ok();
    if let Some(EpochMs(ms)) = found {
        // jiff reads nine digits of a fraction at most.
        let nine = "2022-10-12T00:00:15.123456789".len();
        let cut = text.get(..nine).filter(|_| nine + 1 < text.len());
        let by_jiff = cut.map_or(by_jiff, |start| format!("{start}Z").parse().ok());
        let expected = by_jiff.unwrap().as_millisecond();
        assert_eq!(i64::try_from(ms), Ok(expected), "{text}");
        assert_eq!(
            EpochMs::parse_rfc3339(EpochMs(ms).to_rfc3339().as_bytes()),
            found
        );
    } else if let Some(time) = by_jiff {
        let has_form = text.len() <= "2022-10-12T00:00:15.123456789Z".len()
            && text.is_ascii()
            && text.get(10..11) == Some("T")
            && text.get(19..20).is_some_and(|byte| byte == "Z" || byte == ".")
            && text.ends_with('Z')
            // A leap second, which the platform has none of.
            && text.get(17..19) != Some("60");
        assert!(!has_form || time.as_millisecond() < 0, "{text}");
    }
    if let Some(time) = EpochMs::parse_http_date(text.as_bytes()) {
        let written = time.to_rfc3339();
        let [year, month, day, clock] = [0..4, 5..7, 8..10, 11..19].map(|part| &written[part]);
        let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let month = (month.parse::<usize>().unwrap() - 1) * 3;
        let month = &months[month..month + 3];
        assert_eq!(
            text[4..],
            alloc::format!(" {day} {month} {year} {clock} GMT")
        );
    }
}

fn addresses(text: &str) {
    if let Ok(expected) = text.parse::<SocketAddr>()
        && expected.port() != 0
        && !text.contains('%')
    {
        let expected = SocketAddr::new(expected.ip().to_canonical(), expected.port());
        assert_eq!(endpoint::address(text), Ok(expected), "{text}");
    }
    if let Ok(found) = endpoint::address(text) {
        let is_name = found.ip() == IpAddr::from(Ipv4Addr::LOCALHOST)
            && text.to_ascii_lowercase().starts_with("localhost");
        let port = text.rsplit(':').next().unwrap();
        assert_eq!(port.trim_start_matches('0'), found.port().to_string());
        assert!(
            is_name || text.parse::<SocketAddr>().is_ok() || port.len() > 5,
            "{text}"
        );
    }
    let resolve = |_: &str| Some(IpAddr::from([10, 0, 0, 1]));
    if let Ok(endpoint) = Endpoint::parse(text, &resolve) {
        assert_ne!(endpoint.address.port(), 0);
        let mut head = Vec::new();
        let path = [&*endpoint.prefix, "/2018-06-01"];
        HeadWriter::request(&mut head, "GET", &path, &endpoint.authority).end();
        let read = one_request(&head);
        assert_eq!(read.head().target(), path.concat().as_bytes());
        assert_eq!(
            read.head().field("Host"),
            Some(endpoint.authority.as_bytes())
        );
        assert_eq!(read.head().fields().count(), 1);
    }
}

fn strings(text: &str) {
    let mut out = Vec::new();
    json::write_str(text, &mut out);
    assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    let ascii = json::ascii(core::str::from_utf8(&out).unwrap());
    assert!(ascii.iter().all(|byte| matches!(byte, b' '..=b'~')));
    assert_eq!(serde_json::from_slice::<String>(&ascii).unwrap(), text);
    match serde_json::from_str::<Value>(text) {
        Ok(value) => {
            let ascii: Value = serde_json::from_slice(&json::ascii(text)).unwrap();
            assert_eq!(ascii, value);
        }
        Err(error) => {
            let path = json::path_at(text.as_bytes(), error.line(), error.column());
            assert!(path.len() <= 20 * text.len());
        }
    }
    for value in [0, text.len() as u64, Random::of(text.as_bytes()).next()] {
        let mut out = Vec::new();
        text::push_decimal(&mut out, value);
        assert_eq!(out, value.to_string().as_bytes());
    }
}

fn log_lines(message: &str) {
    let record = Record {
        error_type: Some(message),
        target: Some("module"),
        tenant_id: Some(message),
        ..Record::new(EpochMs(0), Level::Warn, message)
    };
    let mut line = Vec::new();
    record.write(Format::Json, &mut line);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    let value: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(
        [&value["message"], &value["errorType"], &value["tenantId"]],
        [message; 3]
    );
    line.clear();
    record.write(Format::Text, &mut line);
    assert_eq!(
        line.iter().position(|byte| *byte == b'\n'),
        Some(line.len() - 1)
    );
}

/// Reads a request that we wrote: it is one, whole, and nothing is behind it.
pub(crate) fn one_request(bytes: &[u8]) -> Reader {
    let mut reader = Reader::new(Expect::Request, Limits::of_body(bytes.len()));
    assert_eq!(
        feed(&mut reader, bytes),
        Some(()),
        "{}",
        bytes.escape_ascii()
    );
    reader
}

/// Gives the reader bytes that are not empty, and the end behind them if they are not a whole
/// message. `None` for a malformed one.
pub(crate) fn feed(reader: &mut Reader, mut bytes: &[u8]) -> Option<()> {
    while !bytes.is_empty() {
        if reader.read_from(&mut bytes).ok()? == Progress::Complete {
            // Of a request, nothing may be left over.
            return bytes.is_empty().then_some(());
        }
    }
    reader.eof().ok().map(drop)
}

/// Numbers from a seed, or from an input for what the input does not say itself.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// By FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>.
    pub(crate) fn of(data: &[u8]) -> Self {
        let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        Self(data.iter().fold(0xCBF2_9CE4_8422_2325, add))
    }

    /// The next number, by `SplitMix64`.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}
