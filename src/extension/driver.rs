//! The async driver: moves bytes between a socket and the HTTP core, and starts tasks.

use std::io;
use std::net::TcpStream;
use std::pin::Pin;

use async_executor::{LocalExecutor, Task};
use async_io::Async;
use futures_lite::AsyncReadExt as _;

use crate::shared::blocking::ExchangeError;
use crate::shared::http::{Progress, Reader};

/// Starts a task. All are of one type, or each would bring the code of a task along.
pub(super) fn spawn(
    executor: &LocalExecutor<'static>,
    work: impl Future<Output = ()> + 'static,
) -> Task<()> {
    let work: Pin<Box<dyn Future<Output = ()>>> = Box::pin(work);
    executor.spawn(work)
}

/// Reads a message to its end.
pub(super) async fn read(
    stream: &mut Async<TcpStream>,
    message: &mut Reader,
) -> Result<(), ExchangeError> {
    loop {
        let space = message.space().map_err(ExchangeError::Http)?;
        let progress = match stream.read(space).await {
            Ok(0) => message.eof(),
            Ok(count) => message.filled(count),
            // A freeze can interrupt a system call.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ExchangeError::Io(error)),
        };
        if progress.map_err(ExchangeError::Http)? == Progress::Complete {
            return Ok(());
        }
    }
}
