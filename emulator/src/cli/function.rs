//! Arguments that describe the function, shared by all commands.

use std::fs;
use std::io::{self, Read as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bantam_emulator::{Config, Initialization};
use clap::builder::NonEmptyStringValueParser;
use serde::de::IgnoredAny;

use super::credentials;
use super::reload::Files;
use super::runtime::{Runtime, check_program};

/// The function's settings.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FunctionArgs {
    /// The function's handler, _HANDLER, which the stock binary executes [default: bootstrap; with
    /// --runtime the one that AWS's console makes, as `lambda_function.lambda_handler`]
    #[arg(long, value_name = "HANDLER")]
    pub(super) handler: Option<String>,
    /// The function is Python or JavaScript, run by AWS's runtime client for it; --function is its
    /// folder or file
    #[arg(long, value_name = "LANGUAGE", value_enum)]
    runtime: Option<Runtime>,
    /// An environment variable of the function; repeat for more
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(super) env: Vec<(String, String)>,
    /// A file of such variables in the syntax of dotenv; repeat for more. --env goes before it
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// The AWS credentials of the function: none that any service takes, or yours
    #[arg(long, value_name = "WHICH", value_enum, default_value = "placeholder")]
    credentials: Which,
    /// Function timeout in seconds
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    timeout: Duration,
    /// Memory size in MB
    #[arg(long, value_name = "MB", default_value = "128",
        value_parser = clap::value_parser!(u32).range(MEMORY_MB))]
    memory: u32,
    /// Working directory and `LAMBDA_TASK_ROOT` [default: the program's directory]
    #[arg(long, value_name = "DIR")]
    pub(super) task_root: Option<PathBuf>,
    /// An external extension, started before the function under its file's name; repeat for more
    #[arg(long, value_name = "PATH")]
    pub(super) extension: Vec<PathBuf>,
    /// The id of an availability zone for the metadata endpoint; repeat for more, which
    /// environments are in by turns [default: use1-az1, use1-az2, use1-az4]
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    availability_zone: Vec<String>,
    /// How environments come to be
    #[arg(long, value_name = "TYPE", value_enum, default_value = "on-demand")]
    initialization: Kind,
    /// `AWS_LAMBDA_MAX_CONCURRENCY` of Managed Instances: how many invocations an environment runs
    /// at once [default: 8]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_concurrency: Option<usize>,
    /// Do not stop the function's processes between invocations
    #[arg(long)]
    no_freeze: bool,
    /// For a debugger: no timeout of the init and of invocations, and no freeze
    #[arg(long)]
    debug: bool,
}

/// AWS credentials on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// The ones of AWS's documentation
    Placeholder,
    /// The ones of your environment, or of your profile by the AWS CLI
    Inherit,
}

/// `AWS_LAMBDA_INITIALIZATION_TYPE` on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    OnDemand,
    ProvisionedConcurrency,
    SnapStart,
    #[value(name = "lambda-managed-instances", alias = "managed-instances")]
    ManagedInstances,
}

impl FunctionArgs {
    /// The configuration of a function whose program, or whose directory with a `bootstrap`, is
    /// `path`.
    ///
    /// # Errors
    ///
    /// A path leads to nothing that can be started or entered; the text names it.
    pub(crate) fn config(&self, path: &Path) -> Result<Config, String> {
        let config = if let Some(runtime) = self.runtime {
            runtime.config(path, self.handler.as_deref())?
        } else {
            let program = program_at(path);
            if path.is_dir() && !program.exists() {
                return Err(format!(
                    "the folder {} has no file bootstrap, which starts a function: name the \
                     program, copy the stock binary there as bootstrap, or add --runtime",
                    path.display()
                ));
            }
            check_program("function", &program)?;
            Config::new(program)
        };
        for extension in &self.extension {
            check_program("extension", extension)?;
        }
        self.with_settings(config)
    }

