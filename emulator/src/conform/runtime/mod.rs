//! The rules of a runtime.

mod answer;
mod connection;
mod event;
mod modes;
mod stream;

use super::rule::Rule;

/// All of them, in the order of an invocation.
pub(super) fn rules() -> Vec<&'static Rule> {
    let tables = [
        event::RULES,
        answer::RULES,
        connection::RULES,
        stream::RULES,
        modes::RULES,
    ];
    tables.into_iter().flatten().collect()
}

const RUNTIME_API: &str = "https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html";
const CUSTOM: &str = "https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html";
const MANAGED: &str =
    "https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-runtimes.html";
const SNAPSTART: &str =
    "https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-custom.html";
/// AWS's emulator, whose code is close to the platform's.
const RIE: &str = "https://github.com/aws/aws-lambda-runtime-interface-emulator";
/// HTTP/1.1.
const RFC_9112: &str = "https://www.rfc-editor.org/rfc/rfc9112";
/// HTTP, whatever its version.
const RFC_9110: &str = "https://www.rfc-editor.org/rfc/rfc9110";
