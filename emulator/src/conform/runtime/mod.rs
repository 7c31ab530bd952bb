//! The rules of a runtime.

mod answer;
mod connection;
mod event;
mod modes;
mod stream;

use super::rule::Rule;

/// All of them, in the order of an invocation.
pub(super) fn rules() -> Vec<&'static Rule> {
    let tables = [
        event::RULES,
        answer::RULES,
        connection::RULES,
        stream::RULES,
        modes::RULES,
    ];
    tables.into_iter().flatten().collect()
}
