//! Handlers, the initialisation that makes them, and the macros that turn functions into them.

use super::context::Context;
use super::response::{Answer, Answered};
use crate::runtime::error::Error;
use crate::shared::env::Env;

/// What answers invocations.
///
/// [`typed!`](crate::typed) and [`raw!`](crate::raw) make one from a function; a closure over
/// `(&[u8], &Context<'_>, Answer<'_>)` is one by itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "wrap a function in `bantam::typed!` or `bantam::raw!`"
)]
pub trait Handler {
    /// Answers one invocation. The event and the context are borrowed from the receive buffer.
    fn handle(&mut self, event: &[u8], context: &Context<'_>, answer: Answer<'_>) -> Answered;
}

impl<F: FnMut(&[u8], &Context<'_>, Answer<'_>) -> Answered> Handler for F {
    fn handle(&mut self, event: &[u8], context: &Context<'_>, answer: Answer<'_>) -> Answered {
        self(event, context, answer)
    }
}

/// What makes a handler: a handler itself, [`init!`](crate::init), or
/// [`executable`](crate::executable).
#[diagnostic::on_unimplemented(
    message = "`{Self}` neither is a handler nor makes one",
    label = "wrap a function in `bantam::typed!`, `bantam::raw!` or `bantam::init!`"
)]
pub trait Init {
    /// The handler it makes.
    type Handler: Handler;

    /// Makes the handler, once, in the init phase.
    ///
    /// # Errors
    ///
    /// What is reported as the failure of the initialisation.
    #[doc(hidden)]
    fn init(self, env: &Env) -> Result<Self::Handler, Error>;
}

impl<H: Handler> Init for H {
    type Handler = H;

    fn init(self, _env: &Env) -> Result<H, Error> {
        Ok(self)
    }
}

/// An init step; [`init!`](crate::init) makes it.
#[derive(Debug)]
pub struct InitFn<F>(F);

impl<H: Handler, F: FnOnce() -> Result<H, Error>> Init for InitFn<F> {
    type Handler = H;

    fn init(self, _env: &Env) -> Result<H, Error> {
        (self.0)()
    }
}

/// Makes a handler from a function `(event, &Context) -> Result<response, error>` over types that
/// serde reads and writes.
///
/// The event may borrow: a `&str`, a `Cow<str>` or a `&RawValue` in it points into the receive
/// buffer, and nothing is copied.
/// An event that does not fit the type is answered with the error `Runtime.UnmarshalError`, which
/// names the path to the field; the next event is served as usual.
/// The error may be any [`std::error::Error`], a boxed one, a string, or a type that chooses its
/// name with [`ErrorType`](crate::ErrorType).
///
/// ```no_run
/// use bantam::Context;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct Order<'a> { item: &'a str, count: u32 }
///
/// #[derive(Serialize)]
/// struct Receipt<'a> { item: &'a str, total: u32 }
///
/// fn order<'a>(order: Order<'a>, _: &Context<'_>) -> Result<Receipt<'a>, bantam::Error> {
///     let total = order.count.checked_mul(7).ok_or(bantam::Error::new("TooMany", "too many"))?;
///     Ok(Receipt { item: order.item, total })
/// }
///
/// fn main() {
///     bantam::main(bantam::typed!(order))
/// }
/// ```
///
/// What a closure captures lives as long as the handler, whether it is marked `move` or not.
#[macro_export]
macro_rules! typed {
    (move $($closure:tt)+) => {
        $crate::typed!($($closure)+)
    };
    ($handler:expr) => {
        move |event: &[u8], context: &$crate::Context<'_>, answer: $crate::Answer<'_>| {
            match $crate::private::parse(event) {
                Ok(event) => match ($handler)(event, context) {
                    Ok(response) => answer.json(&response),
                    Err(error) => answer.error($crate::__error!(error)),
                },
                Err(error) => answer.error(error),
            }
        }
    };
}

