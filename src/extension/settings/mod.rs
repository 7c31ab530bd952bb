//! What the environment tells the extension, read once.
//!
//! An extension gets fewer variables than the function:
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html#runtimes-extensions-api-lifecycle>.

pub(super) mod exporters;
mod otlp;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::extension::metric::Resource;
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
    /// `BANTAM_INTERVAL_MS`: how often warm figures are exported.
    pub(super) interval_ms: u64,
    /// What the figures belong to, as far as the environment says.
    pub(super) resource: Resource,
    /// What was wrong with the settings, for the log.
    pub(super) warnings: Vec<String>,
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
    #[inline(never)]
    pub(super) fn read(lookup: Lookup<'_>) -> Self {
        let mut reader = Reader::new(lookup);
        let port = reader.quoted("BANTAM_TELEMETRY_PORT", PORT, |value| {
            let port = decimal(value.as_bytes()).unwrap_or_default();
            (1..=65_535).contains(&port) && port != RUNTIME_API_PORT
        });
        let interval_ms = reader.quoted("BANTAM_INTERVAL_MS", INTERVAL_MS, |value| {
            decimal(value.as_bytes()).is_some_and(|ms| ms <= INTERVAL_MS_MAX)
        });
        let text = |name: &str| reader.text(name).unwrap_or_default().to_owned();
        let memory_mb = decimal(text("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").as_bytes());
        let resource = Resource {
            function_name: text("AWS_LAMBDA_FUNCTION_NAME"),
            function_version: text("AWS_LAMBDA_FUNCTION_VERSION"),
            region: text("AWS_REGION"),
            memory_mb: memory_mb.and_then(|mb| u32::try_from(mb).ok()),
            ..Resource::default()
        };
        let number = |text: &str| decimal(text.as_bytes()).unwrap_or_default();
        Self {
            port: u16::try_from(number(port)).unwrap_or_default(),
            interval_ms: number(interval_ms),
            resource,
            warnings: reader.warnings,
        }
    }
}

/// Answers the name of a variable with its value, which is kept as long as the process lives.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<&'static str>;

/// Reads variables and collects what is wrong with them.
pub(super) struct Reader<'a> {
    lookup: Lookup<'a>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(lookup: Lookup<'a>) -> Self {
        Self {
            lookup,
            warnings: Vec::new(),
        }
    }

    /// The value of a variable, trimmed; an empty one counts as absent.
    pub(super) fn text(&self, name: &str) -> Option<&'static str> {
        let value = (self.lookup)(name)?.trim_ascii();
        (!value.is_empty()).then_some(value)
    }

    /// The value of a variable. Instead of one that is not good, its default, and a warning: the
    /// name and `why`.
    pub(super) fn value(
        &mut self,
        name: &str,
        default: &'static str,
        is_good: fn(&str) -> bool,
        why: &[&str],
    ) -> &'static str {
        match self.text(name) {
            Some(value) if is_good(value) => value,
            Some(_) => {
                self.warn(&[name, &why.concat()]);
                default
            }
            None => default,
        }
    }

    /// The value of a variable that holds no secret: the warning says it.
    #[inline(never)]
    fn quoted(
        &mut self,
        name: &str,
        default: &'static str,
        is_good: fn(&str) -> bool,
    ) -> &'static str {
        let value = self.text(name).unwrap_or_default();
        let why = [" is \"", value, "\", using ", default];
        self.value(name, default, is_good, &why)
    }

    pub(super) fn warn(&mut self, parts: &[&str]) {
        self.warnings.push(parts.concat());
    }
}

/// The name to register under: the base name of the file, exactly, or the platform takes the
/// caller for another extension and waits for this one until the init phase fails.
pub(super) fn name(argv0: &OsStr) -> String {
    let mut parts = argv0.as_bytes().rsplit(|byte| *byte == b'/');
    String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned()
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
                .map(|(_, value)| &*(*value).to_owned().leak())
        })
    }

    #[test]
    fn bad_values_fall_back_with_a_warning() {
        let config = read(&[
            ("BANTAM_TELEMETRY_PORT", "9001"),
            ("BANTAM_INTERVAL_MS", "-1"),
        ]);
        assert_eq!((config.port, config.interval_ms), (4_243, 60_000));
        assert_eq!(config.warnings.len(), 2);
        let config = read(&[("BANTAM_INTERVAL_MS", "18446744073709551615")]);
        assert_eq!((config.interval_ms, config.warnings.len()), (60_000, 1));
    }

    #[test]
    fn good_values_are_taken() {
        let config = read(&[
            ("BANTAM_TELEMETRY_PORT", " 5000 "),
            ("BANTAM_INTERVAL_MS", "0"),
            ("AWS_LAMBDA_FUNCTION_NAME", "f"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ]);
        assert_eq!((config.port, config.interval_ms), (5_000, 0));
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
