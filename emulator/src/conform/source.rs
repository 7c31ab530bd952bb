//! Where the rules come from.

pub(super) const RUNTIME_API: &str =
    "https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html";
pub(super) const CUSTOM: &str = "https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html";
pub(super) const MANAGED: &str =
    "https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-runtimes.html";
pub(super) const SNAPSTART: &str =
    "https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-custom.html";
/// AWS's emulator, whose code is close to the platform's.
pub(super) const RIE: &str = "https://github.com/aws/aws-lambda-runtime-interface-emulator";
/// HTTP/1.1.
pub(super) const RFC_9112: &str = "https://www.rfc-editor.org/rfc/rfc9112";
/// HTTP, whatever its version.
pub(super) const RFC_9110: &str = "https://www.rfc-editor.org/rfc/rfc9110";
pub(super) const EXTENSIONS_API: &str =
    "https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html";
pub(super) const TELEMETRY_API: &str =
    "https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html";