/// Makes a handler from a function `(&[u8], &Context) -> Result<response, error>` over bytes.
///
/// The response is anything that shows bytes (`Vec<u8>`, `String`, `&'static str`), or a part of
/// the event itself. Errors are those of [`typed!`](crate::typed).
///
/// ```no_run
/// use std::convert::Infallible;
/// use bantam::Context;
///
/// fn echo<'a>(event: &'a [u8], _: &Context<'_>) -> Result<&'a [u8], Infallible> {
///     Ok(event)
/// }
///
/// fn main() {
///     bantam::main(bantam::raw!(echo))
/// }
/// ```
#[macro_export]
macro_rules! raw {
    (move $($closure:tt)+) => {
        $crate::raw!($($closure)+)
    };
    ($handler:expr) => {
        move |event: &[u8], context: &$crate::Context<'_>, answer: $crate::Answer<'_>| {
            match ($handler)(event, context) {
                Ok(response) => answer.bytes(::core::convert::AsRef::<[u8]>::as_ref(&response)),
                Err(error) => answer.error($crate::__error!(error)),
            }
        }
    };
}

/// Makes the handler in a step of its own, once, in the init phase, from a function
/// `() -> Result<handler, error>`.
///
/// Its error is reported as the failure of the initialisation, with its type, and the process
/// exits.
///
/// ```no_run
/// use bantam::{Context, Handler};
///
/// fn setup() -> Result<impl Handler, std::io::Error> {
///     let mut words = std::fs::read_to_string("words.txt")?;
///     Ok(bantam::typed!(|word: &str, _: &Context<'_>| {
///         words.push_str(word);
///         Ok::<_, bantam::Error>(words.len())
///     }))
/// }
///
/// fn main() {
///     bantam::main(bantam::init!(setup))
/// }
/// ```
#[macro_export]
macro_rules! init {
    ($setup:expr) => {
        $crate::private::init(move || match ($setup)() {
            Ok(handler) => Ok(handler),
            Err(error) => Err($crate::__error!(error)),
        })
    };
}

/// The error of a handler as [`Error`](crate::Error), by the first of these that fits its type:
/// that one itself or an [`ErrorType`](crate::ErrorType), any [`std::error::Error`], what can be
/// boxed as one that is `Send + Sync`, or a box of any.
///
/// Method look-up tries a receiver as it is, then with a reference more, then with one less, then
/// with two, so the traits are ranked by where their `kind` is implemented.
#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($error:expr) => {{
        #[allow(
            unused_imports,
            clippy::allow_attributes,
            reason = "one of them is used"
        )]
        use $crate::private::{
            BoxedKind as _, ChosenKind as _, ErrorKind as _, LocalKind as _, OwnKind as _,
        };
        let error = $crate::private::Ranked($error);
        let kind = (&&&error).kind();
        kind.error(error.0)
    }};
}

/// What the macros expand to. Not part of the API.
#[doc(hidden)]
pub mod private {
    use std::error::Error as StdError;

    use serde::Deserialize;

    use super::{Handler, InitFn};
    use crate::runtime::error::{Error, ErrorType};
    use crate::shared::json;

    pub use crate::shared::env::Env;

    /// What the stock binary's own `main` does first.
    ///
    /// # Safety
    ///
    /// `arguments` is what the C library handed to `main`.
    #[expect(unsafe_code, reason = "what the caller promises cannot be checked")]
    pub unsafe fn started_with(arguments: *const *const std::ffi::c_char) {
        // SAFETY: that of the caller.
        unsafe { crate::shared::os::exec::started_with(arguments) }
    }

    pub fn parse<'a, T: Deserialize<'a>>(event: &'a [u8]) -> Result<T, Error> {
        serde_json::from_slice(event).map_err(|error| malformed(event, &error))
    }

    #[cold]
    #[inline(never)]
    fn malformed(event: &[u8], error: &serde_json::Error) -> Error {
        let path = json::path_at(event, error.line(), error.column());
        let message = if path.is_empty() {
            error.to_string()
        } else {
            format!("{path}: {error}")
        };
        Error::of_text("Runtime.UnmarshalError", message)
    }

