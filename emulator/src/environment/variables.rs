//! The environment variables the platform gives the runtime and the extensions.

use std::net::SocketAddr;

use crate::config::{Config, Credentials, Initialization, LogFormat};
use crate::record::outcome::Metadata;

/// The endpoints of an environment.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    pub(crate) runtime_api: SocketAddr,
    pub(crate) metadata: Option<Metadata>,
}

/// The environment an OS-only runtime gets; see "Defined runtime environment variables" in
/// docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html. Nothing is inherited. The
/// function's own variables come last and win, so that a test can change any of them.
pub(crate) fn runtime_variables(
    config: &Config,
    endpoints: &Endpoints,
    stream: &str,
) -> Vec<(String, String)> {
    let task_root = config.task_root.display();
    let mut variables = shared_variables(config, endpoints);
    variables.extend([
        ("_HANDLER", config.handler.clone()),
        ("LAMBDA_TASK_ROOT", task_root.to_string()),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
        ("LANG", "en_US.UTF-8".to_owned()),
    ]);
    if config.initialization != Initialization::SnapStart {
        // A snapshot is restored with other streams
        // (docs.aws.amazon.com/lambda/latest/dg/snapstart-monitoring.html).
        let group = format!("/aws/lambda/{}", config.function_name);
        variables.push(("AWS_LAMBDA_LOG_GROUP_NAME", group));
        variables.push(("AWS_LAMBDA_LOG_STREAM_NAME", stream.to_owned()));
    }
    if config.initialization == Initialization::ManagedInstances {
        let concurrency = config.max_concurrency.to_string();
        variables.push(("AWS_LAMBDA_MAX_CONCURRENCY", concurrency));
    }
    let format = match config.log_format {
        LogFormat::Text => "Text",
        LogFormat::Json => "JSON",
    };
    variables.push(("AWS_LAMBDA_LOG_FORMAT", format.to_owned()));
    if let (LogFormat::Json, Some(level)) = (config.log_format, &config.log_level) {
        variables.push(("AWS_LAMBDA_LOG_LEVEL", level.clone()));
    }
    with_own(variables, &config.env)
}

/// The environment of an external extension: the function's own variables, and of the platform's
/// these and no others. Names that start with an underscore are not passed on.
pub(crate) fn extension_variables(config: &Config, endpoints: &Endpoints) -> Vec<(String, String)> {
    let variables = shared_variables(config, endpoints);
    let mut own = config.env.clone();
    own.retain(|(name, _)| !name.starts_with('_'));
    with_own(variables, &own)
}

/// What the runtime and the extensions get alike.
fn shared_variables(config: &Config, endpoints: &Endpoints) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("AWS_REGION", config.region.clone()),
        ("AWS_DEFAULT_REGION", config.region.clone()),
        ("AWS_LAMBDA_FUNCTION_NAME", config.function_name.clone()),
        (
            "AWS_LAMBDA_FUNCTION_VERSION",
            config.function_version.clone(),
        ),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            config.memory_mb.to_string(),
        ),
        (
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            config.initialization.name().to_owned(),
        ),
        ("TZ", ":UTC".to_owned()),
        ("PATH", SEARCH_PATH.to_owned()),
        ("LD_LIBRARY_PATH", library_path(config)),
        ("AWS_LAMBDA_RUNTIME_API", endpoints.runtime_api.to_string()),
    ];
    if let Some(metadata) = &endpoints.metadata {
        variables.push(("AWS_LAMBDA_METADATA_API", metadata.api.to_string()));
        variables.push(("AWS_LAMBDA_METADATA_TOKEN", metadata.token.clone()));
    }
    variables.extend(credentials(config, endpoints.runtime_api));
    variables
}

fn with_own(
    mut variables: Vec<(&'static str, String)>,
    own: &[(String, String)],
) -> Vec<(String, String)> {
    variables.retain(|(name, _)| !own.iter().any(|(other, _)| other == name));
    let platform = variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    platform.chain(own.iter().cloned()).collect()
}

/// Credentials, which under `SnapStart` are fetched: they would grow old in a snapshot.
fn credentials(config: &Config, runtime_api: SocketAddr) -> Vec<(&'static str, String)> {
    if config.initialization == Initialization::SnapStart {
        return vec![
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                format!("http://{runtime_api}/2021-04-23/credentials"),
            ),
            (
                "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                CREDENTIALS_TOKEN.to_owned(),
            ),
        ];
    }
    let keys = keys(config);
    let mut variables = vec![
        ("AWS_ACCESS_KEY_ID", keys.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", keys.secret_access_key),
    ];
    let token = keys.session_token;
    variables.extend(token.map(|token| ("AWS_SESSION_TOKEN", token)));
    variables
}

/// The credentials of the processes.
pub(crate) fn keys(config: &Config) -> Credentials {
    config.credentials.clone().unwrap_or_else(|| Credentials {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        session_token: Some("emulated".to_owned()),
    })
}

fn library_path(config: &Config) -> String {
    let root = config.task_root.display();
    format!("/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:{root}:{root}/lib:/opt/lib")
}

const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin/:/bin:/opt/bin";
/// The authorization that the credentials endpoint asks for.
pub(crate) const CREDENTIALS_TOKEN: &str = "emulated-token";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_set_for_json_only_and_own_variables_win() {
        let mut config = Config::new("/task/bootstrap");
        config.log_level = Some("DEBUG".into());
        config.env = vec![("TZ".into(), "Europe/Paris".into())];
        let endpoints = Endpoints {
            runtime_api: SocketAddr::from(([127, 0, 0, 1], 9_001)),
            metadata: None,
        };
        let get = |config: &Config, name: &str| {
            let all = runtime_variables(config, &endpoints, "stream");
            let mut found = all
                .into_iter()
                .filter(|(n, _)| n == name)
                .map(|(_, value)| value);
            (found.next(), found.count())
        };
        assert_eq!(get(&config, "AWS_LAMBDA_LOG_LEVEL"), (None, 0));
        assert_eq!(get(&config, "TZ"), (Some("Europe/Paris".into()), 0));
        assert_eq!(
            get(&config, "AWS_LAMBDA_RUNTIME_API"),
            (Some("127.0.0.1:9001".into()), 0)
        );
        assert_eq!(get(&config, "LAMBDA_TASK_ROOT"), (Some("/task".into()), 0));
        config.log_format = LogFormat::Json;
        assert_eq!(
            get(&config, "AWS_LAMBDA_LOG_LEVEL"),
            (Some("DEBUG".into()), 0)
        );
        assert_eq!(
            get(&config, "AWS_LAMBDA_LOG_FORMAT"),
            (Some("JSON".into()), 0)
        );
        assert_eq!(get(&config, "AWS_EXECUTION_ENV"), (None, 0));
    }
}
