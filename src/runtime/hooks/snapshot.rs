//! SnapStart: hooks before the snapshot of the environment is taken, and after it is restored.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-custom.html>

use std::{fmt, mem};

use crate::runtime::api::{self, Post};
use crate::runtime::client::{call, describe, post_once};
use crate::runtime::error::Error;
use crate::runtime::handler::{Beside, Init};
use crate::runtime::{current, log, zone};
use crate::shared::endpoint::Endpoint;
use crate::shared::env::{Env, INIT_TYPE};
use crate::shared::log_record::Level;
use crate::shared::os::{self, reexec};

/// Takes part in SnapStart: the snapshot is taken after the initialisation, and hooks may run
/// before and after it.
///
/// Where SnapStart is not on this does nothing. Where it is, a container image needs this or the
/// label `com.amazonaws.lambda.feature.snapstart="Allow"`, without which no version can be
/// published.
///
/// What differs between environments has to be made after the restore: connections, random seeds,
/// credentials, the time. The runtime itself keeps none of these.
///
/// ```no_run
/// # fn order(_: &[u8], _: &bantam::Context<'_>) -> Result<Vec<u8>, bantam::Error> { Ok(vec![]) }
/// # fn close() -> Result<(), std::io::Error> { Ok(()) }
/// # fn connect() -> Result<(), std::io::Error> { Ok(()) }
/// fn main() {
///     let hooks = bantam::snap_start(bantam::raw!(order)).before(close).after(connect);
///     bantam::main(hooks)
/// }
/// ```
#[must_use = "hand it to `bantam::main`"]
pub fn snap_start<I: Init>(init: I) -> SnapStart<I> {
    SnapStart {
        init,
        before: Vec::new(),
        after: Vec::new(),
    }
}

/// An init step that takes part in SnapStart; [`snap_start`] makes it.
#[must_use = "hand it to `bantam::main`"]
pub struct SnapStart<I> {
    init: I,
    before: Vec<Hook>,
    after: Vec<Hook>,
}

type Hook = Box<dyn FnOnce() -> Result<(), Error>>;

impl<I: Init> SnapStart<I> {
    /// Runs `hook` before the snapshot is taken, and before the hooks that were added before it. An
    /// error is an init error, and no version is published.
    pub fn before<E: Into<Error>>(
        mut self,
        hook: impl FnOnce() -> Result<(), E> + 'static,
    ) -> Self {
        self.before.push(Box::new(|| hook().map_err(Into::into)));
        self
    }

    /// Runs `hook` after the environment is restored, and after the hooks that were added before
    /// it; again where the program starts again after a panic. An error ends the environment, and
    /// the invocation that waits for it fails. All have ten seconds together, the restore included.
    pub fn after<E: Into<Error>>(mut self, hook: impl FnOnce() -> Result<(), E> + 'static) -> Self {
        self.after.push(Box::new(|| hook().map_err(Into::into)));
        self
    }
}

impl<I: Init> Init for SnapStart<I> {
    type Handler = I::Handler;

    fn init(self, env: &Env) -> Result<I::Handler, Error> {
        let part = part()?;
        let handler = self.init.init(env)?;
        match part {
            Part::None => {}
            Part::Whole => around_snapshot(&env.api, self.before, self.after)?,
            Part::Restored => {
                for hook in self.after {
                    hook()?;
                }
            }
        }
        Ok(handler)
    }

    fn beside_workers(&self, env: &Env) -> Beside {
        self.init.beside_workers(env)
    }
}

impl<I> fmt::Debug for SnapStart<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapStart").finish_non_exhaustive()
    }
}

/// The part that this process has in SnapStart.
pub(in crate::runtime) enum Part {
    /// SnapStart is not on.
    None,
    /// A snapshot is to be taken of it.
    Whole,
    /// It was restored, and started again after a panic. What the hooks after the restore made is
    /// lost with the program that made it.
    Restored,
}

/// The part in SnapStart, which one init step can have.
///
/// # Errors
///
/// That another step has it: the platform would refuse the second call for the restore, in each
/// environment and not before.
pub(in crate::runtime) fn part() -> Result<Part, Error> {
    let initialization = os::variable(INIT_TYPE);
    if initialization.is_none_or(|value| value != "snap-start") {
        return Ok(Part::None);
    }
    if mem::replace(&mut *lock_taken(), true) {
        return Err(Error::new("Runtime.SnapStart", TWICE));
    }
    Ok(if current::is_again() {
        Part::Restored
    } else {
        Part::Whole
    })
}

reexec::process_lock!(lock_taken: bool = false);

const TWICE: &str = "two init steps take part in SnapStart: snap_start is around another one, or \
    around executable, which takes part by itself";

fn around_snapshot(api: &Endpoint, before: Vec<Hook>, after: Vec<Hook>) -> Result<(), Error> {
    for hook in before.into_iter().rev() {
        hook()?;
    }
    wait_for_restore(api)?;
    for hook in after {
        if let Err(error) = hook() {
            restore_failed(api, &error);
        }
    }
    Ok(())
}

/// Lets the snapshot be taken, and returns in an environment that was restored from it.
pub(in crate::runtime) fn wait_for_restore(api: &Endpoint) -> Result<(), Error> {
    let mut head = Vec::new();
    api::write_restore_next(&mut head, api);
    // Without a timeout: nobody knows when the environment is restored.
    let reason = match call(api, &head, b"", None) {
        Ok(response) if matches!(response.status(), Some(200..=299)) => {
            zone::forget();
            current::restored();
            return Ok(());
        }
        Ok(response) => describe(WAITING, None, &response),
        Err(error) => format!("{WAITING}: {error}"),
    };
    Err(Error::new("Runtime.RestoreNext", reason))
}

/// Reports that the environment cannot be used, and ends the process.
pub(in crate::runtime) fn restore_failed(api: &Endpoint, error: &Error) -> ! {
    error.log(Level::Error, None);
    post_once(Post::restore_error(error), api, None);
    log::line(Level::Fatal, "a hook after the restore failed");
    os::exit(1)
}

const WAITING: &str = "waiting for the restore";
