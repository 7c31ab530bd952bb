//! Reads the availability zone from the metadata endpoint, beside everything else.
//!
//! Nothing waits for it: an endpoint that is slow or gone costs the zone and nothing else. A
//! restore may be in another zone than its snapshot, so the zone is read again after each.

use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use async_io::Async;

use crate::extension::figures::Figures;
use crate::extension::io as driver;
use crate::shared::endpoint::Endpoint;
use crate::shared::http::{Exchange, Expect, Limits, Outgoing, Reader};
use crate::shared::limits::ANSWER_BYTES_MAX;
use crate::shared::metadata;
use crate::shared::os::resolve;

/// The endpoint and its request.
#[derive(Debug)]
pub(super) struct Source {
    endpoint: Endpoint,
    head: Vec<u8>,
}

impl Source {
    /// The endpoint that the variables name; `None` where there is none.
    pub(super) fn read(text: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let endpoint = Endpoint::parse(&text(metadata::API)?, &resolve::address).ok()?;
        let head = metadata::request(&endpoint, &text(metadata::TOKEN)?);
        Some(Self { endpoint, head })
    }

    /// Reads the zone now and after each restore, for ever.
    #[expect(clippy::infinite_loop, reason = "it ends with the process")]
    pub(super) async fn watch(self, figures: Rc<Figures>) {
        let clock = figures.clock();
        loop {
            let restores = figures.restores();
            for _ in 0..ATTEMPTS {
                if let Some(Some(zone)) = clock.within(TIMEOUT, self.zone()).await {
                    figures.zone(zone);
                    break;
                }
                clock.sleep(PAUSE).await;
            }
            figures.restored_after(restores).await;
        }
    }

    async fn zone(&self) -> Option<String> {
        let stream = Async::<TcpStream>::connect(self.endpoint.address)
            .await
            .ok()?;
        let mut stream = driver::plain(stream);
        let mut answer = Reader::new(Expect::Response, Limits::of_body(ANSWER_BYTES_MAX));
        let mut exchange = Exchange::new(Outgoing::new(&self.head, b""), &mut answer);
        driver::send(&mut stream, &mut exchange).await.ok()?;
        driver::receive(&mut stream, &mut exchange).await.ok()?;
        metadata::zone(&answer).ok()
    }
}

/// How long an answer may take. The endpoint is in the environment.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Attempts after the start or a restore: a freeze may break one off.
const ATTEMPTS: u8 = 3;

const PAUSE: Duration = Duration::from_secs(1);
