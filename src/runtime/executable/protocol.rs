//! The lines between the runtime and a persistent process.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::error::{ProtocolError, quoted};
use crate::runtime::context::Context;
use crate::runtime::error::Error;
use crate::shared::base64;
use crate::shared::json::{self, Object};
use crate::shared::limits::CHAIN_LENGTH_MAX;

/// One line to the process.
#[derive(Serialize)]
struct Input<'a> {
    context: InputContext<'a>,
    event: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InputContext<'a> {
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoked_function_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_context: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cognito_identity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    availability_zone: Option<&'a str>,
}

/// One line from the process.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OutputLine<'a> {
    #[serde(default)]
    ready: Option<bool>,
    #[serde(default)]
    sigterm: Option<bool>,
    /// `null` is a response too.
    #[serde(borrow, default, deserialize_with = "present")]
    response: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Object<ErrorMember>>,
    #[serde(default)]
    prelude: Option<&'a RawValue>,
    #[serde(default)]
    chunk: Option<Text>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
    #[serde(default)]
    end: Option<bool>,
    #[serde(default)]
    request_id: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
struct ErrorMember {
    error_type: Text,
    error_message: Text,
    #[serde(default)]
    stack_trace: Option<Vec<Text>>,
}

/// A string, with U+FFFD for half of a surrogate pair: some programs write the escape that JSON has
/// for it.
struct Text(String);

/// The content of a line from the process.
#[derive(Debug)]
pub(super) enum Said<'a> {
    Ready {
        /// The process is to get SIGTERM before the environment ends.
        sigterm: bool,
    },
    Response(&'a RawValue),
    Error(Error),
    /// Status and headers of a response that is streamed.
    Prelude(&'a RawValue),
    /// A part of a response that is streamed.
    Chunk(Vec<u8>),
    /// The end of such a response.
    End,
}

/// The line that hands an event to the process.
///
/// # Errors
///
/// `Runtime.UnmarshalError` for an event that is not JSON.
pub(super) fn input_line(
    event: &[u8],
    context: &Context<'_>,
    availability_zone: Option<&str>,
) -> Result<Vec<u8>, Error> {
    let input = Input {
        context: InputContext {
            request_id: context.request_id(),
            deadline_ms: context.deadline_ms(),
            invoked_function_arn: context.invoked_function_arn(),
            trace_id: context.trace_id(),
            client_context: context.client_context(),
            cognito_identity: context.cognito_identity(),
            tenant_id: context.tenant_id(),
            availability_zone,
        },
        event: crate::runtime::macros::private::parse(event)?,
    };
    let mut line = serde_json::to_vec(&input)?;
    // Between the tokens of JSON a line end is white space, and inside a string it cannot stand.
    // <https://www.rfc-editor.org/rfc/rfc8259#section-2>
    for byte in line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    line.push(b'\n');
    Ok(line)
}

/// Reads a line: its content, and the request that it answers if it names one. What is not UTF-8
/// becomes U+FFFD.
///
/// # Errors
///
/// How the line breaks the protocol.
pub(super) fn parse(line: &mut Vec<u8>) -> Result<(Said<'_>, Option<String>), ProtocolError> {
    // Some programs cut text in the middle of a character.
    if std::str::from_utf8(line).is_err() {
        *line = String::from_utf8_lossy(line).into_owned().into_bytes();
    }
    let line = line.as_slice();
    let quoted = || quoted(line);
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(ProtocolError::NotAnObject { line: quoted() });
    }
    let Object(output): Object<OutputLine<'_>> = json::read(line).map_err(|error| {
        let path = json::path_at(line, error.line(), error.column());
        let colon = if path.is_empty() { "" } else { ": " };
        let cause = format!("{path}{colon}{error}");
        let line = quoted();
        ProtocolError::Malformed { cause, line }
    })?;
    let malformed = |cause: &str| ProtocolError::Malformed {
        cause: cause.to_owned(),
        line: quoted(),
    };
    let bytes = |Text(text): Text| {
        if output.is_base64_encoded != Some(true) {
            return Ok(text.into_bytes());
        }
        base64::decode(text.as_bytes()).ok_or_else(|| malformed("chunk: not base64"))
    };
    if output
        .prelude
        .is_some_and(|prelude| !prelude.get().starts_with('{'))
    {
        return Err(malformed("prelude: expected an object"));
    }
    // Some programs write all members always, and null for those that they do not mean.
    let null = output.response.filter(|response| response.get() == "null");
    let response = output.response.filter(|_| null.is_none());
    let said = [
        (output.ready == Some(true)).then_some(Said::Ready {
            sigterm: output.sigterm == Some(true),
        }),
        response.map(Said::Response),
        output.error.map(|Object(error)| Said::Error(error.into())),
        output.prelude.map(Said::Prelude),
        output.chunk.map(bytes).transpose()?.map(Said::Chunk),
        (output.end == Some(true)).then_some(Said::End),
    ];
    let others = || ProtocolError::OtherMembers { line: quoted() };
    let mut said = said.into_iter().flatten();
    let said = match (said.next(), said.next()) {
        (Some(said), None) => said,
        (None, _) => null.map(Said::Response).ok_or_else(others)?,
        (Some(_), Some(_)) => return Err(others()),
    };
    Ok((said, output.request_id.map(|Text(id)| id)))
}

