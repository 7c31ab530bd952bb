//! The output of a process as a function of bytes that panics where a promise is broken.

use std::cell::RefCell;

use super::output::LineBuffer;

/// However it is split, the lines are the same, and nothing else is left at the end.
pub(crate) fn output(data: &[u8]) {
    let mut expected: Vec<_> = data
        .split(|byte| *byte == b'\n')
        .map(String::from_utf8_lossy)
        .collect();
    // The last one has no line end.
    expected.pop_if(|last| last.is_empty());
    for step in [1, 2 + data.len() % 7, data.len().max(1)] {
        let lines = RefCell::new(Vec::new());
        let push = |line: &str| lines.borrow_mut().push(line.to_owned());
        let mut buffer = LineBuffer::default();
        for part in data.chunks(step) {
            buffer.push(part, push);
        }
        buffer.finish(push);
        assert_eq!(*lines.borrow(), expected, "in steps of {step}");
    }
}
