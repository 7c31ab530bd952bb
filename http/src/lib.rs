//! HTTP events of AWS Lambda as requests and responses of the crate [`http`].
//!
//! [`handler()`] makes a handler of [`bantam`] from a function:
//!
//! ```no_run
//! use bytes::Bytes;
//! use http::{Request, Response};
//!
//! fn greet(request: Request<Bytes>) -> Result<Response<String>, http::Error> {
//!     Response::builder().body(format!("hello from {}\n", request.uri().path()))
//! }
//!
//! fn main() {
//!     bantam::main(bantam_http::handler(greet))
//! }
//! ```
//!
//! [`service()`] makes one from a service of tower, such as a router of axum.
//!
//! # Events
//!
//! | source | path | query |
//! |---|---|---|
//! | API Gateway, format 1.0 | `path`, encoded where it has to be | all values, encoded again |
//! | API Gateway, format 2.0; function URL | `rawPath`, likewise | `rawQueryString`, likewise |
//! | Application Load Balancer | `path`, likewise | all values, likewise |
//! | VPC Lattice, format 2.0 | `path`, likewise | the one in `path`, or all values, likewise |
//!
//! The URI is path and query, and the host is in the header `Host`. A stage that is part of the
//! path stays there. An event of any other kind is answered with the error
//! `Runtime.UnmarshalError`.
//!
//! The body is decoded where `isBase64Encoded` says so. The extensions of a request hold its
//! [`Invocation`] and its [`RequestContext`].
//!
//! # Responses
//!
//! A body that is UTF-8 goes out as it is, any other in base64. The response has the form that its
//! event asks for; several values of a header become one, except `Set-Cookie`. For a load balancer
//! without multi-value headers, and for VPC Lattice, each cookie has a spelling of that name of its
//! own, such as `Set-cookie`.
//!
//! A response has at most 6,291,556 bytes. A [`Service::streamed`] one has at most 200 MiB.

mod event;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod handler;
mod reply;
mod request;
mod service;
#[cfg(test)]
mod tests;

pub use self::event::EventError;
pub use self::handler::{HttpHandler, handler};
pub use self::request::{Invocation, RequestContext};
pub use self::service::{BoxError, Executor, Local, Service, service};
