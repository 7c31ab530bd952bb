//! Managed Instances: several invocations at once, each in a process of its own.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html>.
//! There, and wherever `AWS_LAMBDA_MAX_CONCURRENCY` is above 1, the process that the platform
//! starts becomes a supervisor and starts this program again that many times. Each of these workers
//! is the blocking loop with a connection of its own. Workers write what they do on a board, which
//! is memory that they share with the supervisor, so an invocation costs no further system call.
//!
//! ```text
//!  supervisor ──► worker 0 ── next, response ──► Runtime API
//!      │     └──► worker 1 ── next, response ──►     ▲
//!      └──► worker 1 again ── the error ─────────────┘
//!                             of the invocation that was left behind
//! ```
//!
//! The supervisor kills a worker past its deadline, and starts another one in the place of each
//! that has ended. If that left an invocation behind, the new one answers it first: an API that is
//! slow then delays that worker, and the deadlines of its neighbours hold.
//!
//! Where the handler is an HTTP server there is one for all workers, as it serves several requests
//! at once. One more process of this program keeps it: starts it, waits until it is ready, writes
//! its log, and ends when it ends. So it is started again by the rules for workers.
//!
//! The supervisor runs no code of the user, and ends only when nothing can be served: once the
//! process that the platform started has ended, so has the environment.

pub(super) mod board;
mod left_behind;
mod process;
pub(super) mod seat;
mod supervisor;

use self::board::WORKERS_MAX;
use self::seat::Seat;
use super::handler::Beside;
use super::log;
use crate::shared::digits::decimal;
use crate::shared::env::{Env, INIT_TYPE, Lookup};
use crate::shared::log_record::Level;
use crate::shared::os;

/// The part that this process plays.
#[derive(Debug)]
pub(super) enum Part {
    /// It serves every invocation.
    Alone,
    /// It serves one invocation at a time, beside others, or keeps the server of the others.
    Worker(Seat),
    /// It was the supervisor, and ends with this code.
    Supervisor(u8),
}

/// Finds out which part this process plays. It returns from the supervisor's when that is over. A
/// program that starts again after a panic plays the part that it had: a worker's, or none. In a
/// build without workers each process serves every invocation.
pub(super) fn take_part(env: &Env, is_again: bool, beside: impl FnOnce() -> Beside) -> Part {
    if !cfg!(feature = "managed-instances") {
        return Part::Alone;
    }
    match Seat::find(&os::variable) {
        Ok(Some(seat)) => {
            left_behind::answer(seat.slot(), &env.api);
            seat.slot().starts();
            return Part::Worker(seat);
        }
        Ok(None) if is_again => return Part::Alone,
        Ok(None) => {}
        Err(error) => {
            let error = os::error_text(error);
            log::line(Level::Fatal, &[NO_BOARD, &error].concat());
            return Part::Supervisor(1);
        }
    }
    // On Managed Instances the platform does not enforce the timeout: a single worker needs
    // somebody who does, too.
    let is_managed = os::variable(INIT_TYPE).is_some_and(|value| value == MANAGED);
    match concurrency(&os::variable) {
        1 if !is_managed => Part::Alone,
        workers => Part::Supervisor(supervisor::run(workers, beside(), &env.api)),
    }
}

/// How many invocations there may be at once, at least 1.
fn concurrency(lookup: Lookup<'_>) -> usize {
    let Some(value) = lookup(CONCURRENCY).filter(|value| !value.is_empty()) else {
        return 1;
    };
    let number = decimal(value.as_encoded_bytes());
    let taken = number.unwrap_or(1).clamp(1, WORKERS_MAX as u64);
    if number != Some(taken) {
        let value = value.to_string_lossy();
        let expected = format!("it is a number from 1 to {WORKERS_MAX}; taken as {taken}");
        log::line(
            Level::Warn,
            &format!("{CONCURRENCY} is {value:?}: {expected}"),
        );
    }
    usize::try_from(taken).unwrap_or(1)
}

/// How many invocations the platform may have in an environment at once. Local tools set it to 1.
const CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";

const MANAGED: &str = "lambda-managed-instances";

const NO_BOARD: &str = "a worker cannot map the memory that it shares with its supervisor: ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_concurrency_is_a_number_within_its_limits() {
        let table = [
            ("", 1),
            ("1", 1),
            ("64", 64),
            ("1000", 1_000),
            ("1001", 1_000),
            ("0", 1),
            ("-1", 1),
            ("many", 1),
        ];
        for (value, expected) in table {
            assert_eq!(concurrency(&|_| Some(value.into())), expected, "{value}");
        }
        assert_eq!(concurrency(&|_| None), 1);
    }
}
