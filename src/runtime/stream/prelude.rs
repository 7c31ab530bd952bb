//! The prelude of a streamed HTTP response: its status, headers and cookies, before the body.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/response-streaming-tutorial.html>.

use crate::shared::json;
use crate::shared::text::{push, push_decimal, same};

/// Status, headers and cookies of a streamed HTTP response.
///
/// ```
/// let prelude = bantam::Prelude::new(200)
///     .header("Content-Type", "text/event-stream")
///     .cookie("session=7; HttpOnly");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prelude {
    status: u16,
    headers: Vec<(String, String)>,
    cookies: Vec<String>,
}

impl Prelude {
    /// A prelude with this status, and without headers and cookies.
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            cookies: Vec::new(),
        }
    }

    /// Adds a header. The platform takes a name once, so the values of one that is there already
    /// are joined by a comma: <https://www.rfc-editor.org/rfc/rfc9110#section-5.3>. `Set-Cookie`
    /// is a [cookie](Prelude::cookie).
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if same(name.as_bytes(), b"Set-Cookie") {
            return self.cookie(value);
        }
        let is_there = |(known, _): &&mut (String, String)| same(known.as_bytes(), name.as_bytes());
        match self.headers.iter_mut().find(is_there) {
            Some((_, values)) => {
                values.push_str(", ");
                values.push_str(value);
            }
            None => self.headers.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Adds a cookie, as the value of a header `Set-Cookie`.
    #[must_use]
    pub fn cookie(mut self, cookie: &str) -> Self {
        self.cookies.push(cookie.to_owned());
        self
    }

    /// The prelude as it is sent.
    pub(in crate::runtime) fn json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        push(&mut out, "{\"statusCode\":");
        push_decimal(&mut out, u64::from(self.status));
        push(&mut out, ",\"headers\":{");
        for (name, value) in &self.headers {
            json::text_key(name, &mut out);
            json::write_str(value, &mut out);
        }
        push(&mut out, "},\"cookies\":");
        json::strings(self.cookies.iter().map(String::as_str), &mut out);
        push(&mut out, "}");
        out
    }
}

/// The end of a prelude. JSON has no NUL, so the first one begins it.
pub(in crate::runtime) const DELIMITER: &[u8] = &[0; 8];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prelude_is_json() {
        let table = [
            (
                Prelude::new(204),
                r#"{"statusCode":204,"headers":{},"cookies":[]}"#,
            ),
            (
                Prelude::new(200)
                    .header("Content-Type", "text/html; charset=\"utf-8\"")
                    .header("Vary", "Accept")
                    .header("set-cookie", "a=1; Path=/")
                    .header("vary", "Origin")
                    .header("X-Null", "a\0b\r\né")
                    .cookie("b=2"),
                concat!(
                    r#"{"statusCode":200,"headers":{"Content-Type":"text/html; charset=\"utf-8\"","#,
                    r#""Vary":"Accept, Origin","X-Null":"a\u0000b\r\né"},"#,
                    r#""cookies":["a=1; Path=/","b=2"]}"#
                ),
            ),
        ];
        for (prelude, json) in table {
            assert_eq!(String::from_utf8(prelude.json()).unwrap(), json);
        }
    }
}
