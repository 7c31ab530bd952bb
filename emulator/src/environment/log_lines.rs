//! The lines the platform writes into the log.

use std::time::Duration;

use crate::environment::failure::{Failure, Phase, timed_out};
use crate::record::outcome::{ExtensionInfo, FunctionError};

/// The figures of a `REPORT` line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) duration: Duration,
    pub(crate) init: Option<Duration>,
    pub(crate) restore: Option<Duration>,
    pub(crate) memory_mb: u32,
    pub(crate) peak_kb: u64,
    pub(crate) status: Option<&'a str>,
    pub(crate) error_type: Option<&'a str>,
}

impl Figures<'_> {
    /// Milliseconds billed: what ran before the invocation is billed with it.
    pub(crate) fn billed(&self) -> u128 {
        let before = self.init.unwrap_or_default() + self.restore.unwrap_or_default();
        (self.duration + before).as_micros().div_ceil(1_000)
    }
}

/// `EXTENSION`, one for each extension at the end of an init phase.
pub(crate) fn extension_line(extension: &ExtensionInfo) -> String {
    let mut fields = vec![
        format!("EXTENSION\tName: {}", extension.name),
        format!("State: {}", extension.state.name()),
        format!("Events: [{}]", extension.events.join(",")),
    ];
    fields.extend(
        extension
            .error_type
            .as_ref()
            .map(|error_type| format!("Error Type: {error_type}")),
    );
    fields.join("\t")
}

/// `RESTORE_REPORT`.
pub(crate) fn restore_report(duration: Duration, failure: Option<&Failure>) -> String {
    let mut fields = vec![format!(
        "RESTORE_REPORT Restore Duration: {} ms",
        ms(duration)
    )];
    if let Some(failure) = failure {
        fields.push(format!("Status: {}", failure.status()));
        fields.push(format!("Error Type: {}", failure.error_type()));
    }
    fields.join("\t")
}

/// `REPORT`. The init phase is billed with the invocation it preceded.
pub(crate) fn line(figures: &Figures<'_>) -> String {
    let billed = figures.billed();
    let mut fields = vec![
        format!("REPORT RequestId: {}", figures.request_id),
        format!("Duration: {} ms", ms(figures.duration)),
        format!("Billed Duration: {billed} ms"),
        format!("Memory Size: {} MB", figures.memory_mb),
        format!("Max Memory Used: {} MB", figures.peak_kb.div_ceil(1_024)),
    ];
    fields.extend(
        figures
            .init
            .map(|init| format!("Init Duration: {} ms", ms(init))),
    );
    if let Some(restore) = figures.restore {
        fields.push(format!("Restore Duration: {} ms", ms(restore)));
        let billed = restore.as_micros().div_ceil(1_000);
        fields.push(format!("Billed Restore Duration: {billed} ms"));
    }
    fields.extend(figures.status.map(|status| format!("Status: {status}")));
    let error_type = figures
        .error_type
        .filter(|_| figures.status != Some("timeout"));
    fields.extend(error_type.map(|error_type| format!("Error Type: {error_type}")));
    fields.join("\t")
}

/// `INIT_REPORT` of an init that failed.
pub(crate) fn init_report(duration: Duration, phase: Phase, failure: &Failure) -> String {
    let phase = match phase {
        Phase::Init => "init",
        Phase::Invoke => "invoke",
    };
    let mut fields = vec![
        format!("INIT_REPORT Init Duration: {} ms", ms(duration)),
        format!("Phase: {phase}"),
        format!("Status: {}", failure.status()),
    ];
    if !matches!(failure, Failure::Timeout) {
        fields.push(format!("Error Type: {}", failure.error_type()));
    }
    fields.join("\t")
}

/// The lines of an invocation without an answer.
pub(crate) fn failure_lines(
    failure: &Failure,
    error: &FunctionError,
    request_id: &str,
    timeout: Duration,
) -> Vec<String> {
    match failure {
        Failure::Timeout => vec![timed_out(request_id, timeout)],
        Failure::Spawn(_)
        | Failure::Exit(_)
        | Failure::OutOfMemory(_)
        | Failure::Launch(_)
        | Failure::Extension { .. }
        | Failure::RestoreTimeout
        | Failure::LostPoll
        | Failure::Shutdown => {
            vec![
                format!("RequestId: {request_id} Error: {}", failure.message()),
                error.error_type.clone(),
            ]
        }
        Failure::Reported(_) => vec![error.error_type.clone()],
    }
}

/// Milliseconds with two decimals.
fn ms(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::exit::Exit;

    #[test]
    fn report_has_the_fields_in_order() {
        let mut figures = Figures {
            request_id: "id",
            duration: Duration::from_micros(1_060),
            init: None,
            restore: None,
            memory_mb: 128,
            peak_kb: 2_049,
            status: None,
            error_type: None,
        };
        let plain = "REPORT RequestId: id\tDuration: 1.06 ms\tBilled Duration: 2 ms\t\
                     Memory Size: 128 MB\tMax Memory Used: 3 MB";
        assert_eq!(line(&figures), plain);
        figures.init = Some(Duration::from_micros(12_340));
        figures.status = Some("error");
        figures.error_type = Some("Runtime.ExitError");
        assert_eq!(
            line(&figures),
            plain.replace("Billed Duration: 2", "Billed Duration: 14")
                + "\tInit Duration: 12.34 ms\tStatus: error\tError Type: Runtime.ExitError"
        );
    }

    #[test]
    fn a_failed_init_is_reported_with_its_phase() {
        let duration = Duration::from_millis(10);
        assert_eq!(
            init_report(duration, Phase::Invoke, &Failure::Exit(Exit::Code(1))),
            "INIT_REPORT Init Duration: 10.00 ms\tPhase: invoke\tStatus: error\t\
             Error Type: Runtime.ExitError"
        );
        assert_eq!(
            init_report(duration, Phase::Init, &Failure::Timeout),
            "INIT_REPORT Init Duration: 10.00 ms\tPhase: init\tStatus: timeout"
        );
    }
}
