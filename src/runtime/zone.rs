//! The availability zone, from the metadata endpoint.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-metadata-endpoint.html>
//! A restore may be in another zone than the snapshot, so [`forget`] is called then.

use std::os::fd::AsFd as _;
use std::sync::Mutex;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::log;
use crate::shared::endpoint::Endpoint;
use crate::shared::env::Lookup;
use crate::shared::http::{Exchange, Expect, Limits, Outgoing, Reader};
use crate::shared::limits::ANSWER_BYTES_MAX;
use crate::shared::log_record::Level;
use crate::shared::metadata::{self, API, TOKEN};
use crate::shared::os::blocking::{self, ExchangeError};
use crate::shared::os::clock::monotonic;
use crate::shared::os::{self, reexec};

/// What is known.
#[derive(Debug)]
struct Known {
    zone: Option<String>,
    /// Attempts to read it that failed.
    failures: u8,
}

/// The id of the zone, which is read the first time that somebody asks for it.
pub(super) fn availability_zone() -> Option<String> {
    let mut known = reexec::lock(&KNOWN);
    if known.zone.is_none() && known.failures < FAILURES_MAX {
        match read(&os::variable) {
            Ok(zone) => known.zone = Some(zone),
            Err(error) => {
                known.failures += 1;
                log::line(Level::Debug, &[UNKNOWN_ZONE, &error].concat());
            }
        }
    }
    known.zone.clone()
}

/// Makes the next question read the zone again.
pub(super) fn forget() {
    *reexec::lock(&KNOWN) = UNKNOWN;
}

/// Reads the zone. The error is the text for the log, which the token is not in.
fn read(lookup: Lookup<'_>) -> Result<String, String> {
    let text = |name| {
        lookup(name)?
            .into_string()
            .ok()
            .filter(|text| !text.is_empty())
    };
    let (Some(address), Some(token)) = (text(API), text(TOKEN)) else {
        return Err(format!("{API} or {TOKEN} is not set"));
    };
    let endpoint = Endpoint::parse(&address, &os::resolve::address);
    let endpoint = endpoint.map_err(|error| format!("{API}: {error}"))?;
    let head = metadata::request(&endpoint, &token);
    let mut response = Reader::new(Expect::Response, Limits::of_body(ANSWER_BYTES_MAX));
    get(&endpoint, &head, &mut response).map_err(|error| error.to_string())?;
    metadata::zone(&response)
}

/// One exchange, all of which takes no longer than [`TIMEOUT`].
fn get(endpoint: &Endpoint, head: &[u8], response: &mut Reader) -> Result<(), ExchangeError> {
    let end = monotonic() + TIMEOUT;
    let stream = blocking::connect(endpoint.address, Some(TIMEOUT));
    let stream = stream.map_err(ExchangeError::Connect)?;
    let mut exchange = Exchange::new(Outgoing::new(head, b""), response);
    // A request of this size fits the buffer of the socket.
    blocking::send(stream.as_fd(), &mut exchange).map_err(ExchangeError::Io)?;
    while !exchange.is_done() {
        let left = end.saturating_duration_since(monotonic());
        match os::poll(&mut [PollFd::new(&stream, PollFlags::IN)], Some(left)) {
            Ok(0) => return Err(ExchangeError::Io(Errno::TIMEDOUT)),
            Ok(_) | Err(Errno::INTR) => blocking::read_now(stream.as_fd(), &mut exchange)?,
            Err(error) => return Err(ExchangeError::Io(error)),
        }
    }
    Ok(())
}

static KNOWN: Mutex<Known> = Mutex::new(UNKNOWN);

const UNKNOWN: Known = Known {
    zone: None,
    failures: 0,
};

const UNKNOWN_ZONE: &str = "the availability zone is not known: ";

/// How long a handler that asks is held up.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Attempts that may fail, so that an endpoint that is gone does not hold up every invocation.
const FAILURES_MAX: u8 = 3;
