//! A log that is larger than the memory.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

/// The address space of the command, of which its code and its stack are a part.
const MEMORY_KIB: usize = 32 * 1024;
const LOG_BYTES: usize = 40 * 1024 * 1024;

#[test]
fn a_log_is_read_in_less_memory_than_it_has_bytes() {
    let limited = format!("ulimit -v {MEMORY_KIB}; exec \"$0\" -");
    let mut child = Command::new("sh")
        .args(["-c", &limited, env!("CARGO_BIN_EXE_bantam-report")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = child.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        let start = |id: u32| {
            format!(
                "2026-03-04T19:03:58.000Z START RequestId: 00000000-0000-4000-8000-{id:012} Version: 1\n\
                 2026-03-04T19:03:58.100Z REPORT RequestId: 00000000-0000-4000-8000-{id:012}\t\
                 Duration: 12.50 ms\tBilled Duration: 113 ms\tMemory Size: 128 MB\t\
                 Max Memory Used: 40 MB\tInit Duration: 100.25 ms\t\n"
            )
        };
        let line = "2026-03-04T19:03:58.050Z 00000000-0000-4000-8000-000000000001 INFO tea, sent\n";
        let piece = line.repeat(1_000);
        log.write_all(start(1).as_bytes())?;
        for _ in 0..LOG_BYTES / piece.len() {
            log.write_all(piece.as_bytes())?;
        }
        log.write_all(start(2).as_bytes())
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("2 invocations, 2 starts"), "{text}");
}
