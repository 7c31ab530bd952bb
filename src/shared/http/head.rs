//! The head of a message: its start line and its fields.

use memchr::memchr;

use super::error::HttpError;
use crate::shared::text::same;

/// A head whose every line has been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    /// The lines with their line ends, the empty line included.
    lines: &'a [u8],
}

/// What a start line says, as far as framing needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StartLine {
    /// 0 or 1.
    pub(super) minor_version: u8,
    /// The status of a response, 0 for a request.
    pub(super) status: u16,
}

impl<'a> Head<'a> {
    pub(super) const fn checked(lines: &'a [u8]) -> Self {
        Self { lines }
    }

    /// The status of a response; `None` for a request.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn status(&self) -> Option<u16> {
        status_line(self.start_line()).ok().map(|line| line.status)
    }

    /// The method of a request; empty for a response.
    #[must_use]
    pub(crate) fn method(&self) -> &'a [u8] {
        request_line(self.start_line()).map_or(b"", |(method, _, _)| method)
    }

    /// The target of a request; empty for a response.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn target(&self) -> &'a [u8] {
        request_line(self.start_line()).map_or(b"", |(_, target, _)| target)
    }

    fn start_line(&self) -> &'a [u8] {
        lines(self.lines).next().unwrap_or_default()
    }

    /// The fields in order: name as sent, value without the white space around it.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        // Every line was checked when it was read; here only the colon has to be found again.
        lines(self.lines).skip(1).filter_map(|line| {
            let colon = memchr(b':', line)?;
            let (name, value) = line.split_at_checked(colon)?;
            Some((name, trim(value.get(1..)?)))
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

/// The lines of a section that ends with an empty line, without their line ends.
fn lines(mut section: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (line, rest) = section.split_at_checked(memchr(b'\r', section)?)?;
        section = rest.get(2..)?;
        (!line.is_empty()).then_some(line)
    })
}

/// `status-line = HTTP-version SP status-code SP [ reason-phrase ]`
///
/// <https://www.rfc-editor.org/rfc/rfc9112#section-4>.
/// The space before an empty reason may be missing: some servers leave it out.
pub(super) fn status_line(line: &[u8]) -> Result<StartLine, HttpError> {
    let (version, rest) = split_at_space(line).ok_or(HttpError::StatusLine)?;
    let minor_version = minor_version(version).ok_or(HttpError::StatusLine)?;
    let (code, reason) = split_at_space(rest).unwrap_or((rest, b""));
    if code.len() != 3 || first_outside(FIELD, reason).is_some() {
        return Err(HttpError::StatusLine);
    }
    let status = super::decimal(code).filter(|code| *code >= 100);
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
    let method_is_token = !method.is_empty() && first_outside(TOKEN, method).is_none();
    let target_is_graphic = !target.is_empty() && target.iter().all(u8::is_ascii_graphic);
    if method_is_token && target_is_graphic {
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

/// `field-line = field-name ":" OWS field-value OWS`, the name not followed by white space.
///
/// <https://www.rfc-editor.org/rfc/rfc9112#section-5>
pub(super) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), HttpError> {
    if line.first().is_some_and(|byte| is_space(*byte)) {
        return Err(HttpError::FoldedField);
    }
    // What ends the name must be the colon, so that one pass both checks and finds it.
    let end = first_outside(TOKEN, line)
        .filter(|end| *end != 0)
        .ok_or(HttpError::Field)?;
    let (name, value) = line.split_at_checked(end).ok_or(HttpError::Field)?;
    let value = trim(value.strip_prefix(b":").ok_or(HttpError::Field)?);
    match first_outside(FIELD, value) {
        None => Ok((name, value)),
        Some(_) => Err(HttpError::Field),
    }
}

/// Removes `OWS = *( SP / HTAB )` at both ends.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_space(*last)
    {
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

/// Where the first byte stands that is not of `class`.
fn first_outside(class: u8, text: &[u8]) -> Option<usize> {
    text.iter().position(|byte| {
        CLASSES
            .get(usize::from(*byte))
            .is_none_or(|of| of & class == 0)
    })
}

/// `tchar`, <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2>
const TOKEN: u8 = 1;

/// `VCHAR / obs-text / SP / HTAB`, <https://www.rfc-editor.org/rfc/rfc9110#section-5.5>
const FIELD: u8 = 2;

/// The classes of every byte: one look-up where a comparison with ranges would take six.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let token = matches!(
            byte,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~'
            | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z'
        );
        let field = matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        classes[byte as usize] = (token as u8 * TOKEN) | (field as u8 * FIELD);
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};
