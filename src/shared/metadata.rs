//! The metadata endpoint, which says where the environment is: its request and its answer.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-metadata-endpoint.html>

use alloc::borrow::{Cow, ToOwned as _};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;

use super::endpoint::Endpoint;
use super::http::{HeadWriter, Reader};
use super::json::Object;

/// The answer, of which other members are ignored.
#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(rename = "AvailabilityZoneID", borrow)]
    zone: Cow<'a, str>,
}

/// Why an answer has no zone.
#[derive(Debug)]
pub(crate) enum MetadataError {
    Status(u16),
    Json(serde_json::Error),
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
/// [`MetadataError`].
pub(crate) fn zone(answer: &Reader) -> Result<String, MetadataError> {
    match answer.status() {
        Some(200) => {
            let Object(metadata): Object<Metadata<'_>> =
                serde_json::from_slice(answer.body()).map_err(MetadataError::Json)?;
            Ok(metadata.zone.as_ref().to_owned())
        }
        status => Err(MetadataError::Status(status.unwrap_or_default())),
    }
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the metadata endpoint answered {status}"),
            Self::Json(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for MetadataError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Status(_) => None,
            Self::Json(error) => Some(error),
        }
    }
}

/// The variable that says where the endpoint is.
pub(crate) const API: &str = "AWS_LAMBDA_METADATA_API";

/// The variable with the token, which is never shown.
pub(crate) const TOKEN: &str = "AWS_LAMBDA_METADATA_TOKEN";

const PATH: &str = "/2026-01-15/metadata/execution-environment";