    /// The files whose change is a change of the function: its programs, the folder that was named
    /// as its own, and its task root.
    pub(crate) fn files(&self, path: &Path) -> Files {
        let path = absolute(path);
        let own_folder = if path.is_dir() {
            Some(path.clone())
        } else {
            // A script has others beside it.
            let parent = path.parent().filter(|_| self.runtime.is_some());
            parent.map(Path::to_owned)
        };
        // An interpreter is none of them.
        let program = self.runtime.is_none().then(|| program_at(&path));
        let extensions = self.extension.iter().map(|path| absolute(path));
        let task_root = self.task_root.as_deref().map(absolute);
        Files {
            programs: program.into_iter().chain(extensions).collect(),
            folders: own_folder.into_iter().chain(task_root).collect(),
        }
    }

    /// The configuration of a function that is started elsewhere.
    ///
    /// # Errors
    ///
    /// As [`FunctionArgs::config`].
    pub(crate) fn attached(&self) -> Result<Config, String> {
        let given = Self {
            debug: true,
            ..self.clone()
        };
        let mut config = Config::new("");
        // Where the function is started, most likely.
        config.task_root = absolute(Path::new("."));
        given.with_settings(config)
    }

    fn with_settings(&self, mut config: Config) -> Result<Config, String> {
        if let Some(root) = self.task_root.as_ref().filter(|root| !root.is_dir()) {
            return Err(format!("the task root {} is no directory", root.display()));
        }
        let mut variables = Vec::new();
        for path in &self.env_file {
            variables.extend(read_env_file(path)?);
        }
        variables.extend(self.env.iter().cloned());
        // The last one of a name counts.
        for (name, value) in variables {
            config.env.retain(|(other, _)| *other != name);
            config.env.push((name, value));
        }
        if self.credentials == Which::Inherit {
            config.credentials = Some(credentials::inherited()?);
        }
        config.timeout = self.timeout;
        config.memory_mb = self.memory;
        config.freeze = !self.no_freeze && !self.debug;
        if self.debug {
            config.timeout = NO_TIMEOUT;
            config.init_timeout = NO_TIMEOUT;
            config.restore_timeout = NO_TIMEOUT;
            config.wait_max = NO_TIMEOUT;
        }
        if !self.availability_zone.is_empty() {
            config
                .availability_zones
                .clone_from(&self.availability_zone);
        }
        if let Some(count) = self.max_concurrency {
            if !matches!(self.initialization, Kind::ManagedInstances) {
                return Err(
                    "--max-concurrency is of Managed Instances: add --initialization \
                     lambda-managed-instances, or take --concurrency for the number of \
                     environments"
                        .to_owned(),
                );
            }
            config.max_concurrency = count;
        }
        config.extensions.clone_from(&self.extension);
        config.initialization = match self.initialization {
            Kind::OnDemand => Initialization::OnDemand,
            Kind::ProvisionedConcurrency => Initialization::ProvisionedConcurrency,
            Kind::SnapStart => Initialization::SnapStart,
            Kind::ManagedInstances => Initialization::ManagedInstances,
        };
        if let Some(handler) = &self.handler {
            config.handler.clone_from(handler);
        }
        if let Some(task_root) = &self.task_root {
            config.task_root = absolute(task_root);
        }
        Ok(config)
    }
}

/// The program of a function: the path itself, or the `bootstrap` in the folder.
fn program_at(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join("bootstrap")
    } else {
        path.to_owned()
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Reads a file of variables.
fn read_env_file(path: &Path) -> Result<Vec<(String, String)>, String> {
    let failed = |error: dotenvy::Error| {
        let reason = if let dotenvy::Error::LineParse(line, _) = &error {
            format!("the line {line:?} is not NAME=VALUE")
        } else {
            error.to_string()
        };
        format!("cannot read the variables in {}: {reason}", path.display())
    };
    let variables = dotenvy::from_path_iter(path).map_err(failed)?;
    variables.collect::<Result<_, _>>().map_err(failed)
}

/// What a program is called: its file's name.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// Reads an event, which has to be JSON, as for the Invoke API; `-` is stdin.
pub(crate) fn read_event(path: &Path) -> Result<Vec<u8>, String> {
    let read = if path == Path::new("-") {
        let mut event = Vec::new();
        io::stdin().lock().read_to_end(&mut event).map(|_| event)
    } else {
        fs::read(path)
    };
    let shown = path.display();
    let event = read.map_err(|error| {
        format!("cannot read the event {shown}: {error} (it is a file, or - for standard input)")
    })?;
    if !event.is_empty() {
        serde_json::from_slice::<IgnoredAny>(&event).map_err(|error| {
            let mark = if event.starts_with(BYTE_ORDER_MARK) {
                " (the file begins with a byte order mark, which JSON must not)"
            } else {
                ""
            };
            let shown = match path.to_str() {
                Some("-") => "on standard input".to_owned(),
                Some(_) | None => shown.to_string(),
            };
            format!("the event {shown} is not JSON: {error}{mark}")
        })?;
    }
    Ok(event)
}

/// Parses `NAME=VALUE`; the value may be empty and may contain further equals signs.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Parses a positive count.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}")),
    }
}

