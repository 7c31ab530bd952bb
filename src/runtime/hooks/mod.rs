//! What a function asks to be run beside its handler: before the environment ends, before a
//! snapshot is taken of it, and after it was restored from one.
//!
//! Each is an init step around another. It does its part in the init phase and hands on the
//! handler, so the loop knows nothing of it, and a function without it has none of its code.

mod shutdown;
mod snapshot;

pub use self::shutdown::{OnShutdown, on_shutdown};
pub use self::snapshot::{SnapStart, snap_start};

pub(super) use self::snapshot::{Part, part, restore_failed, wait_for_restore};

pub(super) use self::shutdown::{before_end, register, register_as};
