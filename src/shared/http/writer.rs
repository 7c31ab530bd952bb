//! Messages out: a head into a buffer that is used again, and head and body as slices to write.

use alloc::vec::Vec;

use memchr::memchr3;

use crate::shared::text::{push, push_decimal};

/// Writes a head into a buffer, line by line.
///
/// Values that come from outside are cleaned: a byte that would end the line, or that a field must
/// not hold, becomes a space. <https://www.rfc-editor.org/rfc/rfc9110#section-5.5>
#[derive(Debug)]
pub(crate) struct HeadWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> HeadWriter<'a> {
    /// Starts a request. `path` is the target in parts, so that nobody needs to join them.
    /// `authority` is one that [`Endpoint`](crate::shared::endpoint::Endpoint) has taken apart.
    pub(crate) fn request(
        out: &'a mut Vec<u8>,
        method: &str,
        path: &[&str],
        authority: &str,
    ) -> Self {
        out.clear();
        push(out, method);
        push(out, " ");
        let target = out.len();
        for part in path {
            push(out, part);
        }
        if memchr3(b' ', b'\r', b'\n', out.get(target..).unwrap_or_default()).is_some() {
            let unclean = out.split_off(target);
            out.extend(unclean.iter().filter(|byte| byte.is_ascii_graphic()));
        }
        // <https://www.rfc-editor.org/rfc/rfc9112#section-3.2>: every request names its host.
        for part in &[" HTTP/1.1\r\nHost: ", authority, "\r\n"] {
            push(out, part);
        }
        Self { out }
    }

    /// Starts a response. The reason phrase is left empty, as it may be:
    /// <https://www.rfc-editor.org/rfc/rfc9112#section-4>.
    pub(crate) fn response(out: &'a mut Vec<u8>, status: u16) -> Self {
        out.clear();
        push(out, "HTTP/1.1 ");
        push_decimal(out, u64::from(status));
        push(out, " \r\n");
        Self { out }
    }

    /// Starts the last chunk and the trailer section behind the chunks of a body.
    pub(crate) fn trailers(out: &'a mut Vec<u8>) -> Self {
        push(out, "0\r\n");
        Self { out }
    }

    /// Adds a field.
    #[must_use]
    pub(crate) fn field(self, name: &str, value: &[u8]) -> Self {
        push(self.out, name);
        push(self.out, ": ");
        let must_go = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        if value.iter().any(must_go) {
            let clean = |byte| if must_go(byte) { b' ' } else { *byte };
            self.out.extend(value.iter().map(clean));
        } else {
            self.out.extend_from_slice(value);
        }
        push(self.out, "\r\n");
        self
    }

    /// Adds a field that is a constant of the program, given as its line without the end.
    #[must_use]
    pub(crate) fn constant(self, line: &'static str) -> Self {
        push(self.out, line);
        push(self.out, "\r\n");
        self
    }

    /// Adds a field if there is a value for it.
    #[must_use]
    pub(crate) fn optional_field(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.field(name, value.as_bytes()),
            None => self,
        }
    }

    /// Adds the length of the body and ends the head.
    pub(crate) fn end_with_length(self, length: usize) {
        push(self.out, "Content-Length: ");
        push_decimal(self.out, length as u64);
        push(self.out, "\r\n\r\n");
    }

    /// Ends the head of a message without a body or with one in chunks, and a trailer section.
    pub(crate) fn end(self) {
        push(self.out, "\r\n");
    }
}

/// The field of a body that is JSON.
pub(crate) const JSON: &str = "Content-Type: application/json";

/// A message that is being written: its head and its body, and how much of both is out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    head: &'a [u8],
    body: &'a [u8],
}

impl<'a> Outgoing<'a> {
    /// A message of which nothing is written yet.
    #[must_use]
    pub(crate) const fn new(head: &'a [u8], body: &'a [u8]) -> Self {
        Self { head, body }
    }

    /// What is still to write, for one vectored write; `None` when all is out.
    #[must_use]
    pub(crate) const fn pending(&self) -> Option<[&'a [u8]; 2]> {
        if self.head.is_empty() && self.body.is_empty() {
            return None;
        }
        Some([self.head, self.body])
    }

    /// Takes note that `count` bytes were written.
    pub(crate) fn wrote(&mut self, count: usize) {
        let of_head = count.min(self.head.len());
        self.head = self.head.get(of_head..).unwrap_or_default();
        self.body = self.body.get(count - of_head..).unwrap_or_default();
    }
}
