//! Faults a test plants in the Runtime API: their places and kinds here, the bytes in `stream`.

pub(crate) mod stream;

use std::sync::Mutex;
use std::time::Duration;

use crate::lock::lock;

/// One fault, applied once, at one place. A fault whose place has passed never happens. Several
/// at one place all apply; of those that change the bytes of the answer, the last one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its place.
    pub at: Step,
    /// Its kind.
    pub kind: FaultKind,
}

impl Fault {
    /// A fault of this kind at this place.
    #[must_use]
    pub fn new(at: Step, kind: FaultKind) -> Self {
        Self { at, kind }
    }
}

/// A place in the life of the emulator. Every count starts at 0 and runs over all environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The nth connection accepted by any environment. Only [`FaultKind::Refuse`],
    /// [`FaultKind::Unreachable`], [`FaultKind::ResetBefore`] and [`FaultKind::Delay`] apply here.
    Connection(usize),
    /// The nth request of any endpoint.
    Request(usize),
    /// The nth `GET /runtime/invocation/next`.
    Next(usize),
    /// The nth `POST /runtime/invocation/{id}/response`.
    Response(usize),
    /// The nth `POST /runtime/invocation/{id}/error`.
    InvocationError(usize),
    /// The nth `POST /runtime/init/error`.
    InitError(usize),
    /// The nth `POST /extension/register`.
    Register(usize),
    /// The nth `GET /extension/event/next`.
    ExtensionNext(usize),
    /// The nth `PUT /telemetry`.
    Subscribe(usize),
    /// The nth request to the metadata endpoint.
    Metadata(usize),
    /// The nth `GET /runtime/restore/next`.
    RestoreNext(usize),
    /// The nth `POST /runtime/restore/error`.
    RestoreError(usize),
    /// The nth `GET` of the credentials, which a function under `SnapStart` fetches.
    Credentials(usize),
}

/// The kind of a fault. "Processed" means that the state machine has taken the request, so a second
/// one with the same meaning meets the state the first one left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// At a connection: it and the ones after it are accepted and reset at once, `times` in all.
    /// At a request: the connection is reset before the request is processed, and so are the
    /// next `times` connections. A listener that is closed cannot count attempts; for
    /// `ECONNREFUSED` there is [`FaultKind::Unreachable`].
    Refuse {
        /// How many connections.
        times: usize,
    },
    /// The connection is reset before the request is processed and the listener is closed, so
    /// that connecting fails with `ECONNREFUSED`, for this long.
    Unreachable(Duration),
    /// The connection is reset before the request is processed.
    ResetBefore,
    /// The request is processed, then the connection is reset without a byte of answer.
    ResetAfter,
    /// The request is processed, and the connection is reset if there is no answer after this long:
    /// a poll that is lost while it waits.
    ResetWaiting(Duration),
    /// The request is processed, this many bytes of the answer go out, then a reset.
    CutAt(usize),
    /// The request is processed, this many bytes of the answer go out, then an orderly close.
    CloseAt(usize),
    /// This many bytes of the answer go out, then after a pause of 20 ms the rest.
    SplitAt(usize),
    /// The answer goes out one byte a write.
    ByteByByte,
    /// The answer (of a connection: its acceptance) is held back this long.
    Delay(Duration),
    /// The request is processed, these bytes go out in place of the answer, then a close.
    Garbage(Vec<u8>),
    /// The request is processed, these bytes go out in place of the answer, and the connection is
    /// kept.
    Instead(Vec<u8>),
    /// The request is not processed; this status with this body is the answer.
    Status(u16, String),
    /// As [`FaultKind::Status`], as soon as the head of the request was read: its body is left
    /// unread and the connection closed behind the answer.
    EarlyStatus(u16, String),
}

/// The planted faults and the counts that tell when their place is reached.
#[derive(Debug)]
pub(crate) struct Registry {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    planted: Vec<Fault>,
    connections: usize,
    requests: usize,
    nexts: usize,
    responses: usize,
    invocation_errors: usize,
    init_errors: usize,
    registers: usize,
    extension_nexts: usize,
    subscribes: usize,
    metadata: usize,
    restore_nexts: usize,
    restore_errors: usize,
    credentials: usize,
    /// Connections still to be reset because of a [`FaultKind::Refuse`].
    refuse: usize,
}

/// The endpoints that have a count of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Next,
    Response,
    InvocationError,
    InitError,
    Register,
    ExtensionNext,
    Subscribe,
    Metadata,
    RestoreNext,
    RestoreError,
    Credentials,
    Other,
}

