//! In the place of `workers` in a build without it: the process serves every invocation.

use self::seat::Seat;
use super::handler::Beside;
use crate::shared::env::Env;

/// The part that this process plays.
#[derive(Debug)]
#[expect(dead_code, reason = "a process without workers plays one part")]
pub(super) enum Part {
    Alone,
    Worker(Seat),
    Supervisor(u8),
}

pub(super) fn take_part(_: &Env, _: bool, _: impl FnOnce() -> Beside) -> Part {
    Part::Alone
}

pub(super) mod seat {
    use std::process::ExitStatus;

    use crate::runtime::api::Ids;
    use crate::runtime::error::Error;

    /// The HTTP server that workers use.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[expect(dead_code, reason = "there are no workers")]
    pub(in crate::runtime) enum Server {
        Starting,
        Ready(u64),
        Ended,
        Failed(u32),
    }

    /// The place of a worker. There are no workers.
    #[derive(Clone, Copy, Debug)]
    pub(in crate::runtime) enum Seat {}

    impl Seat {
        pub(in crate::runtime) const fn is_keeper(self) -> bool {
            match self {}
        }

        pub(in crate::runtime) const fn server_is_ready(self) {
            match self {}
        }

        pub(in crate::runtime) const fn server_has_ended(self, _: ExitStatus, _: &str) {
            match self {}
        }

        pub(in crate::runtime) const fn server_log(self) -> String {
            match self {}
        }

        pub(in crate::runtime) const fn server(self) -> Server {
            match self {}
        }

        pub(in crate::runtime) const fn has_polled(self) -> bool {
            match self {}
        }

        pub(in crate::runtime) const fn server_status(self) -> ExitStatus {
            match self {}
        }

        pub(in crate::runtime) const fn polls(self) -> bool {
            match self {}
        }

        pub(in crate::runtime) const fn invokes(self, _: Ids<'_>, _: Option<u64>) {
            match self {}
        }

        pub(in crate::runtime) const fn answers(self) -> bool {
            match self {}
        }

        pub(in crate::runtime) const fn answered(self) {
            match self {}
        }

        pub(in crate::runtime) const fn reports_init_error(self, _: &Error) -> bool {
            match self {}
        }

        pub(in crate::runtime) const fn starts_again(self) {
            match self {}
        }
    }
}
