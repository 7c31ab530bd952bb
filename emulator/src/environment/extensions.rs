//! The extensions of one environment: who may register, what each may ask for, who is waited for.
//!
//! No I/O, no process and no clock. The states, the transitions and the words of a refusal are
//! those of aws-lambda-runtime-interface-emulator.
//!
//! ```text
//! Started ──register──► Registered ──next──► Ready ──event──► Running ──exit 0──► Exited
//!    │                      │                  ▲                │  └─killed──► ShutdownFailed
//!    └─cannot start─►       └─init/error─►     └──────next──────┘
//!      LaunchError            InitError             exit/error from Registered, Ready, Running:
//!                                                   ExitError
//! ```

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::record::outcome::{ExtensionInfo, ExtensionState};

/// All extensions of one generation of processes.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    all: Vec<Extension>,
    /// Whether the runtime has asked for its first event, which ends registration.
    runtime_ready: bool,
    /// Whether `INVOKE` is refused, as on Managed Instances.
    without_invoke: bool,
    /// Whether the processes are asked to end, so that the end of one is no crash.
    shutting_down: bool,
    /// The first fatal error an extension reported; later ones do not count.
    reported: Option<&'static str>,
}

/// One extension.
#[derive(Debug)]
pub(crate) struct Extension {
    pub(crate) name: String,
    /// Started by the environment, and not by the runtime's process.
    pub(crate) external: bool,
    pub(crate) id: Uuid,
    pub(crate) state: ExtensionState,
    pub(crate) events: Vec<Subscribed>,
    /// Why it is in one of the error states.
    pub(crate) error_type: Option<String>,
    /// How its process ended. Only external extensions have a process of their own.
    pub(crate) ended: Option<Ended>,
    pub(crate) registered_at: Option<Instant>,
    /// The first `next`.
    pub(crate) first_next_at: Option<Instant>,
    /// The last one.
    pub(crate) next_at: Option<Instant>,
    /// The `next` that waits for an event.
    waiter: Option<oneshot::Sender<Arc<Notice>>>,
    /// An event that came while no `next` waited.
    pending: Option<Arc<Notice>>,
}

/// How the process of an extension ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) at: Instant,
    /// By itself and with the code 0.
    pub(crate) success: bool,
    /// As Go prints a process state.
    pub(crate) state: String,
}

/// An event that an extension may register for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscribed {
    Invoke,
    Shutdown,
}

/// An event as `event/next` renders it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Invoke {
        deadline_ms: u64,
        request_id: String,
        arn: String,
        trace_id: String,
    },
    Shutdown {
        reason: &'static str,
        deadline_ms: u64,
    },
}

/// A refused request; the status is always 403.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) error_type: &'static str,
    pub(crate) message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}

impl Error for Refused {}

/// The two errors an extension may report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Init,
    Exit,
}

impl Registry {
    /// No extension yet. On Managed Instances there is no `INVOKE` event.
    pub(crate) fn new(without_invoke: bool) -> Self {
        Self {
            without_invoke,
            ..Self::default()
        }
    }

