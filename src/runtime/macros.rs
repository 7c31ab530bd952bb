//! The macros that turn functions into handlers.
//!
//! They are macros because a function whose event borrows from the receive buffer has no type that
//! a generic function could name. What they expand to is in [`private`], and written so that the
//! compiler's first message about a mistake of a user's says how to mend it.

/// Makes a handler from a function `(event, &Context) -> Result<response, error>` over types that
/// serde reads and writes.
///
/// An event that does not fit the type is answered with the error `Runtime.UnmarshalError`, which
/// names the path to the field; the next event is served as usual.
/// The error may be any [`std::error::Error`], a boxed one, an `anyhow::Error`, a string, or a type
/// that chooses its name with [`ErrorType`](crate::ErrorType).
///
/// ```no_run
/// use std::borrow::Cow;
///
/// use bantam::Context;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct Order<'a> {
///     #[serde(borrow)]
///     item: Cow<'a, str>,
///     count: u32,
/// }
///
/// #[derive(Serialize)]
/// struct Receipt<'a> {
///     item: Cow<'a, str>,
///     total: u32,
/// }
///
/// fn order<'a>(order: Order<'a>, _: &Context<'_>) -> Result<Receipt<'a>, bantam::Error> {
///     let total = order.count.checked_mul(7);
///     let total = total.ok_or_else(|| bantam::Error::new("TooMany", "too many"))?;
///     Ok(Receipt { item: order.item, total })
/// }
///
/// fn main() {
///     bantam::main(bantam::typed!(order))
/// }
/// ```
///
/// # Text in events
///
/// | type of a field | any JSON string | copies |
/// |---|---|---|
/// | `String` | yes | always |
/// | `Cow<'a, str>` with `#[serde(borrow)]` | yes | a string with escapes |
/// | `Cow<'a, str>` without it | yes | always |
/// | `&'a str` | no: one with escapes (`"caf\u00e9"`, `"a\nb"`) is refused | never |
/// | `&'a RawValue` with `#[serde(borrow)]` | yes, as it stands in the event | never |
///
/// Many writers of JSON escape all that is not ASCII, so `&str` is for texts of one's own, such as
/// ids.
///
/// # Closures
///
/// What a closure captures lives as long as the handler, whether it is marked `move` or not.
///
/// # Async
///
/// The function is not `async`. It runs a future to its end with the `block_on` of the user's
/// executor; the examples `async_tokio` and `async_smol` show how.
#[macro_export]
macro_rules! typed {
    (move $($closure:tt)+) => {
        $crate::typed!($($closure)+)
    };
    ($handler:expr) => {
        $crate::handler_fn(
            move |event: &[u8], context: &$crate::Context<'_>, answer: $crate::Answer<'_>| {
                match $crate::private::parse(event) {
                    Ok(event) => {
                        match $crate::private::Returned::result(($handler)(event, context)) {
                            Ok(response) => answer.json(&response),
                            Err(error) => answer.error($crate::__error!(error)),
                        }
                    }
                    Err(error) => answer.error(error),
                }
            },
        )
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
        $crate::handler_fn(
            move |event: &[u8], context: &$crate::Context<'_>, answer: $crate::Answer<'_>| {
                match $crate::private::Returned::result(($handler)(event, context)) {
                    Ok(response) => answer.bytes($crate::private::bytes(&response)),
                    Err(error) => answer.error($crate::__error!(error)),
                }
            },
        )
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
///     Ok(bantam::typed!(|word: String, _: &Context<'_>| {
///         words.push_str(&word);
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
        $crate::private::init(
            move || match $crate::private::Returned::result(($setup)()) {
                Ok(handler) => Ok(handler),
                Err(error) => Err($crate::__error!(error)),
            },
        )
    };
}

/// The error of a handler as [`Error`](crate::Error), by the first of these that fits its type:
/// that one itself or an [`ErrorType`](crate::ErrorType), any [`std::error::Error`], what can be
/// boxed as one that is `Send + Sync`, or a box of any. Any other type is refused with a message.
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
            BoxedKind as _, ChosenKind as _, ErrorKind as _, Known as _, LocalKind as _,
            OtherKind as _, OwnKind as _,
        };
        let error = $crate::private::Ranked($error.type_must_be_known());
        let kind = (&&&&error).kind();
        kind.error(error.0)
    }};
}

/// What the macros expand to. Not part of the API.
#[doc(hidden)]
pub mod private {
    use std::any::type_name;
    use std::error::Error as StdError;

    use serde::Deserialize;

    use crate::runtime::error::{Error, ErrorType, short_name};
    use crate::runtime::handler::{Handler, Init, InitFn};
    use crate::shared::json;
    use crate::shared::os::start;

    pub use crate::runtime::handler::Beside;
    pub use crate::shared::env::Env;

    /// [`main`](crate::main()) for a program with the `main` of C.
    ///
    /// # Safety
    ///
    /// `arguments` is the second argument that the C library handed to `main`.
    #[expect(unsafe_code, reason = "the caller's promise cannot be checked")]
    pub unsafe fn main_of_c(arguments: *const *const std::ffi::c_char, init: impl Init) -> ! {
        start::prepare();
        // SAFETY: the caller promises that the array is the C library's.
        let [name, argument] = unsafe { start::first_arguments(arguments) };
        crate::in_role(name.unwrap_or_default(), argument);
        crate::run(init)
    }

