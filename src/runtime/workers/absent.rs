//! In the place of `workers` in a build without it: the process serves every invocation.

use self::seat::Seat;
use crate::shared::env::Env;

/// The part that this process plays.
#[derive(Debug)]
#[expect(dead_code, reason = "a process without workers plays one part")]
pub(super) enum Part {
    Alone,
    Worker(Seat),
    Supervisor(u8),
}

pub(super) const fn take_part(_: &Env) -> Part {
    Part::Alone
}

pub(super) mod seat {
    use crate::runtime::api::Ids;

    /// The place of a worker. There are no workers.
    #[derive(Clone, Copy, Debug)]
    pub(in crate::runtime) enum Seat {}

    impl Seat {
        pub(in crate::runtime) const fn index(self) -> usize {
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

        pub(in crate::runtime) const fn reports_init_error(self) -> bool {
            match self {}
        }

        pub(in crate::runtime) const fn starts_again(self) {
            match self {}
        }
    }
}
