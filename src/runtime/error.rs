//! The errors of users' code, and the type that callers and the platform see of each.

use std::any::type_name;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use crate::shared::limits::CHAIN_LENGTH_MAX;

/// The error of a handler, with the type that callers and the platform see.
///
/// `?` turns any of these into one: a [`std::error::Error`], a boxed one that is `Send + Sync`, an
/// `anyhow::Error`, a string.
/// Its type is the name of the Rust type, or `Error` where that is not known, as of a box.
/// [`Error::new`] chooses another, [`ResultExt::error_type`] chooses it for the error of any
/// [`Result`], and [`Error::typed`] takes it from an [`ErrorType`].
///
/// ```
/// use bantam::ResultExt as _;
///
/// fn take(stock: &mut u32, count: &str) -> Result<(), bantam::Error> {
///     let count: u32 = count.parse().error_type("BadCount")?;
///     let left = stock
///         .checked_sub(count)
///         .ok_or_else(|| bantam::Error::new("OutOfStock", format!("fewer than {count}")))?;
///     std::fs::write("/tmp/stock", left.to_string())?;
///     *stock = left;
///     Ok(())
/// }
/// # assert_eq!(take(&mut 1, "2").unwrap_err().error_type(), "OutOfStock");
/// # assert_eq!(take(&mut 1, "two").unwrap_err().error_type(), "BadCount");
/// ```
///
/// # In functions with other errors
///
/// It is not a [`std::error::Error`] itself. Rust allows one of the two: to take every error by
/// `?`, or to be one; both would be two conversions from this type to itself.
///
/// - `?` turns it into a `Box<dyn Error>` and, with the feature `anyhow`, into an `anyhow::Error`.
/// - [`Error::into_std_error`] makes it an error for everything else, such as a
///   `Box<dyn Error + Send + Sync>`: `.map_err(bantam::Error::into_std_error)?`.
///
/// Its type goes with it. It is reported when a handler returns such an error, also behind a
/// context that was added, and found again by `?` on the way back.
pub struct Error(pub(super) Box<Parts>);

/// The content of an [`Error`]. Behind a pointer, because every result of a handler has room for
/// one.
pub(super) struct Parts {
    pub(super) error_type: Cow<'static, str>,
    pub(super) message: Cow<'static, str>,
    /// The messages of the sources, outermost first.
    pub(super) sources: Vec<String>,
    pub(super) stack_trace: Vec<String>,
}

/// Lets an error type of the user's choose the error type that callers and the platform see.
///
/// A handler may return such a type. `?` into an [`Error`] does not know of it, but
/// `.map_err(bantam::Error::typed)?` does.
///
/// ```
/// #[derive(Debug)]
/// enum Fault { NoStock, NoMoney }
/// impl std::fmt::Display for Fault {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("sorry") }
/// }
/// impl std::error::Error for Fault {}
/// impl bantam::ErrorType for Fault {
///     fn error_type(&self) -> std::borrow::Cow<'_, str> {
///         match self { Fault::NoStock => "OutOfStock", Fault::NoMoney => "PaymentRefused" }.into()
///     }
/// }
/// ```
pub trait ErrorType: StdError {
    /// The `errorType` of the report.
    fn error_type(&self) -> Cow<'_, str>;