/// The number of a connection or request, and the faults that apply to it.
#[derive(Debug)]
pub(crate) struct Drawn {
    pub(crate) number: usize,
    pub(crate) faults: Vec<Fault>,
}

impl Registry {
    pub(crate) fn new(planted: Vec<Fault>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                planted,
                ..Inner::default()
            }),
        }
    }

    pub(crate) fn plant(&self, faults: Vec<Fault>) {
        lock(&self.inner).planted.extend(faults);
    }

    /// Counts a connection and takes its faults.
    pub(crate) fn connection(&self) -> Drawn {
        let mut inner = lock(&self.inner);
        let number = post_increment(&mut inner.connections);
        let at = Step::Connection(number);
        let mut faults = inner.take(at);
        for fault in &faults {
            if let FaultKind::Refuse { times } = fault.kind {
                inner.refuse += times;
            }
        }
        if inner.refuse > 0 {
            inner.refuse -= 1;
            faults.push(Fault::new(at, FaultKind::ResetBefore));
        }
        Drawn { number, faults }
    }

    /// Counts a request and takes its faults: first the faults of any request, then the faults of
    /// its endpoint.
    pub(crate) fn request(&self, endpoint: Endpoint) -> Drawn {
        let mut inner = lock(&self.inner);
        let number = post_increment(&mut inner.requests);
        let mut faults = inner.take(Step::Request(number));
        let at = match endpoint {
            Endpoint::Next => Some(Step::Next(post_increment(&mut inner.nexts))),
            Endpoint::Response => Some(Step::Response(post_increment(&mut inner.responses))),
            Endpoint::InvocationError => Some(Step::InvocationError(post_increment(
                &mut inner.invocation_errors,
            ))),
            Endpoint::InitError => Some(Step::InitError(post_increment(&mut inner.init_errors))),
            Endpoint::Register => Some(Step::Register(post_increment(&mut inner.registers))),
            Endpoint::ExtensionNext => Some(Step::ExtensionNext(post_increment(
                &mut inner.extension_nexts,
            ))),
            Endpoint::Subscribe => Some(Step::Subscribe(post_increment(&mut inner.subscribes))),
            Endpoint::Metadata => Some(Step::Metadata(post_increment(&mut inner.metadata))),
            Endpoint::RestoreNext => {
                Some(Step::RestoreNext(post_increment(&mut inner.restore_nexts)))
            }
            Endpoint::RestoreError => Some(Step::RestoreError(post_increment(
                &mut inner.restore_errors,
            ))),
            Endpoint::Credentials => {
                Some(Step::Credentials(post_increment(&mut inner.credentials)))
            }
            Endpoint::Other => None,
        };
        if let Some(at) = at {
            faults.extend(inner.take(at));
        }
        for fault in &faults {
            if let FaultKind::Refuse { times } = fault.kind {
                inner.refuse += times;
            }
        }
        Drawn { number, faults }
    }
}

impl Inner {
    fn take(&mut self, at: Step) -> Vec<Fault> {
        self.planted
            .extract_if(.., |fault| fault.at == at)
            .collect()
    }
}

fn post_increment(count: &mut usize) -> usize {
    let before = *count;
    *count += 1;
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(drawn: &Drawn) -> Vec<&FaultKind> {
        drawn.faults.iter().map(|fault| &fault.kind).collect()
    }

    #[test]
    fn a_fault_is_taken_once_at_its_place() {
        let registry = Registry::new(vec![
            Fault::new(Step::Next(1), FaultKind::ResetAfter),
            Fault::new(Step::Request(2), FaultKind::ByteByByte),
        ]);
        assert_eq!(
            kinds(&registry.request(Endpoint::Next)),
            Vec::<&FaultKind>::new()
        );
        assert_eq!(
            kinds(&registry.request(Endpoint::Response)),
            Vec::<&FaultKind>::new()
        );
        let third = registry.request(Endpoint::Next);
        assert_eq!(third.number, 2);
        assert_eq!(
            kinds(&third),
            [&FaultKind::ByteByByte, &FaultKind::ResetAfter]
        );
        registry.plant(vec![Fault::new(Step::Next(1), FaultKind::ResetAfter)]);
        assert!(registry.request(Endpoint::Next).faults.is_empty());
    }

    #[test]
    fn refuse_resets_as_many_connections_as_it_says() {
        let refuse = Fault::new(Step::Connection(1), FaultKind::Refuse { times: 2 });
        let registry = Registry::new(vec![refuse]);
        let reset: Vec<bool> = (0..4)
            .map(|_| kinds(&registry.connection()).contains(&&FaultKind::ResetBefore))
            .collect();
        assert_eq!(reset, [false, true, true, false]);
    }
}
