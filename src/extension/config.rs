//! What the environment tells the extension, read once.
//!
//! An extension gets fewer variables than the function:
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html#runtimes-extensions-api-lifecycle>.

use std::ffi::OsStr;
use std::path::Path;

use super::metric::Resource;
use crate::shared::http::decimal;

/// How the environment came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InitType {
    OnDemand,
    ProvisionedConcurrency,
    SnapStart,
    ManagedInstances,
}

/// Settings of the extension itself; those of the exporters are theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    /// `BANTAM_TELEMETRY_PORT`: where the platform is to send telemetry.
    pub(super) port: u16,
    /// `BANTAM_TELEMETRY_PROTOCOL`: how.
    pub(super) protocol: Protocol,
    /// `BANTAM_INTERVAL_MS`: how often warm figures are exported.
    pub(super) interval_ms: u64,
    /// What the figures belong to, as far as the environment says.
    pub(super) resource: Resource,
    /// What was wrong with the settings, for the log.
    pub(super) warnings: Vec<String>,
}

/// How telemetry is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Protocol {
    #[default]
    Http,
    Tcp,
}

impl InitType {
    /// Reads `AWS_LAMBDA_INITIALIZATION_TYPE`; anything unknown is the usual kind.
    pub(super) fn parse(value: Option<&str>) -> Self {
        match value {
            Some("provisioned-concurrency") => Self::ProvisionedConcurrency,
            Some("snap-start") => Self::SnapStart,
            Some("lambda-managed-instances") => Self::ManagedInstances,
            Some(_) | None => Self::OnDemand,
        }
    }
}

impl Config {
    /// Reads the settings through `lookup`. A bad value falls back to its default.
    pub(super) fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let mut warnings = Vec::new();
        // What `parse` makes of a value, or of the default.
        let mut read = |name: &str, default: &str, parse: fn(&str) -> Option<u64>| {
            let value = text(name);
            let parsed = value.as_deref().and_then(parse);
            if let (Some(value), None) = (&value, parsed) {
                warnings.push(format!("{name} is {value:?}, using {default}"));
            }
            parsed.or_else(|| parse(default)).unwrap_or_default()
        };
        let port = read("BANTAM_TELEMETRY_PORT", PORT, |value| {
            let port = decimal(value.as_bytes());
            port.filter(|port| (1..=65_535).contains(port) && *port != RUNTIME_API_PORT)
        });
        let is_tcp = read("BANTAM_TELEMETRY_PROTOCOL", "http", |value| {
            let is_tcp = value.eq_ignore_ascii_case("tcp");
            (is_tcp || value.eq_ignore_ascii_case("http")).then_some(is_tcp.into())
        });
        let interval_ms = read("BANTAM_INTERVAL_MS", INTERVAL_MS, |value| {
            decimal(value.as_bytes()).filter(|ms| *ms <= INTERVAL_MS_MAX)
        });
        let resource = Resource {
            function_name: text("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
            function_version: text("AWS_LAMBDA_FUNCTION_VERSION").unwrap_or_default(),
            region: text("AWS_REGION"),
            memory_mb: text("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
                .and_then(|mb| u32::try_from(decimal(mb.as_bytes())?).ok()),
            ..Resource::default()
        };
        Self {
            port: u16::try_from(port).unwrap_or_default(),
            protocol: match is_tcp {
                0 => Protocol::Http,
                _ => Protocol::Tcp,
            },
            interval_ms,
            resource,
            warnings,
        }
    }
}

/// The name to register under: the base name of the file, exactly, or the platform takes the
/// caller for another extension and waits for this one until the init phase fails.
pub(super) fn name(argv0: &OsStr) -> String {
    let name = Path::new(argv0).file_name().unwrap_or(argv0);
    name.to_string_lossy().into_owned()
}

/// A port that no known extension, sidecar or local tool uses.
const PORT: &str = "4243";

/// Taken by the platform on every environment.
const RUNTIME_API_PORT: u64 = 9_001;

const INTERVAL_MS: &str = "60000";

/// A day, which no environment but a Managed Instance lives.
const INTERVAL_MS_MAX: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Config {
        Config::read(&|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn bad_values_fall_back_with_a_warning() {
        let config = read(&[
            ("BANTAM_TELEMETRY_PORT", "9001"),
            ("BANTAM_TELEMETRY_PROTOCOL", "carrier pigeon"),
            ("BANTAM_INTERVAL_MS", "-1"),
        ]);
        assert_eq!(
            (config.port, config.protocol, config.interval_ms),
            (4_243, Protocol::Http, 60_000)
        );
        assert_eq!(config.warnings.len(), 3);
        let config = read(&[("BANTAM_INTERVAL_MS", "18446744073709551615")]);
        assert_eq!((config.interval_ms, config.warnings.len()), (60_000, 1));
    }

    #[test]
    fn good_values_are_taken() {
        let config = read(&[
            ("BANTAM_TELEMETRY_PORT", "5000"),
            ("BANTAM_TELEMETRY_PROTOCOL", "TCP"),
            ("BANTAM_INTERVAL_MS", "0"),
            ("AWS_LAMBDA_FUNCTION_NAME", "f"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ]);
        assert_eq!(
            (config.port, config.protocol, config.interval_ms),
            (5_000, Protocol::Tcp, 0)
        );
        assert_eq!(config.resource.function_name, "f");
        assert_eq!(config.resource.memory_mb, Some(128));
        assert!(config.warnings.is_empty());
    }

    #[test]
    fn the_name_is_the_base_name() {
        assert_eq!(name(OsStr::new("/opt/extensions/bantam")), "bantam");
        assert_eq!(name(OsStr::new("my-name")), "my-name");
    }
}