    /// An empty registry with the same rules.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(self.without_invoke)
    }

    pub(crate) fn all(&self) -> &[Extension] {
        &self.all
    }

    /// An external extension that is about to be started, or to attach.
    ///
    /// # Errors
    ///
    /// There are ten already, or one of its name; the text is the platform's.
    pub(crate) fn expect(&mut self, name: &str) -> Result<(), &'static str> {
        if self.all.iter().any(|other| other.name == name) {
            return Err("ErrAgentNameCollision");
        }
        let free = self.all.len() < EXTENSIONS_MAX;
        let mut extension = Extension::new(name, true, ExtensionState::Started);
        if !free {
            extension.state = ExtensionState::LaunchError;
            extension.error_type = Some("TooManyExtensions".to_owned());
        }
        self.all.push(extension);
        free.then_some(()).ok_or("ErrTooManyExtensions")
    }

    /// The one of this name that was expected could not be started.
    pub(crate) fn launch_failed(&mut self, name: &str, error_type: &str) {
        if let Some(extension) = self.all.iter_mut().find(|e| e.name == name) {
            extension.state = ExtensionState::LaunchError;
            extension.error_type = Some(error_type.to_owned());
        }
    }

    /// The runtime has asked for its first event.
    pub(crate) fn runtime_is_ready(&mut self) {
        self.runtime_ready = true;
    }

    /// Whether registration is closed. A runtime that attaches may be earlier than the
    /// extensions that are expected.
    pub(crate) fn is_closed(&self) -> bool {
        self.runtime_ready && self.all_registered()
    }

    /// `POST /extension/register`.
    pub(crate) fn register(
        &mut self,
        name: &str,
        events: &[String],
        now: Instant,
    ) -> Result<&Extension, Refused> {
        let at = self.all.iter().position(|e| e.external && e.name == name);
        let mut subscribed = Vec::new();
        for event in events {
            let event = self.subscription(event, at.is_some())?;
            if !subscribed.contains(&event) {
                subscribed.push(event);
            }
        }
        let at = match at {
            Some(at) => at,
            None => self.create_internal(name)?,
        };
        let extension = self.all.get_mut(at).ok_or_else(|| unknown("extension"))?;
        if extension.state != ExtensionState::Started {
            return Err(transition(extension.state, "Registered", name));
        }
        extension.state = ExtensionState::Registered;
        extension.events = subscribed;
        extension.registered_at = Some(now);
        Ok(extension)
    }

    fn subscription(&self, event: &str, external: bool) -> Result<Subscribed, Refused> {
        let error = match event {
            "INVOKE" if !self.without_invoke => return Ok(Subscribed::Invoke),
            "SHUTDOWN" if external => return Ok(Subscribed::Shutdown),
            "SHUTDOWN" => "ShutdownEventNotSupportedForInternalExtension",
            _ => "ErrorInvalidEventType",
        };
        Err(Refused {
            error_type: "Extension.InvalidEventType",
            message: format!("{event}: {error}"),
        })
    }

    fn create_internal(&mut self, name: &str) -> Result<usize, Refused> {
        let (error_type, message) = if self.is_closed() {
            (
                "Extension.RegistrationClosed",
                "Extension registration closed already".to_owned(),
            )
        } else if self.all.len() >= EXTENSIONS_MAX {
            (
                "Extension.TooManyExtensions",
                format!("Extension limit ({EXTENSIONS_MAX}) reached"),
            )
        } else if self.all.iter().any(|other| other.name == name) {
            (
                "Extension.InvalidExtensionState",
                "Extension with this name already registered".to_owned(),
            )
        } else {
            let started = ExtensionState::Started;
            self.all.push(Extension::new(name, false, started));
            return Ok(self.all.len() - 1);
        };
        Err(Refused {
            error_type,
            message,
        })
    }

    /// The processes are asked to end from here on.
    pub(crate) fn shut_down(&mut self) {
        self.shutting_down = true;
    }

    /// The process of an external extension has ended.
    pub(crate) fn ended(&mut self, name: &str, ended: Ended) {
        let shutting_down = self.shutting_down;
        if let Some(extension) = self.all.iter_mut().find(|e| e.name == name) {
            extension.ended(ended, shutting_down);
        }
    }

    /// Whether there is no extension, so that a shutdown has no `SHUTDOWN` event.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// `GET /extension/event/next`: the name, and where the event will come.
    pub(crate) fn next(
        &mut self,
        id: Uuid,
        now: Instant,
    ) -> Result<(String, oneshot::Receiver<Arc<Notice>>), Refused> {
        let Some(extension) = self.all.iter_mut().find(|e| e.id == id) else {
            return Err(unknown(&format!("extension {id}")));
        };
        // One that waits already is refused even if its connection broke: the event it waits for
        // is lost with the connection, and only then may it ask again.
        if !matches!(
            extension.state,
            ExtensionState::Registered | ExtensionState::Running
        ) {
            return Err(transition(extension.state, "Ready", &id.to_string()));
        }
        let (sender, receiver) = oneshot::channel();
        extension.state = ExtensionState::Ready;
        extension.first_next_at = extension.first_next_at.or(Some(now));
        extension.next_at = Some(now);
        extension.waiter = Some(sender);
        if let Some(pending) = extension.pending.take() {
            extension.release(pending);
        }
        Ok((extension.name.clone(), receiver))
    }

    /// `POST /extension/init/error` and `/extension/exit/error`. The first report counts, further
    /// ones are accepted.
    pub(crate) fn report(
        &mut self,
        report: Report,
        id: Uuid,
        error_type: &str,
    ) -> Result<String, Refused> {
        use ExtensionState::{ExitError, InitError, Ready, Registered, Running};
        let Some(extension) = self.all.iter_mut().find(|e| e.id == id) else {
            return Err(unknown("Lambda-Extension-Identifier"));
        };
        let (to, recorded) = match (report, extension.state) {
            (Report::Init, Registered) => (InitError, "Extension.InitError"),
            (Report::Exit, Registered | Ready | Running) => (ExitError, "Extension.ExitError"),
            (Report::Init, InitError) | (Report::Exit, ExitError) => {
                return Ok(extension.name.clone());
            }
            (Report::Init, state) => return Err(transition(state, "InitError", &id.to_string())),
            (Report::Exit, state) => return Err(transition(state, "Exited", &id.to_string())),
        };
        extension.state = to;
        extension.error_type = Some(error_type.to_owned());
        self.reported = self.reported.or(Some(recorded));
        Ok(extension.name.clone())
    }

    /// The name of a registered extension.
    pub(crate) fn name_of(&self, id: Uuid) -> Result<&str, Refused> {
        let found = self.all.iter().find(|extension| extension.id == id);
        found
            .map(|extension| extension.name.as_str())
            .ok_or_else(|| unknown("Lambda-Extension-Identifier"))
    }

    /// Whether every external extension has registered.
    pub(crate) fn all_registered(&self) -> bool {
        let mut all = self.all.iter();
        all.all(|extension| extension.state != ExtensionState::Started)
    }

    /// When the last extension became ready, if all of those that are waited for are.
    /// `Err` while one is not.
    pub(crate) fn ready(&self, waited: impl Fn(&Extension) -> bool) -> Result<Option<Instant>, ()> {
        let mut last = None;
        for extension in self.all.iter().filter(|extension| waited(extension)) {
            if extension.state != ExtensionState::Ready {
                return Err(());
            }
            last = last.max(extension.next_at);
        }
        Ok(last)
    }

    /// Gives an event to the extensions that registered for it, and returns their names.
    pub(crate) fn release(&mut self, notice: &Arc<Notice>, to: Subscribed) -> Vec<String> {
        let mut names = Vec::new();
        for extension in &mut self.all {
            if extension.takes(to) {
                names.push(extension.name.clone());
                extension.release(Arc::clone(notice));
            }
        }
        names
    }

    /// The error type and message once an external extension has ended. Any end counts, also one
    /// with the code 0.
    pub(crate) fn crash(&self) -> Option<(String, String)> {
        if self.shutting_down {
            return None;
        }
        let ended = self.all.iter().find_map(|e| e.ended.as_ref())?;
        let message = if ended.success {
            "exit code 0".to_owned()
        } else {
            ended.state.clone()
        };
        let error_type = self.reported.unwrap_or("Extension.Crash");
        Some((error_type.to_owned(), message))
    }
}

