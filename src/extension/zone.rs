//! Reads the availability zone from the metadata endpoint, beside everything else.
//!
//! Nothing waits for it: an endpoint that is slow or gone costs the zone and nothing else. A
//! restore may be in another zone than its snapshot, so the zone is read again after each.

use std::future as std_future;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use async_io::Async;
use futures_lite::future;

use crate::extension::clock::Clock;
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

    /// The endpoint of a world, which has no sockets.
    #[cfg(test)]
    pub(super) fn of_world() -> Self {
        Self::read(&|_| Some("0.0.0.0:1".to_owned())).unwrap()
    }

    /// Reads the zone now and after each restore, for ever.
    #[expect(clippy::infinite_loop, reason = "it ends with the process")]
    pub(super) async fn watch(self, figures: Rc<Figures>) {
        loop {
            let restores = figures.restores();
            let reading = async {
                self.read_zone(&figures).await;
                std_future::pending::<()>().await;
            };
            // A restore ends a request whose connection stayed in the snapshot, and a pause.
            future::or(figures.restored_after(restores), reading).await;
        }
    }

    /// Reads the zone, with some attempts.
    async fn read_zone(&self, figures: &Figures) {
        let clock = figures.clock();
        for _ in 0..ATTEMPTS {
            let thaws = figures.thaws();
            if let Some(Some(zone)) = clock.within(TIMEOUT, self.zone(clock)).await {
                figures.zone(zone);
                return;
            }
            // A freeze may have broken the request off, which says nothing of the endpoint.
            clock.within(PAUSE, figures.thawed_after(thaws)).await;
        }
    }

    #[cfg_attr(
        not(test),
        expect(unused_variables, reason = "a test has its own clock")
    )]
    async fn zone(&self, clock: Clock) -> Option<String> {
        let mut answer = Reader::new(Expect::Response, Limits::of_body(ANSWER_BYTES_MAX));
        let mut exchange = Exchange::new(Outgoing::new(&self.head, b""), &mut answer);
        #[cfg(test)]
        if let Some(world) = clock.world {
            world.send_for_metadata(&mut exchange).await;
            return metadata::zone(&answer).ok();
        }
        let stream = Async::<TcpStream>::connect(self.endpoint.address).await;
        let mut stream = driver::plain(stream.ok()?);
        driver::send(&mut stream, &mut exchange).await.ok()?;
        driver::receive(&mut stream, &mut exchange).await.ok()?;
        metadata::zone(&answer).ok()
    }
}

/// How long an answer may take. The endpoint is in the environment.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Attempts after the start or a restore: a freeze may break one off.
const ATTEMPTS: u8 = 3;

/// The time between two attempts. A thaw ends it: the zone is wanted for the start that follows.
const PAUSE: Duration = Duration::from_secs(1);