    pub fn init<H: Handler, F: FnOnce() -> Result<H, Error>>(setup: F) -> InitFn<F> {
        InitFn(setup)
    }

    /// An error behind a type of our own: references to it have no impls but ours, so that
    /// counting references ranks the traits.
    #[derive(Debug)]
    pub struct Ranked<E>(pub E);

    #[derive(Debug)]
    pub struct Own;

    #[derive(Debug)]
    pub struct Chosen;

    #[derive(Debug)]
    pub struct AnyError;

    #[derive(Debug)]
    pub struct Boxed;

    #[derive(Debug)]
    pub struct Local;

    pub trait OwnKind {
        fn kind(&self) -> Own {
            Own
        }
    }

    impl OwnKind for &&Ranked<Error> {}

    pub trait ChosenKind {
        fn kind(&self) -> Chosen {
            Chosen
        }
    }

    impl<E: ErrorType> ChosenKind for &&Ranked<E> {}

    pub trait ErrorKind {
        fn kind(&self) -> AnyError {
            AnyError
        }
    }

    impl<E: StdError> ErrorKind for &&&Ranked<E> {}

    pub trait BoxedKind {
        fn kind(&self) -> Boxed {
            Boxed
        }
    }

    impl<E: Into<Box<dyn StdError + Send + Sync>>> BoxedKind for &Ranked<E> {}

    pub trait LocalKind {
        fn kind(&self) -> Local {
            Local
        }
    }

    impl LocalKind for Ranked<Box<dyn StdError>> {}

    impl Own {
        #[must_use]
        pub fn error(self, error: Error) -> Error {
            error
        }
    }

    impl Chosen {
        #[must_use]
        pub fn error<E: ErrorType + 'static>(self, error: E) -> Error {
            Error::typed(error)
        }
    }

    impl AnyError {
        #[must_use]
        pub fn error<E: StdError + 'static>(self, error: E) -> Error {
            Error::from(error)
        }
    }

    // The type of a boxed error is gone.

    impl Boxed {
        pub fn error<E: Into<Box<dyn StdError + Send + Sync>>>(self, error: E) -> Error {
            Error::of("Error", &*error.into())
        }
    }

    impl Local {
        #[must_use]
        pub fn error(self, error: Box<dyn StdError>) -> Error {
            Error::of("Error", &*error)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_failure_of_every_kind_of_error_has_its_type() {
            let io = || std::io::Error::other("m");
            let own = || Error::new("Own", "m");
            let boxed: Box<dyn StdError + Send + Sync> = Box::new(io());
            let local: Box<dyn StdError> = Box::new(io());
            let failures = [
                (crate::__error!(own()), "Own"),
                (crate::__error!(std::fmt::Error), "Error"),
                (
                    crate::__error!("7".parse::<bool>().unwrap_err()),
                    "ParseBoolError",
                ),
                (crate::__error!(boxed), "Error"),
                (crate::__error!(local), "Error"),
                (crate::__error!("m"), "Error"),
                (crate::__error!(String::from("m")), "Error"),
            ];
            for (error, error_type) in failures {
                assert_eq!(
                    error.header_type(),
                    format!("Function.{error_type}").as_bytes()
                );
            }
        }

        #[test]
        fn handlers_may_be_closures_that_capture_in_either_way() {
            fn handler(_: impl Handler) {}
            let name = String::from("n");
            let mut count = 0;
            handler(crate::typed!(|event: &str, _: &crate::Context<'_>| {
                count += 1;
                Ok::<_, Error>(format!("{name}{event}{count}"))
            }));
            let name = String::from("n");
            handler(crate::raw!(move |_: &[u8], _: &crate::Context<'_>| Ok::<
                _,
                Error,
            >(
                name.clone()
            )));
        }

        #[test]
        fn malformed_events_name_the_field() {
            let error = parse::<Vec<u8>>(b"[1, 300]").unwrap_err();
            assert_eq!(error.error_type(), "Runtime.UnmarshalError");
            assert_eq!(
                error.to_string(),
                "[1]: invalid value: integer `300`, expected u8 at line 1 column 7"
            );
        }
    }
}
