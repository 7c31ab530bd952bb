//! A function of requests as a handler.

use std::fmt;

use bantam::{Answer, Answered, Context, Error, Handler};
use bytes::Bytes;
use http::{Request, Response};

use crate::event::EventError;
use crate::reply::Reply;
use crate::request;

/// Makes a handler from a function that answers requests.
///
/// The body of a response may be a string or bytes. An error of the function is the error of the
/// invocation, for which callers see the status 502.
#[must_use = "hand it to `bantam::main`"]
pub const fn handler<F, B, E>(respond: F) -> HttpHandler<F>
where
    F: FnMut(Request<Bytes>) -> Result<Response<B>, E>,
    B: AsRef<[u8]>,
    E: Into<Error>,
{
    HttpHandler(respond)
}

/// A function of requests as a handler; [`handler()`] makes it.
#[must_use = "hand it to `bantam::main`"]
pub struct HttpHandler<F>(F);

impl<F, B, E> Handler for HttpHandler<F>
where
    F: FnMut(Request<Bytes>) -> Result<Response<B>, E>,
    B: AsRef<[u8]>,
    E: Into<Error>,
{
    fn handle(&mut self, event: &[u8], context: &Context<'_>, answer: Answer<'_>) -> Answered {
        let (request, source) = match request::read(event, context) {
            Ok(read) => read,
            Err(error) => return answer.error(no_request(&error)),
        };
        match (self.0)(request) {
            Ok(response) => {
                let (head, body) = response.into_parts();
                answer.json(&Reply::new(source, &head, body.as_ref()))
            }
            Err(error) => answer.error(error),
        }
    }
}

/// The error of an event that is no request.
pub(crate) fn no_request(error: &EventError) -> Error {
    Error::new("Runtime.UnmarshalError", error.to_string())
}

impl<F> fmt::Debug for HttpHandler<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpHandler").finish_non_exhaustive()
    }
}
