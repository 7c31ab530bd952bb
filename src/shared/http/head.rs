//! The head of a message: its start line and its fields.

use memchr::memchr3;

use super::error::HttpError;
use crate::shared::digits::decimal;
use crate::shared::text::same;

/// A head whose every line has been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(super) start_line: &'a [u8],
    /// All lines, the start line included.
    pub(super) lines: &'a [u8],
    /// Where the fields are in the lines.
    pub(super) fields: &'a [Field],
}

/// Where a field is: the start of its line in the head, and the other places in the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    line_start: usize,
    name_end: usize,
    value_start: usize,
    value_end: usize,
}

/// The parts of a start line that framing needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StartLine {
    /// 0 or 1.
    pub(super) minor_version: u8,
    /// The status of a response, 0 for a request.
    pub(super) status: u16,
}

impl<'a> Head<'a> {
    /// The status of a response; `None` for a request.
    #[cfg(any(test, fuzzing))]
    #[must_use]
    pub(crate) fn status(&self) -> Option<u16> {
        status_line(self.start_line).ok().map(|line| line.status)
    }

    /// The reason phrase of a response, which may be empty.
    #[must_use]
    pub(crate) fn reason(&self) -> &'a [u8] {
        let code = split_at_space(self.start_line).map(|(_version, rest)| rest);
        let reason = code.and_then(split_at_space);
        reason.map_or(b"", |(_code, reason)| reason)
    }

    /// The method of a request; empty for a response.
    #[must_use]
    pub(crate) fn method(&self) -> &'a [u8] {
        request_line(self.start_line).map_or(b"", |(method, _, _)| method)
    }

    /// Whether the head is yet to come, in whole or in part.
    #[must_use]
    pub(crate) const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The target of a request; empty for a response.
    #[must_use]
    pub(crate) fn target(&self) -> &'a [u8] {
        request_line(self.start_line).map_or(b"", |(_, target, _)| target)
    }

    /// The fields in order: name as sent, value without the white space around it. The lines are
    /// not read again.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.fields.iter().map(|field| {
            let line = self.lines.get(field.line_start..);
            field.split(line.unwrap_or_default())
        })
    }

    /// The value of the first field with this name, compared without case.
    #[must_use]
    pub(crate) fn field(&self, name: &str) -> Option<&'a [u8]> {
        let mut fields = self.fields();
        fields
            .find(|(key, _)| same(key, name.as_bytes()))
            .map(|(_, value)| value)
    }
}

/// `status-line = HTTP-version SP status-code SP [ reason-phrase ]`
///
/// <https://www.rfc-editor.org/rfc/rfc9112#section-4>.
/// The space before an empty reason may be missing: some servers leave it out.
pub(super) fn status_line(line: &[u8]) -> Result<StartLine, HttpError> {
    let (version, rest) = split_at_space(line).ok_or(HttpError::StatusLine)?;
    let minor_version = minor_version(version).ok_or(HttpError::StatusLine)?;
    let (code, _reason) = split_at_space(rest).unwrap_or((rest, b""));
    if code.len() != 3 {
        return Err(HttpError::StatusLine);
    }
    let status = decimal(code).filter(|code| *code >= 100);
    let status = status
        .and_then(|code| u16::try_from(code).ok())
        .ok_or(HttpError::StatusLine)?;
    Ok(StartLine {
        minor_version,
        status,
    })
}

/// `request-line = method SP request-target SP HTTP-version`
///
/// <https://www.rfc-editor.org/rfc/rfc9112#section-3>
pub(super) fn request_line(line: &[u8]) -> Result<(&[u8], &[u8], StartLine), HttpError> {
    let (method, rest) = split_at_space(line).ok_or(HttpError::RequestLine)?;
    let (target, version) = split_at_space(rest).ok_or(HttpError::RequestLine)?;
    let minor_version = minor_version(version).ok_or(HttpError::RequestLine)?;
    let is_graphic = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
    if is_graphic(method) && is_graphic(target) {
        Ok((
            method,
            target,
            StartLine {
                minor_version,
                status: 0,
            },
        ))
    } else {
        Err(HttpError::RequestLine)
    }
}

impl Field {
    /// `field-line = field-name ":" OWS field-value OWS`, the name not followed by white space.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc9112#section-5>. Any other byte may be part of the name: a
    /// name that is no token means nothing to us.
    pub(super) fn parse(line_start: usize, line: &[u8]) -> Result<Self, HttpError> {
        if line.first().is_some_and(|byte| is_space(*byte)) {
            return Err(HttpError::FoldedField);
        }
        let name_end = memchr3(b':', b' ', b'\t', line).filter(|end| *end != 0);
        let name_end = name_end.ok_or(HttpError::Field)?;
        if line.get(name_end) != Some(&b':') {
            return Err(HttpError::Field);
        }
        let (mut value_start, mut value_end) = (name_end + 1, line.len());
        let is_space_at = |at: usize| line.get(at).is_some_and(|byte| is_space(*byte));
        while is_space_at(value_start) {
            value_start += 1;
        }
        while value_start < value_end && is_space_at(value_end - 1) {
            value_end -= 1;
        }
        Ok(Self {
            line_start,
            name_end,
            value_start,
            value_end,
        })
    }

    /// The name and the value, in a text that begins with the line.
    pub(super) fn split<'a>(&self, line: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let name = line.get(..self.name_end);
        let value = line.get(self.value_start..self.value_end);
        (name.unwrap_or_default(), value.unwrap_or_default())
    }
}

/// Removes `OWS = *( SP / HTAB )` at both ends.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn split_at_space(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = text.iter().position(|byte| *byte == b' ')?;
    Some((text.get(..space)?, text.get(space + 1..)?))
}

fn minor_version(text: &[u8]) -> Option<u8> {
    match text.strip_prefix(b"HTTP/1.")? {
        b"0" => Some(0),
        b"1" => Some(1),
        _ => None,
    }
}
