//! The one answer that an invocation gets.

use serde::Serialize;

use super::api::{Ids, Post};
use super::client::{Client, Stop};
use super::context::Context;
use super::current;
use super::error::Error;
use crate::shared::http::JSON;
use crate::shared::limits::PAYLOAD_BYTES_MAX;
use crate::shared::log_record::Level;

/// The right to answer an invocation, once.
///
/// A handler has to turn it into an [`Answered`], and every way to do that sends an answer, so no
/// invocation can be forgotten. [`typed!`](crate::typed) and [`raw!`](crate::raw) do it for a
/// function; [`handler_fn`](crate::handler_fn) has an example without them.
#[derive(Debug)]
pub struct Answer<'a> {
    pub(super) client: &'a mut Client,
    pub(super) context: &'a Context<'a>,
}

/// The proof that an invocation was answered, which a [`Handler`](crate::Handler) returns.
#[derive(Debug)]
pub struct Answered {
    /// Why the loop ends after this answer, if it does.
    pub(super) stop: Option<Stop>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(client: &'a mut Client, context: &'a Context<'a>) -> Self {
        client.event_arrived();
        Self { client, context }
    }

    /// Responds with `body` as it is.
    ///
    /// # Limits
    ///
    /// 6,291,556 bytes. A longer body is answered with the error `Function.ResponseSizeTooLarge`.
    #[must_use]
    pub fn bytes(self, body: &[u8]) -> Answered {
        self.response("Content-Type: application/octet-stream", body)
    }

    /// Responds with `value` as JSON, within the limit of [`Answer::bytes`].
    ///
    /// A value that cannot be serialised is answered with the error `Runtime.MarshalError`.
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Answered {
        self.serialised(serde_json::to_vec(value))
    }

    /// The part of [`Answer::json`] that is the same for every type.
    #[inline(never)]
    fn serialised(self, body: serde_json::Result<Vec<u8>>) -> Answered {
        match body {
            Ok(body) => self.json_text(&body),
            Err(error) => self.error(Error::new("Runtime.MarshalError", error.to_string())),
        }
    }

    /// Responds with text that already is JSON.
    pub(super) fn json_text(self, body: &[u8]) -> Answered {
        self.response(JSON, body)
    }

    #[inline(never)]
    fn response(self, content_type: &'static str, body: &[u8]) -> Answered {
        if body.len() > PAYLOAD_BYTES_MAX {
            // The platform would refuse it with 413 after failing the invocation by itself. With
            // an error of our own the caller learns both numbers.
            let length = body.len();
            let message = format!("a response of {length} bytes, limit {PAYLOAD_BYTES_MAX}");
            return self.error(Error::new("Function.ResponseSizeTooLarge", message));
        }
        let to = self.ids();
        self.send(Post::Response {
            to,
            content_type,
            body,
        })
    }

    /// Answers that the invocation failed, and writes that to the log.
    #[must_use]
    pub fn error(self, error: impl Into<Error>) -> Answered {
        self.error_report(&error.into())
    }

    /// The part of [`Answer::error`] that is the same for every type.
    #[inline(never)]
    pub(super) fn error_report(self, error: &Error) -> Answered {
        error.log(Level::Error, None);
        let to = self.ids();
        self.send(Post::Error { to, error })
    }

    const fn ids(&self) -> Ids<'a> {
        self.context.ids()
    }

    fn send(self, post: Post<'_>) -> Answered {
        current::answering();
        let stop = self.client.post(post).err();
        if stop.is_none() {
            current::answered();
        }
        Answered { stop }
    }
}
