//! The AWS credentials of the user, for a function that is to call AWS.

use std::env;
use std::process::Command;

use bantam_emulator::Credentials;
use serde::Deserialize;

/// The credentials of the environment; without any, the ones that the AWS CLI has for the profile,
/// which knows all the ways to get some.
///
/// # Errors
///
/// There are none; the text says what to do.
pub(crate) fn inherited() -> Result<Credentials, String> {
    match from_environment() {
        Some(credentials) => Ok(credentials),
        None => from_cli(),
    }
}

/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
pub(crate) fn from_environment() -> Option<Credentials> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    Some(Credentials {
        access_key_id: variable("AWS_ACCESS_KEY_ID")?,
        secret_access_key: variable("AWS_SECRET_ACCESS_KEY")?,
        session_token: variable("AWS_SESSION_TOKEN"),
    })
}

/// The output of `aws configure export-credentials`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Exported {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

fn from_cli() -> Result<Credentials, String> {
    let failed = |reason: &str| {
        format!(
            "no AWS credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and \
             `aws configure export-credentials` gives none ({reason}); log in, or set AWS_PROFILE"
        )
    };
    let mut command = Command::new("aws");
    command.args(["configure", "export-credentials", "--format", "process"]);
    let output = command.output().map_err(|e| failed(&e.to_string()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(failed(text.trim()));
    }
    let exported: Exported =
        serde_json::from_slice(&output.stdout).map_err(|e| failed(&e.to_string()))?;
    Ok(Credentials {
        access_key_id: exported.access_key_id,
        secret_access_key: exported.secret_access_key,
        session_token: exported.session_token.filter(|token| !token.is_empty()),
    })
}
