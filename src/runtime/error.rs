//! The errors of users' code, and how a type for the platform is found for each.

use std::any::type_name;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use crate::shared::limits::CHAIN_LENGTH_MAX;

/// The error of a handler: any error, with the type that callers and the platform see.
///
/// `?` turns every [`std::error::Error`] into one, named after its Rust type and with its sources;
/// [`Error::new`] chooses the name, and so does an [`ErrorType`] through [`Error::typed`].
/// A handler may also return errors of its own type, boxed ones, or strings.
///
/// ```
/// fn take(stock: &mut u32, count: &str) -> Result<(), bantam::Error> {
///     let count: u32 = count.parse()?;
///     let left = stock.checked_sub(count).ok_or(bantam::Error::new("OutOfStock", "too few"))?;
///     *stock = left;
///     Ok(())
/// }
/// # assert_eq!(take(&mut 1, "2").unwrap_err().error_type(), "OutOfStock");
/// # assert_eq!(take(&mut 1, "two").unwrap_err().error_type(), "ParseIntError");
/// ```
///
/// It is no [`std::error::Error`] itself, since it could not take all of them then.
pub struct Error(pub(super) Box<Parts>);

/// What an [`Error`] says. Behind a pointer, because every result of a handler has room for one.
pub(super) struct Parts {
    pub(super) error_type: String,
    pub(super) message: String,
    /// The messages of the sources, outermost first.
    pub(super) sources: Vec<String>,
    pub(super) stack_trace: Vec<String>,
}

/// Lets an error type of the user's choose the error type that callers and the platform see.
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

impl Error {
    /// An error of type `error_type`.
    #[must_use]
    pub fn new(error_type: &str, message: &str) -> Self {
        Self::of_text(error_type, message.to_owned())
    }

    /// An error that chooses its type by itself.
    #[must_use]
    pub fn typed<E: ErrorType + 'static>(error: E) -> Self {
        Self::of(&error.error_type(), &error).with_stack_trace(error.stack_trace())
    }

    /// An error of type `error_type`, which takes over its message.
    pub(crate) fn of_text(error_type: &str, message: String) -> Self {
        Self(Box::new(Parts {
            error_type: error_type.to_owned(),
            message,
            sources: Vec::new(),
            stack_trace: Vec::new(),
        }))
    }

    pub(super) fn of(error_type: &str, error: &(dyn StdError + 'static)) -> Self {
        let new = Self::of_text(error_type, error.to_string());
        match error.source() {
            Some(source) => new.with_source(source),
            None => new,
        }
    }

    /// Adds the error that caused this one, and what caused that.
    #[must_use]
    pub fn with_source(mut self, source: &(dyn StdError + 'static)) -> Self {
        let mut next = Some(source);
        while let Some(source) = next.filter(|_| self.0.sources.len() < CHAIN_LENGTH_MAX) {
            self.0.sources.push(source.to_string());
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
}

impl<E: StdError + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self::of(short_name(type_name::<E>()), &error)
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

/// `Error` of `a::b::Error<c::D>`.
fn short_name(name: &str) -> &str {
    let path = name.split('<').next().unwrap_or(name);
    path.rsplit(':').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_what_it_says_and_not_where_that_is_kept() {
        let error = Error::new("T", "m").with_stack_trace(["a:1"]);
        let shown = r#"Error { error_type: "T", message: "m", sources: [], stack_trace: ["a:1"] }"#;
        assert_eq!(format!("{error:?}"), shown);
    }

    #[test]
    fn names_lose_their_path_and_arguments() {
        assert_eq!(short_name("a::b::Error<c::D>"), "Error");
        assert_eq!(short_name("Error"), "Error");
    }
}
