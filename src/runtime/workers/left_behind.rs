//! The invocation that a worker has left behind, and the answer to it.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::Signal;

use super::board::{Phase, Slot};
use crate::runtime::api::{Ids, Post};
use crate::runtime::client::{REPORT_TIMEOUT, post_once};
use crate::runtime::error::Error;
use crate::shared::endpoint::Endpoint;
use crate::shared::log_record::Level;

/// Answers the invocation that the last worker in this slot left behind, if there is one.
///
/// The slot changes after that: if this process ends before, the next one answers.
#[cold]
#[inline(never)]
pub(super) fn answer(slot: &Slot, api: &Endpoint) {
    let phase = slot.phase();
    if let Some(error) = error(phase, slot.status()) {
        report(slot, phase, &error, api);
        slot.starts();
    }
}

/// The error of an invocation whose worker ended in this phase, if it leaves one behind.
fn error(phase: Phase, status: ExitStatus) -> Option<Error> {
    match phase {
        Phase::Init
        | Phase::InitFailed
        | Phase::Polling
        | Phase::Invoking
        | Phase::Answering
        | Phase::Answered
        | Phase::Listening
        | Phase::Ended => None,
        Phase::Overdue => Some(Error::new("Function.Timeout", OVERDUE)),
        Phase::LeftBehind => {
            let mut message = format!("the process ended with {status} before it had answered");
            if status.signal() == Some(Signal::KILL.as_raw()) {
                message.push_str(", as when there is not enough memory");
            }
            Some(Error::new("Runtime.ExitError", message))
        }
    }
}

/// Sends the error, and writes it to the log unless the invocation has been answered.
///
/// A worker may end between the API's acceptance of its answer and reading that. The API refuses
/// the error then, as any second answer, which the client logs.
fn report(slot: &Slot, phase: Phase, error: &Error, api: &Endpoint) {
    let Some(ids) = slot.ids() else {
        error.log(Level::Error, None);
        return;
    };
    let log = || error.log(Level::Error, Some(&ids.request_id));
    if phase == Phase::Overdue {
        log();
    }
    let to = Ids {
        request_id: &ids.request_id,
        invocation_id: ids.invocation_id.as_deref(),
    };
    let status = post_once(Post::Error { to, error }, api, Some(REPORT_TIMEOUT));
    if phase == Phase::LeftBehind && !matches!(status, Some(400 | 403)) {
        log();
    }
}

const OVERDUE: &str = "the invocation went on at the deadline, so its process was replaced";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_invocation_without_an_answer_is_left_behind() {
        let table = [
            (Phase::Init, None),
            (Phase::InitFailed, None),
            (Phase::Polling, None),
            (Phase::Answered, None),
            (Phase::Overdue, Some("Function.Timeout")),
            (Phase::LeftBehind, Some("Runtime.ExitError")),
        ];
        for (phase, expected) in table {
            let error = error(phase, ExitStatus::from_raw(libc::SIGKILL));
            let error_type = error.as_ref().map(Error::error_type);
            assert_eq!(error_type, expected, "{phase:?}");
        }
    }
}
