//! The settings of the extension, out of environment variables.
//!
//! Pure: the variables are an argument. A bad value never stops the extension: it falls back to its
//! default, and a warning says so. An extension gets fewer variables than the function:
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html#runtimes-extensions-api-lifecycle>.

mod dogstatsd;
mod exporters;
mod otlp;
mod reader;
#[cfg(any(feature = "traces", test))]
mod traces;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

pub(super) use self::dogstatsd::{DogStatsd, Receiver as DatagramReceiver};
#[cfg(test)]
pub(super) use self::exporters::EMF_METRICS;
pub(super) use self::exporters::Exporters;
#[cfg(test)]
pub(super) use self::otlp::Otlp;
#[cfg(feature = "tls")]
pub(super) use self::otlp::Tls;
pub(super) use self::otlp::{Address, Receiver as OtlpReceiver};
pub(super) use self::reader::Variables;
use self::reader::{Reader, SYSTEM_METRICS};
#[cfg(any(feature = "traces", test))]
pub(super) use self::traces::Sampling;
use crate::extension::metric::Resource;
use crate::shared::digits::decimal;
use crate::shared::env::INIT_TYPE;

/// How the environment came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InitType {
    OnDemand,
    ProvisionedConcurrency,
    SnapStart,
    ManagedInstances,
    /// One that is newer than this program.
    Other,
}

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// `BANTAM_TELEMETRY_PORT`: where the platform is to send telemetry.
    pub(super) port: u16,
    /// `BANTAM_INTERVAL_MS`: how often warm figures are exported.
    pub(super) interval_ms: u64,
    pub(super) exporters: Exporters,
    /// `BANTAM_SYSTEM_METRICS`: whether what all processes use is read and exported.
    pub(super) with_system_usage: bool,
    /// The function, as far as variables describe it.
    pub(super) resource: Resource,
    /// Lines for the log about values that are not taken.
    pub(super) warnings: Vec<String>,
}

impl InitType {
    /// Reads the value of [`INIT_TYPE`].
    pub(super) fn parse(value: Option<&str>) -> Self {
        match value {
            Some("provisioned-concurrency") => Self::ProvisionedConcurrency,
            Some("snap-start") => Self::SnapStart,
            Some("lambda-managed-instances") => Self::ManagedInstances,
            Some("on-demand") | None => Self::OnDemand,
            Some(_) => Self::Other,
        }
    }
}

impl Settings {
    pub(super) fn read(variables: &Variables<'_>) -> Self {
        let mut reader = Reader::new(variables);
        let port = reader.parsed(
            "BANTAM_TELEMETRY_PORT",
            &|value| {
                let port = u16::try_from(decimal(value.as_bytes())?).ok();
                port.filter(|port| ![0, RUNTIME_API_PORT].contains(port))
            },
            "a port from 1 to 65535 other than 9001",
            &PORT.to_string(),
        );
        let interval_ms = reader.parsed(
            "BANTAM_INTERVAL_MS",
            &|value| decimal(value.as_bytes()).filter(|ms| *ms <= INTERVAL_MS_MAX),
            "a number of milliseconds up to 86400000",
            &INTERVAL_MS.to_string(),
        );
        let text = |name: &str| reader.text(name).unwrap_or_default().to_owned();
        let memory_mb = decimal(text("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").as_bytes());
        let mut resource = Resource {
            function_name: text("AWS_LAMBDA_FUNCTION_NAME"),
            function_version: text("AWS_LAMBDA_FUNCTION_VERSION"),
            region: text("AWS_REGION"),
            memory_mb: memory_mb.and_then(|mb| u32::try_from(mb).ok()),
            service_name: text("OTEL_SERVICE_NAME"),
            init_type: text(INIT_TYPE),
            ..Resource::default()
        };
        let exporters = Exporters::read(&mut reader, &mut resource.service_name);
        let with_system_usage = reader.flag(SYSTEM_METRICS);
        reader.warn_of_unknown();
        Self {
            port: port.unwrap_or(PORT),
            interval_ms: interval_ms.unwrap_or(INTERVAL_MS),
            exporters,
            with_system_usage,
            resource,
            warnings: reader.warnings,
        }
    }
}

/// The name to register under: exactly the base name of the file. With another one the platform
/// takes the caller for another extension, and waits for this one until the init phase fails.
pub(super) fn name(argv0: &OsStr) -> String {
    let mut parts = argv0.as_bytes().rsplit(|byte| *byte == b'/');
    String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned()
}

/// A port that no known extension, sidecar or local tool uses.
const PORT: u16 = 4_243;

/// Taken by the platform in every environment.
const RUNTIME_API_PORT: u16 = 9_001;

const INTERVAL_MS: u64 = 60_000;

/// A day, which no environment but a Managed Instance lives.
const INTERVAL_MS_MAX: u64 = 86_400_000;

