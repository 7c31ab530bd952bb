//! `bantam-emulator event`: an event of a kind, to try a function with.

use std::process::ExitCode;

use super::print;

/// Arguments of `bantam-emulator event`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service that sends it
    #[arg(value_name = "KIND", value_enum)]
    kind: Kind,
}

/// A service that invokes functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A request to a REST API of API Gateway
    #[value(name = "api-gateway-v1")]
    ApiGatewayV1,
    /// A request to an HTTP API of API Gateway, or to a function URL
    #[value(name = "api-gateway-v2", alias = "function-url")]
    ApiGatewayV2,
    /// A new object in a bucket
    S3,
    /// A batch of messages of a queue
    Sqs,
}

impl Kind {
    /// An event of the kind, as JSON.
    pub(crate) fn event(self) -> &'static str {
        match self {
            Self::ApiGatewayV1 => include_str!("../../events/apigw_v1.json"),
            Self::ApiGatewayV2 => include_str!("../../events/apigw.json"),
            Self::S3 => include_str!("../../events/s3.json"),
            Self::Sqs => include_str!("../../events/sqs.json"),
        }
    }
}

/// Runs the command.
pub(crate) fn event(args: &Args) -> ExitCode {
    print(args.kind.event().trim_end());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_kind_has_an_event() {
        for kind in Kind::value_variants() {
            let event: Value = serde_json::from_str(kind.event()).unwrap();
            assert!(event.is_object(), "{kind:?}");
        }
    }
}
