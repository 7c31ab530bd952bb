//! The events, of which one type takes every kind.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny};
use serde_json::value::RawValue;

/// An event of any kind. A member that is absent or `null` is the default.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event<'a> {
    pub(crate) version: Option<Cow<'a, str>>,
    pub(crate) http_method: Option<String>,
    /// Of VPC Lattice.
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) raw_path: Option<String>,
    pub(crate) raw_query_string: Option<String>,
    pub(crate) cookies: Option<Vec<String>>,
    pub(crate) headers: Option<Fields>,
    pub(crate) multi_value_headers: Option<Fields>,
    pub(crate) query_string_parameters: Option<Fields>,
    pub(crate) multi_value_query_string_parameters: Option<Fields>,
    pub(crate) path_parameters: Option<HashMap<String, String>>,
    pub(crate) stage_variables: Option<HashMap<String, String>>,
    #[serde(borrow)]
    pub(crate) body: Option<Cow<'a, str>>,
    pub(crate) is_base64_encoded: Option<bool>,
    #[serde(borrow)]
    pub(crate) request_context: Option<&'a RawValue>,
}

/// Names with their values, in the order of the event.
pub(crate) type Fields = IndexMap<String, Values>;

/// One value or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Values {
    One(String),
    Several(Vec<String>),
    None(()),
}

/// Where an event comes from, which decides the form of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// API Gateway, format 1.0.
    Rest,
    /// API Gateway, format 2.0, and function URL.
    Http,
    /// Application Load Balancer. `multi_value` is an attribute of the target group.
    Balancer { multi_value: bool },
    /// VPC Lattice, format 2.0.
    Lattice,
}

/// What of the request context tells one source from another.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    elb: Option<IgnoredAny>,
    http: Option<Method>,
    service_arn: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Method {
    method: String,
}

/// Why an event is no request.
#[derive(Debug)]
#[non_exhaustive]
pub enum EventError {
    /// It is not JSON, or a member has another type.
    Json(serde_json::Error),
    /// It comes from none of the sources.
    Source,
    /// Its body is not base64, though it says so.
    Base64(base64::DecodeError),
    /// The request has a method, a target or a header that HTTP does not allow.
    Http(http::Error),
}

impl<'a> Event<'a> {
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, EventError> {
        // At once: string by string takes a fifth more instructions.
        let text = std::str::from_utf8(text).map_err(serde_json::Error::custom);
        let event = text.and_then(serde_json::from_str);
        event.map_err(EventError::Json)
    }

    /// Where the event comes from, and the method of its request.
    pub(crate) fn source(&self) -> Result<(Source, String), EventError> {
        let context = self.request_context.map(RawValue::get);
        let shape: Shape = match context {
            Some(context) => serde_json::from_str(context).map_err(EventError::Json)?,
            None => Shape::default(),
        };
        let source = match (&self.http_method, &self.method, shape.http) {
            (Some(method), ..) if shape.elb.is_some() => {
                let multi_value = self.multi_value_headers.is_some();
                (Source::Balancer { multi_value }, method.clone())
            }
            (_, _, Some(http)) if self.raw_path.is_some() => (Source::Http, http.method),
            (_, Some(method), _) if shape.service_arn.is_some() => {
                (Source::Lattice, method.clone())
            }
            (Some(method), ..) if self.version.as_deref() != Some("2.0") => {
                (Source::Rest, method.clone())
            }
            _ => return Err(EventError::Source),
        };
        Ok(source)
    }
}

impl Values {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let values = match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values,
            Self::None(()) => &[],
        };
        values.iter().map(String::as_str)
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "the event is no HTTP request: {error}"),
            Self::Source => f.write_str(
                "the event is no HTTP request of API Gateway, a function URL, a load balancer or \
                 VPC Lattice",
            ),
            Self::Base64(error) => write!(f, "the body of the request is not base64: {error}"),
            Self::Http(error) => write!(f, "the event has no HTTP request: {error}"),
        }
    }
}

impl std::error::Error for EventError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            Self::Source => None,
            Self::Base64(error) => Some(error),
            Self::Http(error) => Some(error),
        }
    }
}
