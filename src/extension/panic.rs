//! A panic must not end the extension: any exit before SHUTDOWN, even with 0, fails the function.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>
//!
//! The hook executes the program again in place, whichever thread panicked; the kernel ends the
//! others. The next program gets the identifier, so that it need not register, which is too late
//! by then, the port and path that telemetry is delivered to, and how far the environment has come.
//! What was measured so far is lost, and counted.
//!
//! The connection with the open `event/next` is closed. The platform gives the next event to that
//! request and refuses another one until then (403), so the new program asks again until it is
//! taken, at least once a second. An INVOKE in between goes uncounted and the invocation ends up to
//! a second later; a SHUTDOWN in between costs the time until the process is killed. AWS's RIE
//! does the same, and serves the function.

use std::sync::Mutex;

use crate::extension::account::Life;
use crate::extension::api::Destination;
use crate::extension::log;
use crate::shared::backoff::EXTENSION_RESTARTS;
use crate::shared::digits::decimal;
use crate::shared::os;
use crate::shared::os::reexec::{self, After, Panic};
use crate::shared::time::EpochMs;

/// What the next program needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handover {
    pub(super) identifier: String,
    /// Whether INVOKE events come.
    pub(super) with_invoke: bool,
    /// Where telemetry is delivered to, if it is.
    pub(super) destination: Option<Destination>,
    /// How often the program has panicked in this process.
    pub(super) panics: u32,
    pub(super) life: Life,
}

impl Handover {
    /// The handover of an earlier program of this process, if one panicked.
    pub(super) fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        Self::parse(&lookup(VARIABLE)?)
    }

    /// Panics, whether INVOKE comes, port or 0, path token, the begin of the environment, whether
    /// it was restored, its invocations, and identifier, separated by spaces.
    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.splitn(8, ' ');
        let panics = u32::try_from(decimal(parts.next()?.as_bytes())?).ok()?;
        let with_invoke = parts.next()? == "true";
        let port = u16::try_from(decimal(parts.next()?.as_bytes())?).ok()?;
        let token = parts.next()?.to_owned();
        let life = Life {
            began_at: EpochMs(decimal(parts.next()?.as_bytes())?),
            is_restored: parts.next()? == "true",
            invocations: decimal(parts.next()?.as_bytes())?,
        };
        Some(Self {
            identifier: parts.next()?.to_owned(),
            with_invoke,
            destination: (port != 0).then_some(Destination { port, token }),
            panics,
            life,
        })
    }

    fn to_text(&self, panics: u32) -> String {
        let none = Destination::default();
        let Destination { port, token } = self.destination.as_ref().unwrap_or(&none);
        let (with_invoke, identifier) = (self.with_invoke, &self.identifier);
        let Life {
            began_at: EpochMs(began),
            is_restored,
            invocations,
        } = self.life;
        format!(
            "{panics} {with_invoke} {port} {token} {began} {is_restored} {invocations} {identifier}"
        )
    }
}

/// Installs the hook, once there is an identifier to hand over.
pub(super) fn watch(handover: Handover) {
    *reexec::lock(&STATE) = State::Running(handover);
    reexec::on_panic(act);
}

/// Takes note of how far the environment has come.
pub(super) fn hand_over(life: Life) {
    if let State::Running(handover) = &mut *reexec::lock(&STATE) {
        handover.life = life;
    }
}

/// Takes note that SHUTDOWN came: no other event will, so there is nothing to start anew for.
pub(super) fn ends() {
    *reexec::lock(&STATE) = State::Ending;
}

fn act(panic: &Panic<'_>) -> After {
    let Panic { place, message } = panic;
    log::warn(&format!("panicked at {place}: {message}; starting anew"));
    let handover = match &*reexec::lock(&STATE) {
        State::Starting => return After::Return,
        // The exit that SHUTDOWN asks for, without what was left to export.
        State::Ending => return After::Exit(0),
        State::Running(handover) => handover.clone(),
    };
    let panics = handover.panics.saturating_add(1);
    os::sleep(EXTENSION_RESTARTS.after(panics).unwrap_or_default());
    let error = reexec::again(&[(VARIABLE, Some(&handover.to_text(panics)))]);
    let error = os::error_text(error);
    log::warn(&format!("cannot start anew after a panic: {error}"));
    // To exit is to fail the function; to stay is to hold up its next invocation. Staying is the
    // lesser harm: the platform ends the environment by itself when it times out.
    After::Wait
}

#[derive(Debug)]
enum State {
    /// There is no identifier yet.
    Starting,
    Running(Handover),
    /// SHUTDOWN came.
    Ending,
}

static STATE: Mutex<State> = Mutex::new(State::Starting);

/// Customers cannot set such a name:
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
const VARIABLE: &str = "_BANTAM_RESUME";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_program_reads_what_was_handed_over() {
        let destination = Destination {
            port: 4_243,
            token: "5eed".to_owned(),
        };
        for (destination, with_invoke) in [(Some(destination), true), (None, false)] {
            let handover = Handover {
                identifier: "an id with spaces".to_owned(),
                with_invoke,
                destination,
                panics: 2,
                life: Life {
                    began_at: EpochMs(1_787_220_000_000),
                    is_restored: !with_invoke,
                    invocations: 7,
                },
            };
            let expected = Handover {
                panics: 3,
                ..handover.clone()
            };
            assert_eq!(Handover::parse(&handover.to_text(3)), Some(expected));
        }
        for malformed in [
            "",
            "1 true 2 3",
            "1 true 2 t 1 false 1",
            "x true 0 t 1 false 1 id",
            "1 true 70000 t 1 false 1 id",
            "1 true 2 t x false 1 id",
            "1 true 2 t 1 false x id",
        ] {
            assert_eq!(Handover::parse(malformed), None, "{malformed}");
        }
    }
}