/// Variables for tests.
#[cfg(test)]
fn variables<'a>(pairs: &[(&'a str, &'a str)]) -> Variables<'a> {
    Variables(pairs.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::settings;

    fn read(pairs: &[(&str, &str)]) -> Settings {
        Settings::read(&variables(pairs))
    }

    #[test]
    fn bad_values_fall_back_with_a_warning() {
        let settings = read(&[
            ("BANTAM_TELEMETRY_PORT", "9001"),
            ("BANTAM_INTERVAL_MS", "-1"),
            ("BANTAM_TELEMETRY_PROTOCOL", "tcp"),
        ]);
        assert_eq!((settings.port, settings.interval_ms), (4_243, 60_000));
        let expected = [
            "BANTAM_TELEMETRY_PORT is \"9001\", expected a port from 1 to 65535 other than 9001: \
             using 4243",
            "BANTAM_INTERVAL_MS is \"-1\", expected a number of milliseconds up to 86400000: \
             using 60000",
            "BANTAM_TELEMETRY_PROTOCOL is not a setting and changes nothing: did you mean \
             BANTAM_TELEMETRY_PORT?",
        ];
        assert_eq!(settings.warnings, expected);
        for value in ["86400001", "18446744073709551616", "x"] {
            let settings = read(&[("BANTAM_INTERVAL_MS", value)]);
            assert_eq!(
                (settings.interval_ms, settings.warnings.len()),
                (60_000, 1),
                "{value}"
            );
        }
        for value in ["0", "65536", "80x"] {
            let settings = read(&[("BANTAM_TELEMETRY_PORT", value)]);
            assert_eq!((settings.port, settings.warnings.len()), (4_243, 1));
        }
    }

    #[test]
    fn good_values_are_taken() {
        let settings = read(&[
            ("BANTAM_TELEMETRY_PORT", " 5000 "),
            ("BANTAM_INTERVAL_MS", "0"),
            ("AWS_LAMBDA_FUNCTION_NAME", "f"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "7"),
            ("AWS_REGION", "us-east-1"),
            (INIT_TYPE, "on-demand"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("OTEL_SERVICE_NAME", "shop"),
        ]);
        assert_eq!((settings.port, settings.interval_ms), (5_000, 0));
        assert_eq!(settings.resource.function_name, "f");
        assert_eq!(settings.resource.function_version, "7");
        assert_eq!(settings.resource.region, "us-east-1");
        assert_eq!(settings.resource.init_type, "on-demand");
        assert_eq!(settings.resource.memory_mb, Some(128));
        assert_eq!(settings.resource.service_name, "shop");
        assert!(settings.warnings.is_empty());
    }

    #[test]
    fn the_name_is_the_base_name() {
        assert_eq!(name(OsStr::new("/opt/extensions/bantam")), "bantam");
        assert_eq!(name(OsStr::new("my-name")), "my-name");
    }

    #[test]
    fn what_all_processes_use_is_read_where_that_is_asked_for() {
        let table = [
            (None, false, 0),
            (Some("true"), true, 0),
            (Some("false"), false, 0),
            (Some("yes"), false, 1),
        ];
        for (value, expected, warnings) in table {
            let value = value.map(|value| (SYSTEM_METRICS, value));
            let settings = read(value.as_slice());
            assert_eq!(settings.with_system_usage, expected, "{value:?}");
            assert_eq!(settings.warnings.len(), warnings, "{value:?}");
        }
    }

    #[test]
    fn a_metric_that_is_not_read_is_reported() {
        let metrics = ("BANTAM_EMF_METRICS", "cold_starts,tmp_used");
        assert_eq!(
            read(&[metrics]).warnings,
            ["BANTAM_EMF_METRICS: \"tmp_used\" is read only with BANTAM_SYSTEM_METRICS=true"]
        );
        assert_eq!(read(&[metrics, (SYSTEM_METRICS, "true")]).warnings, [""; 0]);
    }

    /// The table of docs/extension.md lists every setting of the extension, and
    /// docs/executable-handlers.md names the settings of the runtime.
    #[test]
    fn settings_are_documented() {
        let page = include_str!("../../../docs/extension.md");
        let handlers = include_str!("../../../docs/executable-handlers.md");
        let is_in = |of: &str, text: &str, what: &str| {
            assert!(of.contains(what), "docs/{text} has no {what:?}");
        };
        let is_not_in = |of: &str, text: &str, what: &str| {
            assert!(!of.contains(what), "docs/{text} has {what:?}");
        };
        for setting in settings::EXTENSION {
            is_in(page, "extension.md", &format!("\n| `{setting}` |"));
            is_not_in(handlers, "executable-handlers.md", &format!("`{setting}"));
        }
        for setting in settings::RUNTIME {
            is_in(handlers, "executable-handlers.md", &format!("`{setting}"));
            is_not_in(page, "extension.md", &format!("\n| `{setting}` |"));
        }
        for name in crate::extension::export::emf::DIMENSIONS {
            is_in(page, "extension.md", &format!("`{name}`"));
        }
    }
}