/// Parses a positive number of seconds, with or without a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|error| format!("expected a number of seconds: {error}"))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration > TIMEOUT_MAX => {
            let max = TIMEOUT_MAX.as_secs();
            Err(format!(
                "expected at most {max} seconds, the longest a function may run"
            ))
        }
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err("expected more than zero seconds".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// "15 minutes" (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const TIMEOUT_MAX: Duration = Duration::from_secs(900);
/// "128 MB to 10,240 MB", from the same page.
const MEMORY_MB: RangeInclusive<i64> = 128..=10_240;
/// As good as none: a day.
const NO_TIMEOUT: Duration = Duration::from_secs(86_400);
/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_variable_is_split_at_its_first_equals_sign() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(variable("A=b"), pair("A", "b"));
        assert_eq!(variable("A="), pair("A", ""));
        assert_eq!(variable("A=b=c"), pair("A", "b=c"));
        assert!(variable("A").is_err());
        assert!(variable("=b").is_err());
    }

    #[test]
    fn a_file_of_variables_is_read_as_dotenv_writes_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "# comment\n\nA=b\nexport QUOTED=\"two words\"\nRAW='$A # b'\nEMPTY=\n";
        fs::write(file.path(), text).unwrap();
        let read = read_env_file(file.path()).unwrap();
        let expected = [
            ("A", "b"),
            ("QUOTED", "two words"),
            ("RAW", "$A # b"),
            ("EMPTY", ""),
        ];
        assert_eq!(
            read,
            expected.map(|(name, value)| (name.into(), value.into()))
        );
        fs::write(file.path(), "A=1\nnot a variable\n").unwrap();
        let error = read_env_file(file.path()).unwrap_err();
        assert!(error.contains("not a variable"), "{error}");
        assert!(
            error.contains(&file.path().display().to_string()),
            "{error}"
        );
    }

    #[test]
    fn each_folder_that_was_named_is_watched() {
        type Row<'a> = (&'a [&'a str], &'a Path, &'a [&'a Path], &'a [&'a Path]);
        let own = tempfile::tempdir().unwrap();
        let (folder, file) = (own.path(), &*own.path().join("app"));
        fs::write(file, "").unwrap();
        let bootstrap = &*folder.join("bootstrap");
        let table: [Row<'_>; 4] = [
            (&[], file, &[file], &[]),
            (&[], folder, &[bootstrap], &[folder]),
            (&["--runtime", "python"], file, &[], &[folder]),
            (
                &["--task-root", "/srv"],
                folder,
                &[bootstrap],
                &[folder, Path::new("/srv")],
            ),
        ];
        for (args, function, programs, folders) in table {
            let given = Given::try_parse_from([&["run"], args].concat()).unwrap();
            let files = given.function.files(function);
            assert_eq!(files.programs, programs, "{args:?}");
            assert_eq!(files.folders, folders, "{args:?}");
        }
    }

    #[derive(clap::Parser)]
    struct Given {
        #[command(flatten)]
        function: FunctionArgs,
    }

    #[test]
    fn seconds_are_positive() {
        assert_eq!(seconds("3"), Ok(Duration::from_secs(3)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("900"), Ok(Duration::from_secs(900)));
        for wrong in ["0", "900.1", "-1", "NaN", "inf", "1e300", "soon", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