    /// The `stackTrace` of the report, innermost line first.
    fn stack_trace(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Chooses the error type for the error of a [`Result`], whatever error that is.
pub trait ResultExt<T> {
    /// The same result with an [`Error`] of type `error_type`.
    ///
    /// ```
    /// use bantam::ResultExt as _;
    ///
    /// fn count(text: &str) -> Result<u32, bantam::Error> {
    ///     text.parse().error_type("BadCount")
    /// }
    /// # assert_eq!(count("x").unwrap_err().error_type(), "BadCount");
    /// ```
    ///
    /// # Errors
    ///
    /// The error of this result.
    fn error_type(self, error_type: impl Into<Cow<'static, str>>) -> Result<T, Error>;
}

impl<T, E: Into<Error>> ResultExt<T> for Result<T, E> {
    fn error_type(self, error_type: impl Into<Cow<'static, str>>) -> Result<T, Error> {
        self.map_err(|error| error.into().with_type(error_type))
    }
}

impl Error {
    /// An error of type `error_type`. Neither text is copied, whether it is a literal or a
    /// `String`.
    #[must_use]
    pub fn new(
        error_type: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::of_parts(error_type.into(), message.into())
    }

    #[inline(never)]
    fn of_parts(error_type: Cow<'static, str>, message: Cow<'static, str>) -> Self {
        Self(Box::new(Parts {
            error_type,
            message,
            sources: Vec::new(),
            stack_trace: Vec::new(),
        }))
    }

    /// An error that chooses its type by itself.
    #[must_use]
    pub fn typed<E: ErrorType + 'static>(error: E) -> Self {
        let error_type = error.error_type().into_owned();
        Self::of(error_type.into(), &error).with_stack_trace(error.stack_trace())
    }

    /// An error of type `error_type` with the message and the sources of `error`.
    #[inline(never)]
    pub(super) fn of(error_type: Cow<'static, str>, error: &(dyn StdError + 'static)) -> Self {
        let new = Self::of_parts(error_type, error.to_string().into());
        match error.source() {
            Some(source) => new.with_source(source),
            None => new,
        }
    }

    /// The same error with another type.
    #[must_use]
    pub fn with_type(mut self, error_type: impl Into<Cow<'static, str>>) -> Self {
        self.0.error_type = error_type.into();
        self
    }

    /// Adds the error that caused this one, and what caused that.
    #[must_use]
    pub fn with_source(mut self, source: &(dyn StdError + 'static)) -> Self {
        let mut next = Some(source);
        while let Some(source) = next.filter(|_| self.0.sources.len() < CHAIN_LENGTH_MAX) {
            if let Some(Chosen(parts)) = source.downcast_ref() {
                // Its text is there already: it is the message of the error in front of it.
                self.0.error_type.clone_from(&parts.error_type);
                self.0.stack_trace.clone_from(&parts.stack_trace);
            } else {
                self.0.sources.push(source.to_string());
            }
            next = source.source();
        }
        self
    }

    /// Adds a stack trace, innermost line first.
    #[must_use]
    pub fn with_stack_trace<L: Into<String>>(mut self, lines: impl IntoIterator<Item = L>) -> Self {
        self.0.stack_trace = lines
            .into_iter()
            .take(CHAIN_LENGTH_MAX)
            .map(Into::into)
            .collect();
        self
    }

    /// The type as it was chosen.
    #[must_use]
    pub fn error_type(&self) -> &str {
        &self.0.error_type
    }

    /// The same error as a [`std::error::Error`], for a function that returns one of those.
    #[must_use]
    pub fn into_std_error(self) -> impl StdError + Send + Sync + 'static {
        Carried {
            message: self.whole_message(),
            chosen: Chosen(self.0),
        }
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::of(short_name(type_name::<E>()).into(), &*error.into())
    }
}

impl From<Error> for Box<dyn StdError> {
    fn from(error: Error) -> Self {
        Box::new(error.into_std_error())
    }
}

#[cfg(feature = "anyhow")]
impl From<Error> for anyhow::Error {
    fn from(error: Error) -> Self {
        Self::new(error.into_std_error())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("error_type", &self.0.error_type)
            .field("message", &self.0.message)
            .field("sources", &self.0.sources)
            .field("stack_trace", &self.0.stack_trace)
            .finish()
    }
}

/// An [`Error`] on its way through code that takes standard errors.
///
/// Its source is the error itself, because a source is what others hand on as it is: the outermost
/// error of an `anyhow::Error` cannot be asked for its type once it is boxed.
#[derive(Debug)]
struct Carried {
    message: String,
    chosen: Chosen,
}

/// Says the type of the error whose source it is.
struct Chosen(Box<Parts>);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Carried {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.chosen)
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error type {}", self.0.error_type)
    }
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Chosen {}

