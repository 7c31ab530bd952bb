//! The environment variables that the platform sets, read once into a typed value.
//!
//! The list and its meaning:
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime>.
//! Local tools set only a few of them, so all but the address of the API may be absent.
//! An empty variable counts as absent.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};

use super::endpoint::Endpoint;
use super::http::decimal;
use super::log_record::{Format, Level};

/// What the environment says.
#[derive(Clone, Debug)]
pub struct Env {
    /// `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) api: &'static Endpoint,
    /// `_HANDLER`: the handler as configured on the function.
    pub(crate) handler: Option<&'static str>,
    /// `BANTAM_HANDLER_MODE`: how the stock binary runs an executable handler.
    pub(crate) handler_mode: Option<&'static str>,
    /// `LAMBDA_TASK_ROOT`: the folder with the function's code.
    pub(crate) task_root: Option<&'static OsStr>,
    /// `PATH`: where executables are looked for after the task root.
    pub(crate) path: Option<&'static OsStr>,
    /// What the function is, as far as the environment knows.
    pub(crate) function: Function,
    /// `AWS_LAMBDA_LOG_FORMAT` and `AWS_LAMBDA_LOG_LEVEL`.
    pub(crate) log: LogConfig,
}

/// The function that this execution environment belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Function {
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub(crate) name: Option<&'static str>,
    /// `AWS_LAMBDA_FUNCTION_VERSION`.
    pub(crate) version: Option<&'static str>,
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

impl Env {
    /// Reads the environment through `lookup`, which answers a name with its value.
    ///
    /// # Errors
    ///
    /// What to tell when the address of the API is missing or not an address.
    pub(crate) fn read(lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        let raw = |name: &str| raw(lookup, name);
        let text = |name: &str| text(lookup, name);
        let mut env = Self {
            api: Box::leak(api(text(API))?),
            handler: None,
            handler_mode: None,
            task_root: None,
            path: None,
            function: Function::default(),
            log: LogConfig::default(),
        };
        // One by one, because the values of a literal are all kept until the last is there.
        env.handler = text("_HANDLER");
        env.handler_mode = text("BANTAM_HANDLER_MODE");
        env.task_root = raw("LAMBDA_TASK_ROOT");
        env.path = raw("PATH");
        env.function.name = text("AWS_LAMBDA_FUNCTION_NAME");
        env.function.version = text("AWS_LAMBDA_FUNCTION_VERSION");
        let memory = text("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").unwrap_or_default();
        let memory = decimal(memory.as_bytes());
        env.function.memory_mb = memory.and_then(|mb| u32::try_from(mb).ok());
        env.log.format = Format::parse(text("AWS_LAMBDA_LOG_FORMAT"));
        env.log.level = Level::parse(text("AWS_LAMBDA_LOG_LEVEL"));
        Ok(env)
    }
}

/// The address of the API, from the value of [`API`].
///
/// # Errors
///
/// What to tell when there is none.
pub(crate) fn api(value: Option<&str>) -> Result<Box<Endpoint>, String> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        let hint = "is not set: start this on Lambda or under an emulator";
        return Err(format!("{API} {hint}"));
    };
    let endpoint = Endpoint::parse(value).map(Box::new);
    endpoint.map_err(|error| format!("{API} is {value:?}: {}", error.as_str()))
}

/// The variable that says where the API is.
pub(crate) const API: &str = "AWS_LAMBDA_RUNTIME_API";

/// A variable, unless it is empty. It is read once, and kept as long as the process lives.
#[inline(never)]
fn raw(lookup: &dyn Fn(&str) -> Option<OsString>, name: &str) -> Option<&'static OsStr> {
    let value = lookup(name).filter(|value| !value.is_empty())?;
    Some(value.leak())
}

#[inline(never)]
fn text(lookup: &dyn Fn(&str) -> Option<OsString>, name: &str) -> Option<&'static str> {
    Some(match raw(lookup, name)?.to_string_lossy() {
        Cow::Borrowed(text) => text,
        Cow::Owned(text) => text.leak(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Env, String> {
        Env::read(&|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, v)| v.into())
        })
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
        assert_eq!(env.handler, Some("run.sh"));
        assert_eq!(env.handler_mode, Some("persistent"));
        assert_eq!(env.task_root, Some(OsStr::new("/var/task")));
        assert_eq!(env.path, Some(OsStr::new("/bin")));
        let function = Function {
            name: Some("f"),
            version: Some("$LATEST"),
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
        assert_eq!(
            read(&[]).unwrap_err(),
            "AWS_LAMBDA_RUNTIME_API is not set: start this on Lambda or under an emulator"
        );
        let error = read(&[("AWS_LAMBDA_RUNTIME_API", "nowhere")]).unwrap_err();
        assert_eq!(
            error,
            "AWS_LAMBDA_RUNTIME_API is \"nowhere\": expected host:port with a port from 1 to 65535"
        );
    }
}
