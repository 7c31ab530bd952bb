//! Sends encoded batches to an OTLP receiver, each over a connection of its own.
//!
//! The environment may have been frozen since the last one, and a connection that was kept may be
//! gone without anybody having been told.

use std::io;
use std::pin::pin;
use std::time::Duration;

use super::driver::{self, Socket};
use super::export::settings::Otlp;
use crate::shared::blocking::ExchangeError;
use crate::shared::http::{Expect, HeadWriter, Limits, Reader};
use crate::shared::limits::ANSWER_BYTES_MAX;

/// The answer of a receiver; the reader is empty when there was none in time.
///
/// The status alone is an answer: what was taken must not be sent again because of what follows.
pub(super) async fn send(otlp: &Otlp, body: &[u8], within: Duration) -> Reader {
    let limits = Limits::of_body(ANSWER_BYTES_MAX);
    let mut answer = Reader::new(Expect::Response, limits);
    let mut is_whole = false;
    let exchanged = async { is_whole = exchange(otlp, body, &mut answer).await.is_ok() };
    driver::within(within, pin!(exchanged)).await;
    if !is_whole && answer.status().is_none() {
        answer.reset();
    }
    answer
}

async fn exchange(otlp: &Otlp, body: &[u8], answer: &mut Reader) -> io::Result<()> {
    let mut head = Vec::with_capacity(256);
    let mut writer = HeadWriter::request(&mut head, "POST", &[&otlp.target], &otlp.authority)
        .field("Content-Type", otlp.encoding.content_type().as_bytes())
        .field("Connection", b"close");
    for (name, value) in &otlp.headers {
        writer = writer.field(name, value.as_bytes());
    }
    writer.end_with_length(body.len());
    let stream = Socket::connect(otlp.address).await?;
    stream.write_all(&head).await?;
    stream.write_all(body).await?;
    match driver::read(&stream, answer).await {
        Ok(()) => Ok(()),
        Err(ExchangeError::Connect(error) | ExchangeError::Io(error)) => Err(error),
        Err(ExchangeError::Http(_)) => Err(io::ErrorKind::InvalidData.into()),
    }
}
