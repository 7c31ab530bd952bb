//! The environment variables that the platform sets, read once into a typed value.
//!
//! The list and its meaning:
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime>.
//! Local tools set only a few of them, so all but the address of the API may be absent.
//! An empty variable counts as absent.

use std::ffi::OsString;
use std::fmt;

use super::digits::decimal;
use super::endpoint::{Endpoint, EndpointError, Resolve};
use super::log_record::{Format, Level};

/// The environment variables of the runtime.
#[derive(Clone, Debug)]
pub struct Env {
    /// `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) api: Endpoint,
    /// `_HANDLER`: the handler as configured on the function.
    pub(crate) handler: Option<String>,
    /// `BANTAM_HANDLER_MODE`: how the stock binary runs an executable handler.
    pub(crate) handler_mode: Option<String>,
    /// `LAMBDA_TASK_ROOT`: the folder with the function's code.
    pub(crate) task_root: Option<OsString>,
    /// `PATH`: where executables are looked for after the task root.
    pub(crate) path: Option<OsString>,
    /// The function, as far as the environment names it.
    pub(crate) function: Function,
    /// `AWS_LAMBDA_LOG_FORMAT` and `AWS_LAMBDA_LOG_LEVEL`.
    pub(crate) log: LogConfig,
}

/// The function that this execution environment belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Function {
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub(crate) name: Option<String>,
    /// `AWS_LAMBDA_FUNCTION_VERSION`.
    pub(crate) version: Option<String>,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, in MB; absent when it is not a number.
    pub(crate) memory_mb: Option<u32>,
}

/// How log lines look and which are written.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// Text unless the platform asks for JSON.
    pub(crate) format: Format,
    /// The least severe level that is written; INFO unless the platform names one.
    pub(crate) level: Level,
}

/// Why there is no address of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EnvError {
    /// The variable is not set.
    NoApi,
    /// The variable has another value than an address.
    Api {
        /// The value.
        value: String,
        /// What is wrong with it.
        error: EndpointError,
    },
}

/// Looks up the value of a variable.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Env {
    /// Reads the environment through `lookup`. `resolve` is asked if the address of the API is a
    /// name.
    ///
    /// # Errors
    ///
    /// [`EnvError`].
    pub(crate) fn read(lookup: Lookup<'_>, resolve: Resolve<'_>) -> Result<Self, EnvError> {
        let raw = |name| raw(lookup, name);
        let text = |name| text(lookup, name);
        let memory_mb = text("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
            .and_then(|mb| decimal(mb.as_bytes()))
            .and_then(|mb| u32::try_from(mb).ok());
        Ok(Self {
            api: api(text(API), resolve)?,
            handler: text("_HANDLER"),
            handler_mode: text("BANTAM_HANDLER_MODE"),
            task_root: raw("LAMBDA_TASK_ROOT"),
            path: raw("PATH"),
            function: Function {
                name: text("AWS_LAMBDA_FUNCTION_NAME"),
                version: text("AWS_LAMBDA_FUNCTION_VERSION"),
                memory_mb,
            },
            log: LogConfig {
                format: Format::parse(text("AWS_LAMBDA_LOG_FORMAT").as_deref()),
                level: Level::parse(text("AWS_LAMBDA_LOG_LEVEL").as_deref()),
            },
        })
    }
}

/// The address of the API, from the value of [`API`].
///
/// # Errors
///
/// [`EnvError`].
pub(crate) fn api(value: Option<String>, resolve: Resolve<'_>) -> Result<Endpoint, EnvError> {
    let value = value.filter(|value| !value.is_empty());
    let value = value.ok_or(EnvError::NoApi)?;
    Endpoint::parse(&value, resolve).map_err(|error| EnvError::Api { value, error })
}

/// The variable that says where the API is.
pub(crate) const API: &str = "AWS_LAMBDA_RUNTIME_API";

/// The variable that says how the environment is initialised. Local tools may not set it.
pub(crate) const INIT_TYPE: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";

/// A variable; `None` if it is empty.
fn raw(lookup: Lookup<'_>, name: &str) -> Option<OsString> {
    lookup(name).filter(|value| !value.is_empty())
}

/// A variable as text, with a mark in the place of each byte that is not text.
fn text(lookup: Lookup<'_>, name: &str) -> Option<String> {
    Some(match raw(lookup, name)?.into_string() {
        Ok(text) => text,
        Err(bytes) => bytes.to_string_lossy().into_owned(),
    })
}

impl fmt::Display for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoApi => write!(
                f,
                "{API} is not set: start this on Lambda or under an emulator"
            ),
            Self::Api { value, error } => write!(f, "{API} is {value:?}: {error}"),
        }
    }
}

impl core::error::Error for EnvError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Env, EnvError> {
        let lookup = |name: &str| {
            let mut pairs = pairs.iter();
            let (_, value) = pairs.find(|(key, _)| *key == name)?;
            Some(OsString::from(value))
        };
        Env::read(&lookup, &|_| None)
    }

    #[test]
    fn everything_but_the_api_may_be_absent() {
        let env = read(&[
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
            ("_HANDLER", ""),
        ])
        .unwrap();
        assert_eq!(env.function, Function::default());
        assert_eq!(env.handler, None);
        assert_eq!(
            env.log,
            LogConfig {
                format: Format::Text,
                level: Level::Info
            }
        );
    }

    #[test]
    fn all_variables_are_read() {
        let env = read(&[
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
            ("_HANDLER", "run.sh"),
            ("BANTAM_HANDLER_MODE", "persistent"),
            ("LAMBDA_TASK_ROOT", "/var/task"),
            ("PATH", "/bin"),
            ("AWS_LAMBDA_FUNCTION_NAME", "f"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_LAMBDA_LOG_LEVEL", "debug"),
        ])
        .unwrap();
        assert_eq!(env.handler.as_deref(), Some("run.sh"));
        assert_eq!(env.handler_mode.as_deref(), Some("persistent"));
        assert_eq!(env.task_root, Some("/var/task".into()));
        assert_eq!(env.path, Some("/bin".into()));
        let function = Function {
            name: Some("f".to_owned()),
            version: Some("$LATEST".to_owned()),
            memory_mb: Some(128),
        };
        assert_eq!(env.function, function);
        assert_eq!(
            env.log,
            LogConfig {
                format: Format::Json,
                level: Level::Debug
            }
        );
    }

    #[test]
    fn a_missing_or_bad_api_is_named() {
        let error = |pairs| read(pairs).unwrap_err().to_string();
        assert_eq!(
            error(&[]),
            "AWS_LAMBDA_RUNTIME_API is not set: start this on Lambda or under an emulator"
        );
        assert_eq!(
            error(&[("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:0")]),
            "AWS_LAMBDA_RUNTIME_API is \"127.0.0.1:0\": expected host:port with a \
             port from 1 to 65535"
        );
        assert_eq!(
            error(&[("AWS_LAMBDA_RUNTIME_API", "nowhere:9001")]),
            "AWS_LAMBDA_RUNTIME_API is \"nowhere:9001\": no address was found for the \
             name of the host"
        );
    }
}