impl Extension {
    fn new(name: &str, external: bool, state: ExtensionState) -> Self {
        Self {
            name: name.to_owned(),
            external,
            id: Uuid::new_v4(),
            state,
            events: Vec::new(),
            error_type: None,
            ended: None,
            registered_at: None,
            first_next_at: None,
            next_at: None,
            waiter: None,
            pending: None,
        }
    }

    pub(crate) fn takes(&self, event: Subscribed) -> bool {
        self.events.contains(&event)
    }

    fn release(&mut self, notice: Arc<Notice>) {
        if self.state != ExtensionState::Ready {
            self.pending = Some(notice);
            return;
        }
        self.state = ExtensionState::Running;
        if let Some(waiter) = self.waiter.take() {
            // The connection broke meanwhile: the event is lost, as on the platform.
            let _lost = waiter.send(notice);
        }
    }

    /// Its process has ended.
    fn ended(&mut self, ended: Ended, shutting_down: bool) {
        if shutting_down
            && self.takes(Subscribed::Shutdown)
            && self.state == ExtensionState::Running
        {
            self.state = if ended.success {
                ExtensionState::Exited
            } else {
                ExtensionState::ShutdownFailed
            };
        }
        self.ended = Some(ended);
    }

    /// The events' names on the wire.
    pub(crate) fn event_names(&self) -> Vec<&'static str> {
        let names = self.events.iter().map(|event| match event {
            Subscribed::Invoke => "INVOKE",
            Subscribed::Shutdown => "SHUTDOWN",
        });
        names.collect()
    }

    /// Its state for a caller. `process` is the id of its process and the instant before that
    /// was created, if it has a process.
    pub(crate) fn describe(&self, process: Option<(i32, Instant)>) -> ExtensionInfo {
        let exec_at = process.map(|(_, exec_at)| exec_at);
        let since = |at: Option<Instant>| Some(at?.saturating_duration_since(exec_at?));
        ExtensionInfo {
            name: self.name.clone(),
            external: self.external,
            state: self.state,
            events: self.event_names(),
            error_type: self.error_type.clone(),
            pid: process
                .filter(|_| self.ended.is_none())
                .and_then(|(pid, _)| u32::try_from(pid).ok()),
            exec_to_register: since(self.registered_at),
            exec_to_next: since(self.first_next_at),
        }
    }
}

