//! The platform's lines in the text format.

use std::borrow::Cow;

use super::{MessageError, figure};
use crate::fact::{Fact, Failure, PhaseReport, PhaseStart, Report};

/// Reads one line; `None` when it is not one of the platform's.
pub(super) fn read(text: &str) -> Result<Option<Fact<'_>>, MessageError> {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    match word {
        "REPORT" if rest.starts_with("RequestId: ") => report(text).map(Some),
        "START" if rest.starts_with("RequestId: ") => start(text).map(Some),
        "INIT_START" => Ok(Some(Fact::PhaseStart(PhaseStart::default()))),
        "RESTORE_START" => Ok(Some(Fact::PhaseStart(PhaseStart {
            is_restore: true,
            ..PhaseStart::default()
        }))),
        "INIT_REPORT" => phase(text, "INIT_REPORT", "Init Duration").map(Some),
        "RESTORE_REPORT" => phase(text, "RESTORE_REPORT", "Restore Duration").map(Some),
        _ => Ok(failed(text)),
    }
}

/// The values of a line by their labels. A line is `WORD Label: value unit`, and more of these
/// behind a tab; a tab may have become blanks on its way.
fn labelled<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let mut before = "";
    for piece in text.split(": ") {
        let found = before.strip_suffix(label);
        // `Duration` ends `Init Duration`, too.
        let is_whole = found.is_some_and(|rest| {
            let rest = rest.trim_end();
            !LABEL_BEGINS.iter().any(|begin| rest.ends_with(begin))
        });
        if is_whole {
            return piece.split_ascii_whitespace().next();
        }
        before = piece;
    }
    None
}

/// The words before another label that make it a label of its own.
const LABEL_BEGINS: [&str; 4] = ["Billed", "Init", "Restore", "Max"];

fn number(text: &str, label: &str) -> Option<f64> {
    labelled(text, label)?.parse().ok().and_then(figure)
}

/// The duration that a line has to have, be it a figure or not.
fn duration(
    text: &str,
    word: &'static str,
    label: &'static str,
) -> Result<Option<f64>, MessageError> {
    let number = labelled(text, label).and_then(|number| number.parse().ok());
    let number = number.ok_or(MessageError::Lacks(word, label))?;
    Ok(figure(number))
}

fn report(text: &str) -> Result<Fact<'_>, MessageError> {
    let request = labelled(text, "RequestId");
    let request = request.ok_or(MessageError::Lacks("REPORT", "RequestId"))?;
    let duration_ms = duration(text, "REPORT", "Duration")?;
    let memory_size = number(text, "Memory Size");
    let memory_used = number(text, "Max Memory Used");
    let failure = status(
        labelled(text, "Status"),
        labelled(text, "Error Type"),
        memory_size,
        memory_used,
    );
    Ok(Fact::Report(Report {
        request: Cow::Borrowed(request),
        duration_ms,
        billed_ms: number(text, "Billed Duration"),
        memory_size_mb: memory_size,
        memory_used_mb: memory_used,
        init_ms: number(text, "Init Duration"),
        restore_ms: number(text, "Restore Duration"),
        billed_restore_ms: number(text, "Billed Restore Duration"),
        failure,
    }))
}

/// How an invocation ended by its status and type of error.
///
/// Runtimes tell a lack of memory in different words, some only by an exit with all memory used.
pub(super) fn status(
    status: Option<&str>,
    error_type: Option<&str>,
    memory_size: Option<f64>,
    memory_used: Option<f64>,
) -> Option<Failure> {
    let status = status?;
    let is_exit = error_type.is_some_and(|name| name == "Runtime.ExitError");
    let is_full = memory_size
        .zip(memory_used)
        .is_some_and(|(size, used)| size <= used);
    match status {
        "success" => None,
        "timeout" => Some(Failure::Timeout),
        _ if error_type.is_some_and(is_memory) || is_exit && is_full => Some(Failure::OutOfMemory),
        "failure" => Some(Failure::Crash),
        _ if is_exit || error_type.is_some_and(|name| name.starts_with("Extension.")) => {
            Some(Failure::Crash)
        }
        _ => Some(Failure::Error),
    }
}

/// Whether a type of error says that memory ran out: `Runtime.OutOfMemory` is the platform's.
fn is_memory(error_type: &str) -> bool {
    error_type.ends_with("OutOfMemory")
}

/// A fault of the platform, as its record in JSON has it: the line of the text format, or on
/// Managed Instances a status and a type of error.
pub(super) fn fault(text: &str) -> Option<Fact<'_>> {
    let text = text.trim_end();
    let error_type = text
        .rsplit_once("ErrorType: ")
        .map(|(_, error_type)| error_type);
    if error_type.is_some_and(is_memory) {
        return Some(failure(labelled(text, "RequestId"), Failure::OutOfMemory));
    }
    failed(text)
}

fn failure(request: Option<&str>, failure: Failure) -> Fact<'_> {
    let request = request.map(Cow::Borrowed);
    Fact::Failed { request, failure }
}

fn start(text: &str) -> Result<Fact<'_>, MessageError> {
    let request = labelled(text, "RequestId");
    let request = request.ok_or(MessageError::Lacks("START", "RequestId"))?;
    // `START RequestId: 6d68 Version: 7`.
    let version = labelled(text, "Version").map(Cow::Borrowed);
    let request = Cow::Borrowed(request);
    Ok(Fact::Start { request, version })
}