    /// Reads an event.
    ///
    /// # Errors
    ///
    /// `Runtime.UnmarshalError`, with the place in the event.
    pub fn parse<'a, T: Deserialize<'a>>(event: &'a [u8]) -> Result<T, Error> {
        json::read(event).map_err(|error| malformed(event, &error))
    }

    #[cold]
    #[inline(never)]
    fn malformed(event: &[u8], error: &serde_json::Error) -> Error {
        let mut message = json::path_at(event, error.line(), error.column());
        if !message.is_empty() {
            message.push_str(": ");
        }
        let error = error.to_string();
        message.push_str(&error);
        let mut parts = error.as_bytes().windows(EXPECTED_BORROWED.len());
        if error.starts_with(FOUND_STRING) && parts.any(|part| part == EXPECTED_BORROWED) {
            message.push_str(BORROW_HINT);
        }
        Error::new("Runtime.UnmarshalError", message)
    }

    /// How serde words that a `&str` cannot point at a string of the event.
    const FOUND_STRING: &str = "invalid type: string ";
    const EXPECTED_BORROWED: &[u8] = b", expected a borrowed string";

    const BORROW_HINT: &str = "; the string has escapes, which a &str cannot borrow: use Cow<str> with \
                               #[serde(borrow)], or String";

    /// The bytes of a response.
    pub fn bytes<T: AsRef<[u8]>>(response: &T) -> &[u8] {
        response.as_ref()
    }

    pub const fn init<H: Handler, F: FnOnce() -> Result<H, Error>>(setup: F) -> InitFn<F> {
        InitFn(setup)
    }

    /// What a function returns that was given to a macro: a [`Result`].
    #[diagnostic::on_unimplemented(
        message = "the function returns `{Self}`, but bantam needs a `Result`",
        label = "returns no `Result`",
        note = "return `Result<_, bantam::Error>`, or a `Result` with any other error",
        note = "an `async fn` returns a future: make it a plain `fn` that runs the future with \
                `block_on`; the examples `async_tokio` and `async_smol` of bantam show how"
    )]
    pub trait Returned {
        type Value;
        type Error;

        /// # Errors
        ///
        /// The one that it is.
        fn result(self) -> Result<Self::Value, Self::Error>;
    }

    impl<T, E> Returned for Result<T, E> {
        type Value = T;
        type Error = E;

        fn result(self) -> Self {
            self
        }
    }

    /// A method that every type has: calling it makes the compiler ask for a type that is not known
    /// before it looks for `kind`, where its message would be about our traits.
    pub trait Known: Sized {
        #[must_use]
        fn type_must_be_known(self) -> Self {
            self
        }
    }

    impl<T> Known for T {}

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

    #[derive(Debug)]
    pub struct Other;

    pub trait ErrorKind {
        fn kind(&self) -> AnyError {
            AnyError
        }
    }

    impl<E: StdError> ErrorKind for &&&&Ranked<E> {}

    pub trait OwnKind {
        fn kind(&self) -> Own {
            Own
        }
    }

    impl OwnKind for &&&Ranked<Error> {}

    pub trait ChosenKind {
        fn kind(&self) -> Chosen {
            Chosen
        }
    }

    impl<E: ErrorType> ChosenKind for &&&Ranked<E> {}

    pub trait BoxedKind {
        fn kind(&self) -> Boxed {
            Boxed
        }
    }

    impl<E: Into<Error>> BoxedKind for &&Ranked<E> {}

    pub trait LocalKind {
        fn kind(&self) -> Local {
            Local
        }
    }

    impl LocalKind for &Ranked<Box<dyn StdError>> {}

    pub trait OtherKind {
        fn kind(&self) -> Other {
            Other
        }
    }

    impl<E> OtherKind for Ranked<E> {}

    /// Implemented for nothing: the message of the compiler is what it is for.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` is not an error that a handler can return",
        label = "not an error",
        note = "implement `std::fmt::Display` and `std::error::Error` for it, or return \
                `bantam::Error`"
    )]
    pub trait ReturnedError {
        fn into_error(self) -> Error;
    }

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
            Error::of(short_name(type_name::<E>()).into(), &error)
        }
    }

    impl Boxed {
        pub fn error<E: Into<Error>>(self, error: E) -> Error {
            error.into()
        }
    }

    impl Local {
        #[must_use]
        pub fn error(self, error: Box<dyn StdError>) -> Error {
            // The type of a boxed error is gone.
            Error::of("Error".into(), &*error)
        }
    }

    impl Other {
        pub fn error<E: ReturnedError>(self, error: E) -> Error {
            error.into_error()
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
                (crate::__error!(anyhow::Error::new(io())), "Error"),
                (
                    crate::__error!(anyhow::Error::new(own().into_std_error()).context("c")),
                    "Own",
                ),
                (crate::__error!(Box::<dyn StdError>::from(own())), "Own"),
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

        #[test]
        fn a_string_that_cannot_be_borrowed_says_how_it_can() {
            #[derive(Debug, Deserialize)]
            #[expect(dead_code, reason = "only read by serde")]
            struct Order<'a> {
                item: &'a str,
            }
            let error = |event| parse::<Order<'_>>(event).unwrap_err().to_string();
            assert_eq!(
                error(br#"{"item":"caf\u00e9"}"#),
                "item: invalid type: string \"caf\u{e9}\", expected a borrowed string at line 1 \
                 column 19; the string has escapes, which a &str cannot borrow: use Cow<str> with \
                 #[serde(borrow)], or String"
            );
            assert!(!error(br#"{"item":7}"#).contains("escapes"));
        }
    }
}