impl Notice {
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Invoke {
                deadline_ms,
                request_id,
                arn,
                trace_id,
            } => json!({
                "eventType": "INVOKE",
                "deadlineMs": deadline_ms,
                "requestId": request_id,
                "invokedFunctionArn": arn,
                "tracing": { "type": "X-Amzn-Trace-Id", "value": trace_id },
            }),
            Self::Shutdown {
                reason,
                deadline_ms,
            } => json!({
                "eventType": "SHUTDOWN",
                "shutdownReason": reason,
                "deadlineMs": deadline_ms,
            }),
        }
    }
}

/// Where the platform has the identifier in the message and where the name is its own affair.
fn transition(from: ExtensionState, to: &str, who: &str) -> Refused {
    Refused {
        error_type: "Extension.InvalidExtensionState",
        message: format!(
            "State transition from {from:?} to {to} failed for extension {who}. \
             Error: State transition is not allowed"
        ),
    }
}

fn unknown(what: &str) -> Refused {
    Refused {
        error_type: "Extension.UnknownExtensionIdentifier",
        message: format!("Unknown {what}"),
    }
}

/// "Up to 10 extensions for a function", external and internal ones together
/// (docs.aws.amazon.com/lambda/latest/dg/lambda-extensions.html).
pub(crate) const EXTENSIONS_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// A step of an external extension.
    #[derive(Clone, Copy, Debug)]
    enum Do {
        Register,
        Next,
        Invoke,
        Shutdown,
        InitError,
        ExitError,
        Exit(i32),
    }

    const NAME: &str = "ext";

    fn exit_code(code: i32) -> Ended {
        Ended {
            at: Instant::now(),
            success: code == 0,
            state: format!("exit status {code}"),
        }
    }

    fn notice(to: Subscribed) -> Arc<Notice> {
        Arc::new(match to {
            Subscribed::Invoke => Notice::Invoke {
                deadline_ms: 1,
                request_id: "id".into(),
                arn: "arn".into(),
                trace_id: "Root=1".into(),
            },
            Subscribed::Shutdown => Notice::Shutdown {
                reason: "spindown",
                deadline_ms: 2,
            },
        })
    }

    fn id(registry: &Registry, name: &str) -> Uuid {
        registry.all.iter().find(|e| e.name == name).unwrap().id
    }

    fn names(events: &[&str]) -> Vec<String> {
        events.iter().map(|event| (*event).to_owned()).collect()
    }

    fn apply(registry: &mut Registry, step: Do) -> Result<(), Refused> {
        let now = Instant::now();
        let id = id(registry, NAME);
        match step {
            Do::Register => registry
                .register(NAME, &names(&["INVOKE", "SHUTDOWN"]), now)
                .map(drop),
            Do::Next => registry.next(id, now).map(drop),
            Do::Invoke => {
                registry.release(&notice(Subscribed::Invoke), Subscribed::Invoke);
                Ok(())
            }
            Do::Shutdown => {
                registry.release(&notice(Subscribed::Shutdown), Subscribed::Shutdown);
                Ok(())
            }
            Do::InitError => registry.report(Report::Init, id, "a.b").map(drop),
            Do::ExitError => registry.report(Report::Exit, id, "c.d").map(drop),
            Do::Exit(code) => {
                registry.all[0].ended(exit_code(code), true);
                Ok(())
            }
        }
    }

    fn at(path: &[Do]) -> Registry {
        let mut registry = Registry::new(false);
        registry.expect(NAME).unwrap();
        for step in path {
            apply(&mut registry, *step).unwrap();
        }
        registry
    }

    /// Every state by every request: the state after it, or a refusal.
    #[test]
    fn every_transition_is_as_the_table_says() {
        use Do::{Exit, ExitError, InitError, Invoke, Next, Register, Shutdown};
        use ExtensionState as S;
        type Row<'a> = (&'a [Do], S, [Option<S>; 4]);
        const REQUESTS: [Do; 4] = [Register, Next, InitError, ExitError];
        let no = None;
        let (ready, init_error, exit_error) =
            (Some(S::Ready), Some(S::InitError), Some(S::ExitError));
        let table: [Row<'_>; 11] = [
            (&[], S::Started, [Some(S::Registered), no, no, no]),
            (
                &[Register],
                S::Registered,
                [no, ready, init_error, exit_error],
            ),
            (&[Register, Next], S::Ready, [no, no, no, exit_error]),
            (
                &[Register, Next, Invoke],
                S::Running,
                [no, ready, no, exit_error],
            ),
            (
                &[Register, Next, Invoke, Next],
                S::Ready,
                [no, no, no, exit_error],
            ),
            (
                &[Register, InitError],
                S::InitError,
                [no, no, init_error, no],
            ),
            (
                &[Register, ExitError],
                S::ExitError,
                [no, no, no, exit_error],
            ),
            (
                &[Register, Next, Shutdown],
                S::Running,
                [no, ready, no, exit_error],
            ),
            (
                &[Register, Next, Shutdown, Exit(0)],
                S::Exited,
                [no, no, no, no],
            ),
            (
                &[Register, Next, Shutdown, Exit(1)],
                S::ShutdownFailed,
                [no, no, no, no],
            ),
            // It asked again instead of exiting.
            (
                &[Register, Next, Shutdown, Next, Exit(0)],
                S::Ready,
                [no, no, no, exit_error],
            ),
        ];
        for (path, state, expected) in table {
            assert_eq!(at(path).all[0].state, state, "{path:?}");
            for (request, expected) in REQUESTS.into_iter().zip(expected) {
                let mut registry = at(path);
                let got = apply(&mut registry, request);
                let got = got.map(|()| registry.all[0].state).map_err(|refused| {
                    assert_eq!(registry.all[0].state, state, "{path:?} then {request:?}");
                    refused.error_type
                });
                let expected = expected.ok_or("Extension.InvalidExtensionState");
                assert_eq!(got, expected, "{path:?} then {request:?}");
            }
        }
    }

    #[test]
    fn a_registration_is_checked() {
        let table: [(&str, &[&str], Option<&str>, &str); 7] = [
            (NAME, &["INVOKE", "SHUTDOWN", "INVOKE"], None, ""),
            (NAME, &[], None, ""),
            (
                NAME,
                &["invoke"],
                Some("Extension.InvalidEventType"),
                "invoke: ErrorInvalidEventType",
            ),
            ("other", &["INVOKE"], None, ""),
            (
                "other",
                &["INVOKE", "SHUTDOWN"],
                Some("Extension.InvalidEventType"),
                "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension",
            ),
            ("other", &[], None, ""),
            (
                "other",
                &["X"],
                Some("Extension.InvalidEventType"),
                "X: ErrorInvalidEventType",
            ),
        ];
        for (name, events, error_type, message) in table {
            let mut registry = at(&[]);
            let got = registry.register(name, &names(events), Instant::now());
            let got = got.map(|extension| extension.external);
            match error_type {
                None => assert_eq!(got, Ok(name == NAME), "{name} {events:?}"),
                Some(error_type) => {
                    let message = message.to_owned();
                    let refused = Refused {
                        error_type,
                        message,
                    };
                    assert_eq!(got, Err(refused), "{name} {events:?}");
                    // Nothing is left of it.
                    assert_eq!(registry.all.len(), 1);
                    assert_eq!(registry.all[0].state, ExtensionState::Started);
                }
            }
        }
    }

    #[test]
    fn managed_instances_refuse_invoke() {
        let mut registry = Registry::new(true);
        registry.expect(NAME).unwrap();
        let now = Instant::now();
        let refused = registry.register(NAME, &names(&["SHUTDOWN", "INVOKE"]), now);
        assert_eq!(
            refused.unwrap_err().error_type,
            "Extension.InvalidEventType"
        );
        registry.register(NAME, &names(&["SHUTDOWN"]), now).unwrap();
        assert!(registry.emptied().without_invoke);
    }

    #[test]
    fn internal_extensions_may_register_until_the_runtime_is_ready() {
        let now = Instant::now();
        let mut registry = at(&[Do::Register]);
        registry.register("one", &[], now).unwrap();
        let again = registry.register("one", &[], now).unwrap_err();
        assert_eq!(again.message, "Extension with this name already registered");
        registry.runtime_is_ready();
        let late = registry.register("two", &[], now).unwrap_err();
        assert_eq!(late.error_type, "Extension.RegistrationClosed");
        // An external one is known by its name and told of its state.
        let known = registry.register(NAME, &[], now).unwrap_err();
        assert_eq!(known.error_type, "Extension.InvalidExtensionState");
        assert_eq!(
            known.message,
            "State transition from Registered to Registered failed for extension ext. \
             Error: State transition is not allowed"
        );
    }

    #[test]
    fn a_runtime_that_is_early_does_not_close_registration() {
        let now = Instant::now();
        let mut registry = at(&[]);
        registry.runtime_is_ready();
        assert!(!registry.is_closed());
        registry.register("one", &[], now).unwrap();
        registry.register(NAME, &[], now).unwrap();
        assert!(registry.is_closed());
    }

    #[test]
    fn there_are_ten_extensions_at_most() {
        let now = Instant::now();
        let mut registry = Registry::new(false);
        for n in 0..9 {
            registry.expect(&format!("external{n}")).unwrap();
        }
        registry.register("internal", &[], now).unwrap();
        let eleventh = registry.register("another", &[], now).unwrap_err();
        assert_eq!(
            (eleventh.error_type, eleventh.message.as_str()),
            (
                "Extension.TooManyExtensions",
                "Extension limit (10) reached"
            )
        );
        assert_eq!(registry.expect("external10"), Err("ErrTooManyExtensions"));
        let last = registry.all.last().unwrap();
        assert_eq!(last.state, ExtensionState::LaunchError);
        assert_eq!(registry.expect("external0"), Err("ErrAgentNameCollision"));
    }

    #[test]
    fn an_event_reaches_the_next_that_waits_or_the_one_that_comes() {
        let mut registry = at(&[Do::Register]);
        let id = id(&registry, NAME);
        let (name, mut waits) = registry.next(id, Instant::now()).unwrap();
        assert_eq!(name, NAME);
        assert!(waits.try_recv().is_err());
        registry.release(&notice(Subscribed::Invoke), Subscribed::Invoke);
        assert_eq!(waits.try_recv().unwrap(), notice(Subscribed::Invoke));
        // Busy with the invocation when the shutdown comes.
        registry.release(&notice(Subscribed::Shutdown), Subscribed::Shutdown);
        assert_eq!(registry.all[0].state, ExtensionState::Running);
        let (_, mut comes) = registry.next(id, Instant::now()).unwrap();
        assert_eq!(comes.try_recv().unwrap(), notice(Subscribed::Shutdown));
        assert_eq!(registry.all[0].state, ExtensionState::Running);
    }

    #[test]
    fn an_event_for_a_broken_connection_is_lost() {
        let mut registry = at(&[Do::Register]);
        let id = id(&registry, NAME);
        drop(registry.next(id, Instant::now()).unwrap());
        assert!(registry.next(id, Instant::now()).is_err());
        registry.release(&notice(Subscribed::Invoke), Subscribed::Invoke);
        let (_, mut again) = registry.next(id, Instant::now()).unwrap();
        assert!(again.try_recv().is_err());
        assert!(registry.ready(|_| true).is_ok(), "it counts as done");
    }

    #[test]
    fn only_those_who_are_waited_for_hold_an_invocation_up() {
        let mut registry = at(&[Do::Register]);
        registry.register("internal", &[], Instant::now()).unwrap();
        let (ext, internal) = (id(&registry, NAME), id(&registry, "internal"));
        assert!(registry.ready(|_| true).is_err());
        registry.next(ext, Instant::now()).unwrap().0.clear();
        let takes = |e: &Extension| e.takes(Subscribed::Invoke);
        assert!(registry.ready(takes).unwrap().is_some());
        assert!(registry.ready(|_| true).is_err());
        let later = Instant::now();
        registry.next(internal, later).unwrap().0.clear();
        assert_eq!(registry.ready(|_| true), Ok(Some(later)));
        registry.release(&notice(Subscribed::Invoke), Subscribed::Invoke);
        assert!(registry.ready(takes).is_err());
        assert_eq!(Registry::new(false).ready(|_| true), Ok(None));
    }

    #[test]
    fn the_first_report_names_the_crash() {
        let mut registry = at(&[Do::Register]);
        assert_eq!(registry.crash(), None);
        registry.all[0].ended(exit_code(0), false);
        let crash = Some(("Extension.Crash".to_owned(), "exit code 0".to_owned()));
        assert_eq!(registry.crash(), crash);
        assert_eq!(registry.all[0].state, ExtensionState::Registered);

        let mut registry = at(&[Do::Register, Do::InitError, Do::InitError]);
        registry.all[0].ended(exit_code(3), false);
        let error = ("Extension.InitError".to_owned(), "exit status 3".to_owned());
        assert_eq!(registry.crash(), Some(error));
        assert_eq!(registry.all[0].error_type.as_deref(), Some("a.b"));
    }

    #[test]
    fn nobody_is_known_by_another_identifier() {
        let mut registry = at(&[Do::Register]);
        let other = Uuid::new_v4();
        let refused = registry.next(other, Instant::now()).unwrap_err();
        assert_eq!(refused.message, format!("Unknown extension {other}"));
        for refused in [
            registry.report(Report::Init, other, "a.b").unwrap_err(),
            registry.name_of(other).unwrap_err(),
        ] {
            assert_eq!(
                (refused.error_type, refused.message.as_str()),
                (
                    "Extension.UnknownExtensionIdentifier",
                    "Unknown Lambda-Extension-Identifier"
                )
            );
        }
    }

    #[test]
    fn events_have_the_members_of_the_reference() {
        assert_eq!(
            notice(Subscribed::Invoke).json().to_string(),
            concat!(
                r#"{"deadlineMs":1,"eventType":"INVOKE","invokedFunctionArn":"arn","#,
                r#""requestId":"id","tracing":{"type":"X-Amzn-Trace-Id","value":"Root=1"}}"#
            )
        );
        assert_eq!(
            notice(Subscribed::Shutdown).json().to_string(),
            r#"{"deadlineMs":2,"eventType":"SHUTDOWN","shutdownReason":"spindown"}"#
        );
    }
}
