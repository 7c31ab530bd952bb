//! The live view in a terminal: a pseudo-terminal, and a terminal emulator that reads it.

#![cfg(feature = "command")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read as _, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use vt100::Parser;

/// The command in a terminal of its own.
struct Terminal {
    child: Spawned,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
    screen: Parser,
}

impl Terminal {
    fn start(args: &[&str]) -> Self {
        let (child, master) = start_in_terminal(args);
        let mut reader = master.try_clone_reader().unwrap();
        let (send, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            // The end of the other side is an error on Linux.
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keyboard: master.take_writer().unwrap(),
            master,
            output,
            screen: Parser::new(cells(40), cells(120), 0),
        }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Waits until the screen passes a test.
    fn wait(&mut self, what: &str, test: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let text = self.screen.screen().contents();
            if test(&text) {
                return text;
            }
            assert!(Instant::now() < end, "{what} is not on the screen:\n{text}");
            match self.output.recv_timeout(Duration::from_millis(100)) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    assert!(
                        test(&self.screen.screen().contents()),
                        "{what} before the end"
                    );
                }
            }
        }
    }

    fn shows(&mut self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// The exit code; whatever is still written is read.
    fn end(mut self) -> u32 {
        let status = self.child.wait().unwrap();
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(500)) {
            self.screen.process(&bytes);
        }
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen(), "the terminal is as it was");
        assert!(!screen.hide_cursor());
        drop(self.master);
        status.exit_code()
    }
}

type Spawned = Box<dyn Child + Send + Sync>;

fn start_in_terminal(args: &[&str]) -> (Spawned, Box<dyn MasterPty + Send>) {
    let size = PtySize {
        rows: 40,
        cols: 120,
        pixel_width: 0,
        pixel_height: 0,
    };
    let pair = native_pty_system().openpty(size).unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_bantam-emulator"));
    command.args(["run", "--view", "--function"]);
    command.arg(echo());
    command.args(args);
    command.env("TERM", "xterm-256color");
    (pair.slave.spawn_command(command).unwrap(), pair.master)
}

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

fn echo() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_BIN_EXE_bantam-emulator"));
    folder.with_file_name("examples").join("echo")
}

#[test]
fn keys_act_on_a_real_function() {
    let mut terminal = Terminal::start(&["--name", "greeter"]);
    terminal.shows("greeter at http://127.0.0.1:");
    terminal.shows("0 environments");
    terminal.press("i");
    terminal.shows("1 invocation");
    terminal.shows("response: {}");
    terminal.shows("frozen");
    let screen = terminal.shows("1 start");
    assert!(screen.contains("first"), "{screen}");
    assert!(screen.contains("REPORT RequestId: "), "{screen}");
    // Continue its processes, and kill them.
    terminal.press("f");
    terminal.shows("idle");
    terminal.press("k");
    terminal.shows("exited");
    terminal.press("i");
    terminal.shows("2 invocations, 1 failed");
    terminal.shows("down");
    terminal.press("i");
    terminal.shows("after Runtime.ExitError");
    terminal.shows("3 invocations, 1 failed");
    terminal.press("r");
    terminal.shows("of a snapshot");
    terminal.press("+");
    terminal.shows("asked for");
    terminal.shows("2 environments");
    terminal.press("\u{1b}[B");
    terminal.wait("the second one selected", |screen| screen.contains("> 1 "));
    terminal.press("-");
    terminal.shows("1 environment ");
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn a_terminal_may_change_its_size_and_interrupt() {
    let mut terminal = Terminal::start(&[]);
    terminal.shows("q quit");
    let size = PtySize {
        rows: 12,
        cols: 50,
        pixel_width: 0,
        pixel_height: 0,
    };
    terminal.master.resize(size).unwrap();
    terminal.screen.screen_mut().set_size(cells(12), cells(50));
    // A key may come together with the signal.
    terminal.press("i");
    terminal.wait("the last row, cut", |screen| {
        screen.trim_end().ends_with("restore   +")
    });
    terminal.shows("1 invocation");
    terminal.press("\u{3}");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn a_terminal_that_is_closed_ends_it_as_a_key_does() {
    let (mut child, master) = start_in_terminal(&[]);
    let mut screen = Parser::new(cells(40), cells(120), 0);
    let mut reader = master.try_clone_reader().unwrap();
    while !screen.screen().contents().contains("0 environments") {
        let mut buffer = [0; 4_096];
        let count = reader.read(&mut buffer).unwrap();
        screen.process(&buffer[..count]);
    }
    // No side of it is left to this process: its output fails, and SIGHUP comes.
    drop((reader, master));
    let status = child.wait().unwrap();
    assert_eq!((status.exit_code(), status.signal()), (0, None));
}