impl From<ErrorMember> for Error {
    fn from(error: ErrorMember) -> Self {
        let Text(message) = error.error_message;
        let lines = error.stack_trace.unwrap_or_default().into_iter();
        let lines = lines.map(|Text(line)| line).take(CHAIN_LENGTH_MAX);
        Self::new(error.error_type.0, message).with_stack_trace(lines)
    }
}

/// Reads a member that is there, `null` included.
fn present<'a, D: Deserializer<'a>>(value: D) -> Result<Option<&'a RawValue>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        // As bytes, serde_json takes what is not Unicode: half a surrogate pair becomes three bytes
        // that no character has. <https://docs.rs/serde_json/latest/serde_json/fn.from_slice.html>
        value.deserialize_bytes(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Text, E> {
        let mut bytes = bytes.to_vec();
        for at in 0..bytes.len() {
            if let Some(half @ [0xED, 0xA0..=0xBF, 0x80..=0xBF]) = bytes.get_mut(at..at + 3) {
                half.copy_from_slice("\u{FFFD}".as_bytes());
            }
        }
        Ok(Text(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a line says, in short.
    fn said(line: &str) -> String {
        match parse(&mut line.as_bytes().to_vec()) {
            Ok((Said::Ready { sigterm: false }, _)) => "ready".to_owned(),
            Ok((Said::Ready { sigterm: true }, _)) => "ready, with sigterm".to_owned(),
            Ok((Said::Response(response), id)) => {
                format!("{} {}", response.get(), id.unwrap_or_default())
            }
            Ok((Said::Error(error), _)) => format!("{error:?}"),
            Ok((Said::Prelude(prelude), _)) => format!("prelude {}", prelude.get()),
            Ok((Said::Chunk(chunk), _)) => format!("chunk {chunk:?}"),
            Ok((Said::End, _)) => "end".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_event_is_one_line_to_the_process() {
        let context = Context::for_test("id");
        let line = input_line(b"{\"a\":\r\n1}", &context, Some("use1-az1")).unwrap();
        let deadline = context.deadline_ms().unwrap();
        let expected = format!(
            "{{\"context\":{{\"requestId\":\"id\",\"deadlineMs\":{deadline},\
             \"availabilityZone\":\"use1-az1\"}},\"event\":{{\"a\":  1}}}}\n"
        );
        assert_eq!(String::from_utf8(line).unwrap(), expected);
        let error = input_line(b"{", &context, None).unwrap_err();
        assert_eq!(error.error_type(), "Runtime.UnmarshalError");
    }

    #[test]
    fn a_line_says_one_thing() {
        let table = [
            (r#"{"ready":true}"#, "ready"),
            (r#" {"ready":true,"version":7} "#, "ready"),
            (r#"{"ready":true,"sigterm":true}"#, "ready, with sigterm"),
            (r#"{"ready":true,"sigterm":null}"#, "ready"),
            ("{\"ready\":true}\r", "ready"),
            (
                r#"{"response":{"a":[1]},"requestId":"r"}"#,
                r#"{"a":[1]} r"#,
            ),
            (r#"{"response":null}"#, "null "),
            (r#"{"ready":null,"response":1,"error":null}"#, "1 "),
            (r#"{"response":"\ud83d"}"#, r#""\ud83d" "#),
            (
                r#"{"response":null,"error":{"errorType":"T","errorMessage":"m"}}"#,
                r#"Error { error_type: "T", message: "m", sources: [], stack_trace: [] }"#,
            ),
            (
                r#"{"error":{"errorType":"T","errorMessage":"m","stackTrace":["a"]}}"#,
                r#"Error { error_type: "T", message: "m", sources: [], stack_trace: ["a"] }"#,
            ),
            (
                r#"{"prelude":{"statusCode":200}}"#,
                r#"prelude {"statusCode":200}"#,
            ),
            (r#"{"chunk":"é"}"#, "chunk [195, 169]"),
            (r#"{"chunk":"","response":null}"#, "chunk []"),
            (
                r#"{"chunk":"AP8=","isBase64Encoded":true}"#,
                "chunk [0, 255]",
            ),
            (
                r#"{"chunk":"AP8=","isBase64Encoded":false}"#,
                "chunk [65, 80, 56, 61]",
            ),
            (r#"{"end":true}"#, "end"),
        ];
        for (line, expected) in table {
            assert_eq!(said(line), expected, "{line}");
        }
    }

    #[test]
    fn text_that_is_not_unicode_is_kept_as_far_as_it_goes() {
        let table: [(&[u8], &str); 6] = [
            (br"cut \ud83d", "cut \u{FFFD}"),
            (br"\udc00\ud83d\ude00", "\u{FFFD}\u{1F600}"),
            (b"cut \xF0\x9F", "cut \u{FFFD}"),
            (b"cut \xED\xA0, on", "cut \u{FFFD}\u{FFFD}, on"),
            ("\u{D7FF}\u{E000}".as_bytes(), "\u{D7FF}\u{E000}"),
            (br#"\"\n\u0041"#, "\"\nA"),
        ];
        let mut line = b"{\"response\":\"cut \xC3\"}".to_vec();
        let Ok((Said::Response(response), None)) = parse(&mut line) else {
            panic!("a response");
        };
        assert_eq!(response.get(), "\"cut \u{FFFD}\"");
        for (text, expected) in table {
            let start: &[u8] = br#"{"error":{"errorType":"T","errorMessage":""#;
            let mut line = [start, text, br#""}}"#].concat();
            let Ok((Said::Error(error), None)) = parse(&mut line) else {
                panic!("{}", said(&String::from_utf8_lossy(&line)));
            };
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_line_that_is_no_answer_is_quoted_with_its_fault() {
        let missing = "none of {\"ready\":true}, {\"response\":…}, {\"error\":…}";
        let table = [
            (
                "Loading model v3 ...",
                "not a JSON object: \"Loading model v3 ...\"",
            ),
            ("[1]", "not a JSON object: \"[1]\""),
            ("{}", missing),
            (r#"{"ready":false}"#, missing),
            (r#"{"ready":true,"response":1}"#, missing),
            (
                r#"{"response":1,"error":{"errorType":"T","errorMessage":"m"}}"#,
                missing,
            ),
            (r#"{"chunk":"a","end":true}"#, missing),
            (r#"{"prelude":200}"#, "prelude: expected an object"),
            (r#"{"end":false}"#, missing),
            (r#"{"isBase64Encoded":true}"#, missing),
            (
                r#"{"chunk":"a","isBase64Encoded":true}"#,
                "chunk: not base64",
            ),
            (
                r#"{"chunk":1}"#,
                "chunk: invalid type: integer `1`, expected a string",
            ),
            (r#"{"response":1"#, "EOF while parsing an object"),
            (r#"{"response":1}}"#, "trailing characters"),
            (
                r#"{"ready":1}"#,
                "ready: invalid type: integer `1`, expected a boolean",
            ),
            (
                r#"{"response":1,"response":2}"#,
                "duplicate field `response`",
            ),
            (
                r#"{"response":1,"requestId":1}"#,
                "requestId: invalid type: integer `1`, expected a string",
            ),
            (
                r#"{"error":7}"#,
                "error: invalid type: integer `7`, expected an object",
            ),
            (
                r#"{"error":{"errorType":"a","errorType":"b"}}"#,
                "error: duplicate field `errorType`",
            ),
            (
                r#"{"error":{"errorType":"a"}}"#,
                "error: missing field `errorMessage`",
            ),
            (
                r#"{"error":{"errorType":1.5,"errorMessage":"m"}}"#,
                "error.errorType: invalid type: floating point `1.5`, expected a string",
            ),
            (
                r#"{"error":{"errorType":"T","errorMessage":"m","stackTrace":["a",1]}}"#,
                "error.stackTrace[1]: invalid type: integer `1`, expected a string",
            ),
        ];
        for (line, expected) in table {
            let found = said(line);
            assert!(found.contains(expected), "{line}: {found}");
        }
    }
}
