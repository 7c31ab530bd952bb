//! Events that are HTTP requests, in the forms of those who send them.
//!
//! - API Gateway's REST APIs, payload format 1.0, and HTTP APIs, format 2.0:
//!   <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
//! - function URLs, format 2.0: <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>
//! - Application Load Balancers:
//!   <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html>
//! - VPC Lattice, event structure version 2:
//!   <https://docs.aws.amazon.com/vpc-lattice/latest/ug/lambda-functions.html>

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::shared::json;

/// Who sent a request, which says what the response looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A REST API of API Gateway.
    RestApi,
    /// An HTTP API of API Gateway, or a function URL.
    HttpApi,
    /// An Application Load Balancer.
    LoadBalancer,
    /// A service of VPC Lattice.
    Lattice,
}

/// A request as an event holds it.
#[derive(Debug)]
pub(super) struct HttpEvent<'a> {
    pub(super) origin: Origin,
    pub(super) method: Cow<'a, str>,
    pub(super) path: Cow<'a, str>,
    pub(super) query: Query<'a>,
    pub(super) headers: Vec<Pair<'a>>,
    /// Cookies that are not among the headers.
    pub(super) cookies: Vec<Pair<'a>>,
    pub(super) body: Cow<'a, str>,
    pub(super) is_base64: bool,
    /// The request context, which is JSON.
    pub(super) context: &'a RawValue,
}

/// The query of a request.
#[derive(Debug)]
pub(super) enum Query<'a> {
    /// As it stands in a URL, without the question mark.
    Raw(Cow<'a, str>),
    /// Names and values that are percent-encoded.
    Encoded(Vec<Pair<'a>>),
    /// Names and values that have been decoded.
    Decoded(Vec<Pair<'a>>),
}

/// A name and one of its values.
pub(super) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The members that tell about a request, of the event, of its request context, and of `http` in
/// that. One table is a fifth of the code of derived structs.
#[derive(Default)]
struct Members<'a> {
    /// The values of [`TEXTS`].
    texts: [Option<Text<'a>>; 8],
    /// The values of [`PAIRS`].
    pairs: [Pairs<'a>; 5],
    /// The values of [`MARKS`].
    marks: [bool; 3],
    context: Option<&'a RawValue>,
    /// The method in `http`.
    http: Option<Text<'a>>,
}

const TEXTS: [&str; 8] = [
    "httpMethod",
    "method",
    "path",
    "rawPath",
    "rawQueryString",
    "body",
    // Of a Cognito identity.
    "cognitoIdentityId",
    "cognitoIdentityPoolId",
];

const PAIRS: [&str; 5] = [
    "multiValueHeaders",
    "headers",
    "multiValueQueryStringParameters",
    "queryStringParameters",
    "cookies",
];

/// True if they are there and neither `false` nor `null`.
const MARKS: [&str; 3] = ["isBase64Encoded", "elb", "serviceNetworkArn"];

/// A string that is borrowed where it has no escapes.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// An object whose members are strings or arrays of strings; `null` has no members. An array of
/// strings is one of cookies.
#[derive(Default)]
struct Pairs<'a>(Vec<Pair<'a>>);

/// The request in an event; `None` if the event is none of these.
pub(super) fn parse(event: &[u8]) -> Option<HttpEvent<'_>> {
    let event = members(event)?;
    let raw_context = event.context?;
    let context = members(raw_context.get().as_bytes())?;
    let [top_method, method, path, raw_path, raw_query, body, ..] = event.texts;
    let [all_headers, headers, all_parameters, parameters, cookies] = event.pairs;
    let [is_base64, ..] = event.marks;
    let [_, is_load_balancer, is_lattice] = context.marks;
    let (origin, method) = if context.http.is_some() {
        (Origin::HttpApi, context.http)
    } else if is_load_balancer {
        (Origin::LoadBalancer, top_method)
    } else if is_lattice {
        (Origin::Lattice, method)
    } else {
        (Origin::RestApi, top_method)
    };
    let Text(method) = method.filter(|Text(method)| is_token(method.as_bytes()))?;
    // Both forms may be there. Of several values, the single one is the last.
    let either = |Pairs(all), Pairs(last)| if all.is_empty() { last } else { all };
    let parameters = either(all_parameters, parameters);
    let path = text(path);
    let (path, query) = match (origin, path.split_once('?')) {
        (Origin::HttpApi, _) => (text(raw_path), Query::Raw(text(raw_query))),
        (Origin::RestApi, _) => (path, Query::Decoded(parameters)),
        // Its path has the query too, as the client wrote it.
        (Origin::Lattice, Some((path, query))) => {
            let [path, query] = [path, query].map(|part| Cow::Owned(part.to_owned()));
            (path, Query::Raw(query))
        }
        (Origin::LoadBalancer | Origin::Lattice, _) => (path, Query::Encoded(parameters)),
    };
    Some(HttpEvent {
        origin,
        method,
        path,
        query,
        headers: either(all_headers, headers),
        cookies: cookies.0,
        body: text(body),
        is_base64,
        context: raw_context,
    })
}

/// The members of a Cognito identity: its id, and the id of its pool.
pub(super) fn identity(identity: &[u8]) -> Option<[Option<Text<'_>>; 2]> {
    let [.., id, pool_id] = members(identity)?.texts;
    Some([id, pool_id])
}

/// The name of the header that cookies are in.
pub(super) const COOKIE: &str = "cookie";

fn members(document: &[u8]) -> Option<Members<'_>> {
    json::read(document).ok()
}

