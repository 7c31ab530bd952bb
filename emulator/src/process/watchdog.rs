//! The end of this process, whatever it dies of, ends the sessions it started.
//!
//! A runtime is in a session of its own and may be frozen: nothing else would end it when this
//! process is killed. A shell that outlives this process reads a pipe from it: which sessions
//! there are, and, by the end of the pipe, that this process is gone. A parent-death signal
//! (prctl(2)) would reach only the leader of each session, and only from a `fork`, whose time
//! depends on the size of this process.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use crate::lock::lock;

/// The shell: one for all emulators of this process.
static WATCHDOG: Mutex<Option<Child>> = Mutex::new(None);

/// Starts the watchdog, if that was not done before: not when a session begins, whose start may
/// be measured.
pub(crate) fn prepare() {
    let mut watchdog = lock(&WATCHDOG);
    if watchdog.is_none() {
        // Without a shell the sessions end as they would without a watchdog.
        *watchdog = start().ok();
    }
}

/// The session is to end with this process.
pub(crate) fn watch(session: i32) {
    tell(&mut lock(&WATCHDOG), '+', session);
}

/// No process of the session is left; its id may be given to another one.
pub(crate) fn forget(session: i32) {
    tell(&mut lock(&WATCHDOG), '-', session);
}

fn tell(watchdog: &mut Option<Child>, what: char, session: i32) {
    let stdin = watchdog.as_mut().and_then(|child| child.stdin.as_mut());
    if let Some(stdin) = stdin {
        // A watchdog that was killed watches no more; that is no reason to fail.
        let _gone = writeln!(stdin, "{what} {session}");
    }
}

fn start() -> std::io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", SCRIPT, "emulator-watchdog"])
        .stdin(Stdio::piped())
        // A reader of this process's output gets its end when this process ends.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        // A terminal's signals are for this process.
        .process_group(0)
        .spawn()
}

/// Reads the sessions until the end of its input, and kills what is left in them. Fields of
/// `/proc/PID/stat` behind the name: state, parent, group, session (proc(5)). A process may fork
/// while the others are killed, so it looks again until no process is left.
const SCRIPT: &str = r#"
set -f
sessions=' '
while read -r what id; do
  case $what in
    +) sessions="$sessions$id " ;;
    -) case $sessions in *" $id "*) sessions="${sessions%%" $id "*} ${sessions#*" $id "}" ;; esac ;;
  esac
done
[ "$sessions" = ' ' ] && exit
set +f
for round in 1 2 3 4 5 6 7 8 9 10; do
  left=
  for stat in /proc/[0-9]*/stat; do
    read -r line < "$stat" || continue
    set -- ${line##*) }
    case $sessions in *" $4 "*) ;; *) continue ;; esac
    [ "$1" = Z ] && continue
    pid=${stat#/proc/}
    kill -9 "${pid%/stat}" && left=yes
  done
  [ -z "$left" ] && exit
done
"#;