fn phase<'a>(
    text: &'a str,
    word: &'static str,
    label: &'static str,
) -> Result<Fact<'a>, MessageError> {
    Ok(Fact::PhaseReport(PhaseReport {
        is_restore: word == "RESTORE_REPORT",
        duration_ms: duration(text, word, label)?,
        in_invoke: labelled(text, "Phase") == Some("invoke"),
        failed: labelled(text, "Status").is_some_and(|status| status != "success"),
    }))
}

/// The lines that older functions have in place of a status in `REPORT`: before it or after it.
fn failed(text: &str) -> Option<Fact<'_>> {
    let tail =
        text.get(text.floor_char_boundary(text.len().saturating_sub(FAILURE_BYTES_MAX))..)?;
    if !tail.contains("Task timed out after") && !text.starts_with("RequestId: ") {
        return None;
    }
    if let Some((before, _)) = tail.split_once(" Task timed out after ")
        && tail.trim_end().ends_with(" seconds")
    {
        let request = before.split_ascii_whitespace().last();
        return Some(failure(request, Failure::Timeout));
    }
    let (before, error) = text.split_once(" Error: ")?;
    if !error.starts_with("Runtime exited") {
        return None;
    }
    let ended = if error.contains("signal: killed") {
        Failure::OutOfMemory
    } else {
        Failure::Crash
    };
    Some(failure(labelled(before, "RequestId"), ended))
}

/// Bytes at the end of a line in which a timeout is told: a time, a request id and the sentence.
const FAILURE_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        match read(text) {
            Ok(Some(fact)) => format!("{fact:?}"),
            Ok(None) => "other".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_report_is_read_with_tabs_and_with_blanks() {
        let line = "REPORT RequestId: 6d68\tDuration: 693.92 ms\tBilled Duration: 1092 ms\t\
                    Memory Size: 128 MB\tMax Memory Used: 84 MB\tInit Duration: 397.68 ms\t";
        let expected = "Report(Report { request: \"6d68\", duration_ms: Some(693.92), \
                        billed_ms: Some(1092.0), memory_size_mb: Some(128.0), \
                        memory_used_mb: Some(84.0), init_ms: Some(397.68), restore_ms: None, \
                        billed_restore_ms: None, failure: None })";
        assert_eq!(told(line), expected);
        assert_eq!(told(&line.replace('\t', "  ")), expected);
    }

    #[test]
    fn a_report_tells_restores_and_failures() {
        let line = "REPORT RequestId: a\tDuration: 147.15 ms\tBilled Duration: 201 ms\t\
                    Memory Size: 512 MB\tMax Memory Used: 91 MB\tRestore Duration: 500.79 ms\t\
                    Billed Restore Duration: 53 ms";
        let Ok(Some(Fact::Report(report))) = read(line) else {
            panic!("no report")
        };
        assert_eq!(report.restore_ms, Some(500.79));
        assert_eq!(report.billed_restore_ms, Some(53.0));
        assert_eq!((report.init_ms, report.billed_ms), (None, Some(201.0)));
        for (end, expected) in [
            ("Status: timeout", Some(Failure::Timeout)),
            (
                "Status: error\tError Type: Runtime.ExitError",
                Some(Failure::Crash),
            ),
            (
                "Status: error\tError Type: Runtime.OutOfMemory",
                Some(Failure::OutOfMemory),
            ),
            ("Status: error\tError Type: Oops", Some(Failure::Error)),
            ("Status: success", None),
            ("", None),
        ] {
            let line = format!("REPORT RequestId: a\tDuration: 1 ms\t{end}");
            let Ok(Some(Fact::Report(report))) = read(&line) else {
                panic!("no report")
            };
            assert_eq!(report.failure, expected, "{end}");
        }
        let full = "REPORT RequestId: a\tDuration: 1 ms\tMemory Size: 128 MB\tMax Memory Used: 128 \
                    MB\tStatus: error\tError Type: Runtime.ExitError";
        assert!(told(full).contains("OutOfMemory"));
    }

    #[test]
    fn phases_starts_and_failures_are_read() {
        for (line, expected) in [
            (
                "START RequestId: 6d68 Version: $LATEST",
                "Start { request: \"6d68\", version: Some(\"$LATEST\") }",
            ),
            (
                "INIT_REPORT Init Duration: 9999.52 ms\tPhase: init\tStatus: timeout",
                "PhaseReport(PhaseReport { is_restore: false, duration_ms: Some(9999.52), \
                 in_invoke: false, failed: true })",
            ),
            (
                "RESTORE_REPORT Restore Duration: 12.5 ms",
                "PhaseReport(PhaseReport { is_restore: true, duration_ms: Some(12.5), \
                 in_invoke: false, failed: false })",
            ),
            (
                "2026-11-26T12:00:00.123Z 6d68 Task timed out after 3.00 seconds",
                "Failed { request: Some(\"6d68\"), failure: Timeout }",
            ),
            (
                "RequestId: 6d68 Error: Runtime exited with error: signal: killed",
                "Failed { request: Some(\"6d68\"), failure: OutOfMemory }",
            ),
            (
                "RequestId: 6d68 Error: Runtime exited with error: exit status 1",
                "Failed { request: Some(\"6d68\"), failure: Crash }",
            ),
        ] {
            assert_eq!(told(line), expected, "{line}");
        }
    }

    #[test]
    fn other_lines_are_no_facts_and_cut_ones_are_errors() {
        for line in [
            "",
            "hello",
            "REPORT on sales: done",
            "END RequestId: 6d68",
            "START",
        ] {
            assert_eq!(told(line), "other", "{line}");
        }
        assert_eq!(
            told("REPORT RequestId: 6d68\tDur"),
            "REPORT without Duration"
        );
        assert_eq!(
            told("INIT_REPORT Init Dur"),
            "INIT_REPORT without Init Duration"
        );
    }
}