fn text(text: Option<Text<'_>>) -> Cow<'_, str> {
    text.map_or(Cow::Borrowed(""), |Text(text)| text)
}

/// True for a method or the name of a field.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2>
pub(super) fn is_token(text: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_part)
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = Members::default();
        while let Some(Text(name)) = members.next_key()? {
            let is_name = |other: &&str| **other == *name;
            if let Some(text) = value_of(&TEXTS, &mut found.texts, is_name) {
                *text = members.next_value()?;
            } else if let Some(pairs) = value_of(&PAIRS, &mut found.pairs, is_name) {
                *pairs = members.next_value()?;
            } else if let Some(mark) = value_of(&MARKS, &mut found.marks, is_name) {
                let value: &RawValue = members.next_value()?;
                *mark = !matches!(value.get(), "null" | "false");
            } else if name == "requestContext" {
                found.context = members.next_value()?;
            } else if name == "http" {
                let http: Members<'de> = members.next_value()?;
                let [_, method, ..] = http.texts;
                found.http = method;
            } else {
                let _other: IgnoredAny = members.next_value()?;
            }
        }
        Ok(found)
    }
}

/// The value of the name that `is_name` knows.
fn value_of<'v, T>(
    names: &[&str],
    values: &'v mut [T],
    is_name: impl Fn(&&str) -> bool,
) -> Option<&'v mut T> {
    values.get_mut(names.iter().position(is_name)?)
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Pairs::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Pairs::default();
        let name = Cow::Borrowed(COOKIE);
        Values {
            name,
            pairs: &mut pairs.0,
        }
        .visit_seq(values)?;
        Ok(pairs)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Pairs::default();
        while let Some(Text(name)) = members.next_key()? {
            members.next_value_seed(Values {
                name,
                pairs: &mut pairs.0,
            })?;
        }
        Ok(pairs)
    }
}

/// Adds the values of one name.
struct Values<'p, 'a> {
    name: Cow<'a, str>,
    pairs: &'p mut Vec<Pair<'a>>,
}

impl<'de> DeserializeSeed<'de> for Values<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, or an array of strings")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        self.pairs.push((self.name, Cow::Borrowed(value)));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.pairs.push((self.name, Cow::Owned(value.to_owned())));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while let Some(Text(value)) = values.next_element()? {
            self.pairs.push((self.name.clone(), value));
        }
        Ok(())
    }
}
