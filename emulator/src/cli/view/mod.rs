//! `--view`: the live view of the environments in a terminal.
//!
//! `model` is fed by what the emulator records, `draw` makes a picture of it. Here are the
//! terminal, the keys and the threads that wait for each of them, and the one line that is printed
//! of it where there is no view.

mod draw;
mod model;

use std::io;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bantam_emulator::interrupt::Interrupt;
use bantam_emulator::{Emulator, Seen, What};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use self::model::{Model, OTHERS_BUSY};
use super::print_error;

/// What the view waits for.
#[derive(Debug)]
pub(crate) enum Input {
    Seen(Seen),
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    /// A line of this command.
    Note(String),
    /// New files are started from now on; what to say about it.
    Reloaded(String),
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Invoke,
    Freeze,
    Kill,
    Restore,
    Start,
    Retire,
    Next,
    Previous,
    Quit,
}

/// Shows the emulator until somebody quits. Others may send lines through the second end of the
/// channel.
///
/// # Errors
///
/// The terminal cannot be used.
pub(crate) fn show(
    emulator: &Arc<Emulator>,
    title: String,
    event: &[u8],
    interrupt: &Interrupt,
    (sender, inputs): (SyncSender<Input>, Receiver<Input>),
) -> io::Result<()> {
    let seen = emulator.watch();
    let forward = sender.clone();
    drop(thread::Builder::new().name("seen".into()).spawn(move || {
        for seen in seen {
            if forward.send(Input::Seen(seen)).is_err() {
                return;
            }
        }
    })?);
    // The drop of a terminal that is gone prints to standard error, and panics if that is gone too.
    let mut terminal = ManuallyDrop::new(ratatui::try_init()?);
    let keys = sender.clone();
    let reader = thread::Builder::new().name("keys".into());
    if let Err(error) = reader.spawn(move || read_keys(&keys)) {
        ratatui::restore();
        return Err(error);
    }
    let begin = Instant::now();
    let mut model = Model::new(title);
    // A terminal that takes no picture is gone, as after a SIGHUP: that ends it as a key does.
    while terminal.draw(|frame| draw::draw(&model, frame)).is_ok() {
        let first = match inputs.recv_timeout(TICK) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            // This function has a sender.
            Err(RecvTimeoutError::Disconnected) => break,
        };
        // All that wait before the next picture: a function may write faster than a terminal shows.
        let waiting = first.into_iter().chain(inputs.try_iter().take(INPUTS_MAX));
        let mut quits = interrupt.requested();
        for input in waiting {
            match input {
                Input::Seen(seen) => model.see(&seen),
                Input::Note(text) => model.note(&text),
                Input::Reloaded(text) => {
                    model.note(&text);
                    model.reload();
                }
                Input::Resized => {}
                Input::Key(key) => match action(key) {
                    Some(Action::Quit) => quits = true,
                    Some(action) => act(action, emulator, &mut model, event, &sender),
                    None => {}
                },
            }
        }
        model.now = model.now.max(begin.elapsed());
        if quits {
            break;
        }
    }
    let _gone = terminal.show_cursor().and_then(|()| ratatui::try_restore());
    Ok(())
}

/// Without a view: says in a line when an environment is started because the others are busy. The
/// log shows one more start then, and not why.
///
/// # Errors
///
/// There is no thread for it.
pub(crate) fn say_starts(emulator: &Emulator) -> io::Result<()> {
    let seen = emulator.watch();
    let say = move || {
        let mut model = Model::new(String::new());
        for seen in seen {
            let Seen::Entry(entry) = &seen else {
                continue;
            };
            model.see(&seen);
            let env = model.environments.get(&entry.environment);
            let start = env.and_then(|env| env.start.as_ref());
            let busy = start.is_some_and(|start| start.cause == OTHERS_BUSY);
            if entry.what == What::InitStart && busy {
                let id = entry.environment;
                print_error(format_args!(
                    "environment {id} is started: the others are busy"
                ));
            }
        }
    };
    let starts = thread::Builder::new().name("starts".into());
    starts.spawn(say).map(drop)
}