/// The name of a Rust type without its path and arguments, or `Error` for types that hold any
/// error or a text: `Error` of `a::b::Error<c::D>`, and of `alloc::boxed::Box<dyn c::D>`.
pub(super) fn short_name(name: &'static str) -> &'static str {
    let path = name.split('<').next().unwrap_or(name);
    match path {
        "alloc::boxed::Box" | "alloc::borrow::Cow" | "alloc::string::String" | "&str" => "Error",
        _ => path.rsplit(':').next().unwrap_or(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Boxed = Box<dyn StdError + Send + Sync>;

    fn parse() -> Result<u32, std::num::ParseIntError> {
        "x".parse()
    }

    fn out_of_stock() -> Error {
        Error::new("OutOfStock", "too few").with_stack_trace(["a:1"])
    }

    #[test]
    fn it_shows_its_parts() {
        let error = Error::new("T", "m").with_stack_trace(["a:1"]);
        let shown = r#"Error { error_type: "T", message: "m", sources: [], stack_trace: ["a:1"] }"#;
        assert_eq!(format!("{error:?}"), shown);
    }

    #[test]
    fn every_error_becomes_one_by_the_question_mark() {
        fn of<T, E>(result: Result<T, E>) -> (String, String)
        where
            Error: From<E>,
        {
            let outcome = || -> Result<(), Error> {
                result?;
                Ok(())
            };
            let error = outcome().unwrap_err();
            (error.error_type().to_owned(), error.whole_message())
        }
        let table = [
            (of(parse()), "ParseIntError"),
            (of(parse().map_err(Boxed::from)), "Error"),
            (of(parse().map_err(anyhow::Error::from)), "Error"),
            (of(Err::<(), _>("invalid digit found in string")), "Error"),
            (
                of(Err::<(), _>("invalid digit found in string".to_owned())),
                "Error",
            ),
        ];
        for ((error_type, message), expected) in table {
            assert_eq!(error_type, expected);
            assert_eq!(message, "invalid digit found in string");
        }
    }

    #[test]
    fn the_type_of_any_error_can_be_chosen() {
        let results = [
            parse().error_type("Chosen"),
            parse().map_err(anyhow::Error::from).error_type("Chosen"),
            parse().map_err(Boxed::from).error_type("Chosen"),
            Err(out_of_stock()).error_type("Chosen"),
            Err("text").error_type(String::from("Chosen")),
        ];
        for result in results {
            assert_eq!(result.unwrap_err().error_type(), "Chosen");
        }
    }

    #[test]
    fn it_passes_through_other_errors_with_its_type() {
        fn local() -> Result<(), Box<dyn StdError>> {
            Err(out_of_stock())?
        }
        fn boxed() -> Result<(), Boxed> {
            Err(out_of_stock().into_std_error())?
        }
        fn any() -> anyhow::Result<()> {
            Err(out_of_stock().into_std_error())?
        }
        fn back(error: impl Into<Error>) -> Error {
            error.into()
        }
        let returned = Error::of("Error".into(), &*local().unwrap_err());
        for error in [
            returned,
            back(boxed().unwrap_err()),
            back(any().unwrap_err()),
        ] {
            assert_eq!(error.error_type(), "OutOfStock");
            assert_eq!(error.whole_message(), "too few");
            assert_eq!(error.0.stack_trace, ["a:1"]);
        }
        let with_context = back(any().unwrap_err().context("loading"));
        assert_eq!(with_context.error_type(), "OutOfStock");
        assert_eq!(with_context.whole_message(), "loading: too few");
    }

    #[cfg(feature = "anyhow")]
    #[test]
    fn it_becomes_an_anyhow_error_by_the_question_mark() {
        let any = || -> anyhow::Result<()> { Err(out_of_stock())? };
        assert_eq!(Error::from(any().unwrap_err()).error_type(), "OutOfStock");
    }

    #[test]
    fn a_chain_is_as_long_as_a_report_takes() {
        let mut any = anyhow::Error::msg("the cause");
        for _ in 0..2 * CHAIN_LENGTH_MAX {
            any = any.context("a step");
        }
        assert_eq!(Error::from(any).0.sources.len(), CHAIN_LENGTH_MAX);
    }

    #[test]
    fn neither_text_is_copied() {
        let message = String::from("m");
        let place = message.as_ptr();
        let error = Error::new("T", message);
        assert_eq!(error.0.message.as_ptr(), place);
        assert!(matches!(error.0.error_type, Cow::Borrowed("T")));
    }

    #[test]
    fn names_lose_their_path_and_arguments() {
        assert_eq!(short_name("a::b::Error<c::D>"), "Error");
        assert_eq!(short_name("a::Report"), "Report");
        assert_eq!(
            short_name("alloc::boxed::Box<dyn core::error::Error>"),
            "Error"
        );
        assert_eq!(short_name("&str"), "Error");
    }
}
