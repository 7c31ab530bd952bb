//! A call of an API beside those of the loop.

use std::time::Duration;

use crate::runtime::client::Connection;
use crate::shared::endpoint::Endpoint;
use crate::shared::http::{Exchange, Expect, Limits, Outgoing, Reader};
use crate::shared::limits::ANSWER_BYTES_MAX;
use crate::shared::os::blocking::ExchangeError;

/// Makes one call of an API on a connection of its own, which is closed behind it.
pub(super) fn call(
    api: &Endpoint,
    head: &[u8],
    body: &[u8],
    timeout: Option<Duration>,
) -> Result<Reader, ExchangeError> {
    let mut response = Reader::new(Expect::Response, Limits::of_body(ANSWER_BYTES_MAX));
    let mut exchange = Exchange::new(Outgoing::new(head, body), &mut response);
    Connection::new(api.address, timeout).carry(&mut exchange)?;
    Ok(response)
}
