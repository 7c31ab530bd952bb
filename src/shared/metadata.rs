//! The metadata endpoint, which says where the environment is: its request and its answer.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-metadata-endpoint.html>

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde::Deserialize;

use super::endpoint::Endpoint;
use super::http::{HeadWriter, Reader};
use super::json::{self, Object};

/// The answer, of which other members are ignored.
#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(rename = "AvailabilityZoneID", borrow)]
    zone: Cow<'a, str>,
}

/// The request, which has no body.
pub(crate) fn request(endpoint: &Endpoint, token: &str) -> Vec<u8> {
    let mut head = Vec::new();
    let path = [&*endpoint.prefix, PATH];
    HeadWriter::request(&mut head, "GET", &path, &endpoint.authority)
        .field("Authorization", &[b"Bearer ", token.as_bytes()].concat())
        .end();
    head
}

/// The id of the availability zone.
///
/// # Errors
///
/// The text for the log.
pub(crate) fn zone(answer: &Reader) -> Result<String, String> {
    let status = answer.status().unwrap_or_default();
    if status != 200 {
        return Err(format!("the metadata endpoint answered {status}"));
    }
    let metadata: Result<Object<Metadata<'_>>, _> = json::read(answer.body());
    let Object(metadata) = metadata.map_err(|error| error.to_string())?;
    Ok(metadata.zone.into_owned())
}

/// The variable that says where the endpoint is.
pub(crate) const API: &str = "AWS_LAMBDA_METADATA_API";

/// The variable with the token, which is never shown.
pub(crate) const TOKEN: &str = "AWS_LAMBDA_METADATA_TOKEN";

const PATH: &str = "/2026-01-15/metadata/execution-environment";

#[cfg(test)]
mod tests {
    use super::super::http::{Expect, Limits, Progress};
    use super::*;

    fn zone_of(status: &str, body: &str) -> Result<String, String> {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        let mut reader = Reader::new(Expect::Response, Limits::of_body(256));
        let mut progress = Progress::Partial;
        for byte in answer.bytes() {
            progress = reader.read_from(&mut &[byte][..]).unwrap();
        }
        assert_eq!(progress, Progress::Complete);
        zone(&reader)
    }

    #[test]
    fn the_request_has_the_path_of_the_endpoint_and_the_token() {
        let endpoint = Endpoint::parse("http://127.0.0.1:9002/.rt", &|_| None).unwrap();
        assert_eq!(
            String::from_utf8(request(&endpoint, "t0k")).unwrap(),
            "GET /.rt/2026-01-15/metadata/execution-environment HTTP/1.1\r\n\
             Host: 127.0.0.1:9002\r\nAuthorization: Bearer t0k\r\n\r\n"
        );
    }

    #[test]
    fn the_zone_is_a_member_of_the_answer() {
        let answer = r#"{"AvailabilityZoneID":"use1-az1","other":[1]}"#;
        assert_eq!(zone_of("200 OK", answer).unwrap(), "use1-az1");
        let escaped = r#"{"AvailabilityZoneID":"use1\u002daz1"}"#;
        assert_eq!(zone_of("200 OK", escaped).unwrap(), "use1-az1");
    }

    #[test]
    fn an_answer_without_a_zone_says_why() {
        let error = zone_of("401 Unauthorized", "").unwrap_err();
        assert_eq!(error, "the metadata endpoint answered 401");
        for body in ["", "{}", r#"["use1-az1"]"#, r#"{"AvailabilityZoneID":1}"#] {
            let error = zone_of("200 OK", body).unwrap_err();
            assert!(error.contains("line 1 column"), "{body}: {error}");
        }
    }
}