fn read_keys(keys: &SyncSender<Input>) {
    // An error means that the terminal is gone, and with it the reason to read on.
    while let Ok(event) = event::read() {
        let input = match event {
            Event::Key(key) if key.kind == KeyEventKind::Press => Input::Key(key),
            Event::Resize(..) => Input::Resized,
            Event::Key(_)
            | Event::FocusGained
            | Event::FocusLost
            | Event::Mouse(_)
            | Event::Paste(_) => continue,
        };
        if keys.send(input).is_err() {
            return;
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a keyboard has more keys than these"
)]
fn action(key: KeyEvent) -> Option<Action> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        // In raw mode the terminal sends no signal for it.
        KeyCode::Char('c') if control => Action::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Action::Quit,
        KeyCode::Char('i') => Action::Invoke,
        KeyCode::Char('f') => Action::Freeze,
        KeyCode::Char('k') => Action::Kill,
        KeyCode::Char('r') => Action::Restore,
        KeyCode::Char('+' | '=') => Action::Start,
        KeyCode::Char('-') => Action::Retire,
        KeyCode::Down => Action::Next,
        KeyCode::Up => Action::Previous,
        _ => return None,
    })
}

/// Does what a key asks for, on a thread of its own where that may take a while. What fails becomes
/// a line.
fn act(
    action: Action,
    emulator: &Arc<Emulator>,
    model: &mut Model,
    event: &[u8],
    sender: &SyncSender<Input>,
) {
    let selected = model.selected;
    let frozen = selected.and_then(|id| model.environments.get(&id).map(|env| env.is_frozen()));
    match action {
        Action::Next => return model.select(true),
        Action::Previous => return model.select(false),
        Action::Start => model.ask_for_start(),
        Action::Quit
        | Action::Invoke
        | Action::Freeze
        | Action::Kill
        | Action::Restore
        | Action::Retire => {}
    }
    let (emulator, event, notes) = (Arc::clone(emulator), event.to_vec(), sender.clone());
    let run = move || {
        let on_selected = |act: &dyn Fn(u64) -> Result<(), bantam_emulator::Error>| match selected {
            Some(id) => act(id).map(|()| None),
            None => Ok(Some("there is no environment".to_owned())),
        };
        let result = match action {
            Action::Invoke => emulator.invoke(event).map(|outcome| {
                let body = String::from_utf8_lossy(&outcome.body).into_owned();
                Some(format!("response: {body}"))
            }),
            Action::Start => emulator.prepare().map(|_| None),
            Action::Freeze => on_selected(&|id| emulator.set_frozen(id, frozen != Some(true))),
            Action::Kill => on_selected(&|id| emulator.crash(id)),
            Action::Restore => on_selected(&|id| emulator.restore(id).map(drop)),
            Action::Retire => on_selected(&|id| emulator.retire(id)),
            Action::Next | Action::Previous | Action::Quit => Ok(None),
        };
        let note = result.unwrap_or_else(|error| Some(error.to_string()));
        if let Some(note) = note {
            // The view may be gone before what it asked for is done.
            let _unseen = notes.send(Input::Note(note));
        }
    };
    if let Err(error) = thread::Builder::new().name("act".into()).spawn(run) {
        model.note(&format!("cannot do it: {error}"));
    }
}

/// The channel of a view. Who sends waits where it is full: a view that is slower than the emulator
/// holds it back.
pub(crate) fn inputs() -> (SyncSender<Input>, Receiver<Input>) {
    sync_channel(INPUTS_MAX)
}

/// A picture at least so often: the durations in it grow.
const TICK: Duration = Duration::from_millis(100);
/// Between two pictures, and in the channel.
const INPUTS_MAX: usize = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_the_last_row_says() {
        let table = [
            (KeyCode::Char('i'), Some(Action::Invoke)),
            (KeyCode::Char('f'), Some(Action::Freeze)),
            (KeyCode::Char('k'), Some(Action::Kill)),
            (KeyCode::Char('r'), Some(Action::Restore)),
            (KeyCode::Char('+'), Some(Action::Start)),
            (KeyCode::Char('-'), Some(Action::Retire)),
            (KeyCode::Char('q'), Some(Action::Quit)),
            (KeyCode::Down, Some(Action::Next)),
            (KeyCode::Up, Some(Action::Previous)),
            (KeyCode::Char('c'), None),
            (KeyCode::Tab, None),
        ];
        for (code, expected) in table {
            assert_eq!(
                action(KeyEvent::new(code, KeyModifiers::NONE)),
                expected,
                "{code:?}"
            );
        }
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(action(interrupt), Some(Action::Quit));
    }
}
