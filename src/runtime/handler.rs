//! Handlers, and the init step that makes them.

use super::context::Context;
use super::error::Error;
use super::response::{Answer, Answered};
use crate::shared::endpoint::Endpoint;
use crate::shared::env::Env;

/// Answers invocations.
///
/// [`typed!`](crate::typed) and [`raw!`](crate::raw) make a handler from a function, and
/// [`handler_fn`] makes one from a closure that answers by itself. A type of one's own can be one,
/// too:
///
/// ```no_run
/// use bantam::{Answer, Answered, Context, Handler};
///
/// struct Counter(u64);
///
/// impl Handler for Counter {
///     fn handle(&mut self, _: &[u8], _: &Context<'_>, answer: Answer<'_>) -> Answered {
///         self.0 += 1;
///         answer.json(&self.0)
///     }
/// }
///
/// fn main() {
///     bantam::main(Counter(0))
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not a handler",
    note = "a function of types for serde becomes a handler by `bantam::typed!(function)`",
    note = "a function of bytes becomes a handler by `bantam::raw!(function)`"
)]
pub trait Handler {
    /// Answers one invocation. The event and the context are borrowed from the receive buffer.
    fn handle(&mut self, event: &[u8], context: &Context<'_>, answer: Answer<'_>) -> Answered;
}

/// A handler from a closure that answers by itself, such as one that hands some events to one
/// handler and some to another.
///
/// ```no_run
/// use bantam::{Answer, Context};
///
/// fn main() {
///     bantam::main(bantam::handler_fn(|event: &[u8], context: &Context<'_>, answer: Answer<'_>| {
///         if event == b"\"ping\"" { answer.json("pong") } else { answer.bytes(event) }
///     }))
/// }
/// ```
#[must_use = "hand it to `bantam::main`"]
pub const fn handler_fn<F>(answer: F) -> HandlerFn<F>
where
    F: FnMut(&[u8], &Context<'_>, Answer<'_>) -> Answered,
{
    HandlerFn(answer)
}

/// The handler that [`handler_fn`], [`typed!`](crate::typed) and [`raw!`](crate::raw) make.
#[derive(Debug)]
#[must_use = "hand it to `bantam::main`"]
pub struct HandlerFn<F>(F);

impl<F: FnMut(&[u8], &Context<'_>, Answer<'_>) -> Answered> Handler for HandlerFn<F> {
    fn handle(&mut self, event: &[u8], context: &Context<'_>, answer: Answer<'_>) -> Answered {
        (self.0)(event, context, answer)
    }
}

/// Makes a handler. A handler makes itself; [`init!`](crate::init), the hooks and
/// [`executable`](crate::executable) make theirs in the init phase.
///
/// It is not meant to be implemented elsewhere: an init step of one's own is a function for
/// [`init!`](crate::init).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler and does not make one",
    label = "not a handler",
    note = "a function of types for serde becomes a handler by `bantam::typed!(function)`",
    note = "a function of bytes becomes a handler by `bantam::raw!(function)`",
    note = "a function that makes the handler goes into `bantam::init!(function)`"
)]
pub trait Init {
    /// The handler it makes.
    type Handler: Handler;

    /// Makes the handler, once, in the init phase.
    ///
    /// # Errors
    ///
    /// The failure of the initialisation, which is reported.
    #[doc(hidden)]
    fn init(self, env: &Env) -> Result<Self::Handler, Error>;

    /// What the supervisor of several workers, in which no init step runs, does beside starting
    /// them.
    #[doc(hidden)]
    fn beside_workers(&self, _env: &Env) -> Beside {
        Beside::default()
    }
}

/// What the supervisor of several workers does beside starting them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside {
    /// It starts a process that keeps the HTTP server which all workers use.
    pub(super) has_keeper: bool,
    /// It registers as an extension, so that the platform sends SIGTERM.
    pub(super) register: Option<fn(&Endpoint)>,
}

impl<H: Handler> Init for H {
    type Handler = H;

    fn init(self, _env: &Env) -> Result<H, Error> {
        Ok(self)
    }
}

/// An init step; [`init!`](crate::init) makes it.
#[derive(Debug)]
#[must_use = "hand it to `bantam::main`"]
pub struct InitFn<F>(pub(super) F);

impl<H: Handler, F: FnOnce() -> Result<H, Error>> Init for InitFn<F> {
    type Handler = H;

    fn init(self, _env: &Env) -> Result<H, Error> {
        (self.0)()
    }
}
