//! The other ends of what a process opens: an answer that it streams, the process of its handler,
//! and the connections to a handler that is a server.
//!
//! They are pipes and sockets of the kernel, so that code which reads, writes and closes them is
//! what ships; only time is not the kernel's. What an end does, it does when it is its time.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::mem;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::io::ioctl_fionbio;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::pipe::{PipeFlags, pipe_with};

use super::life::{Act, Fault, Goes, Init, Kind, Life};
use super::platform::{Platform, event_body, id, index_of, parts, status};
use super::{State, TOO_MUCH};

/// A handler that ends by itself writes this to its standard error.
pub(super) const LAST_WORDS: &str = "last words\n";

/// An answer that is streamed, at the API.
pub(super) struct Upload {
    socket: Option<UnixStream>,
    pub(super) faults: Vec<Fault>,
    opened_ms: u64,
    received: Vec<u8>,
    index: Option<usize>,
    reply: Vec<u8>,
    /// The API has answered.
    is_over: bool,
    /// It has taken the whole answer.
    pub(super) is_accepted: bool,
}

/// The process of a handler.
pub(super) struct Child {
    pub(super) id: i32,
    pub(super) kind: Kind,
    input: Option<File>,
    output: Option<File>,
    errors: File,
    /// Closed at the end.
    exit: Option<OwnedFd>,
    received: Vec<u8>,
    /// The invocation of a process that has only one.
    index: Option<usize>,
    script: Script,
    is_listening: bool,
    connections: Vec<Connection>,
    /// As `waitpid` says it.
    pub(super) status: Option<i32>,
    /// How many exchanges there had been when the runtime killed it.
    pub(super) killed_at: Option<usize>,
}

struct Connection {
    socket: UnixStream,
    received: Vec<u8>,
    script: Script,
    used_ms: u64,
}

/// What is still to be done, and when.
#[derive(Default)]
struct Script {
    deeds: VecDeque<(u64, Deed)>,
    /// Bytes that are written at once.
    step: usize,
}

enum Deed {
    Write(Vec<u8>),
    /// Takes connections.
    Listen,
    /// Closes the connection.
    Close,
    /// Ends the process, as `waitpid` says it.
    End(i32),
}

impl Upload {
    pub(super) fn new(socket: UnixStream, faults: Vec<Fault>, opened_ms: u64) -> Self {
        Self {
            socket: Some(socket),
            faults,
            opened_ms,
            received: Vec::new(),
            index: None,
            reply: Vec::new(),
            is_over: false,
            is_accepted: false,
        }
    }

    /// A fault of the process, which it meets when the API has taken the answer.
    pub(super) fn take_late_fault(&mut self) -> Option<Fault> {
        let is_late = |fault: &Fault| matches!(fault, Fault::PanicAfter | Fault::KillAfter);
        let at = self
            .faults
            .iter()
            .position(is_late)
            .filter(|_| self.is_accepted)?;
        Some(self.faults.remove(at))
    }

    /// When the API begins to read.
    fn due_ms(&self) -> u64 {
        let slow = self.faults.iter().find_map(|fault| match fault {
            Fault::Slow(ms) => Some(*ms),
            _ => None,
        });
        self.opened_ms + slow.unwrap_or(0)
    }

    /// True if something has happened.
    fn pump(&mut self, platform: &mut Platform) -> bool {
        if platform.passed_ms < self.due_ms() {
            return false;
        }
        let Some(socket) = &mut self.socket else {
            return false;
        };
        let cut = self.faults.iter().find_map(|fault| match fault {
            Fault::RequestCut(at) => Some(*at),
            _ => None,
        });
        let (had, mut is_closed) = (self.received.len(), read(socket, &mut self.received));
        let mut has_moved = is_closed || self.received.len() != had;
        if let Some(at) = cut.filter(|at| !self.is_over && *at <= self.received.len()) {
            self.received.truncate(at);
            (is_closed, has_moved) = (true, true);
        }
        if has_moved && !self.is_over {
            self.act(platform);
        }
        let reply = mem::take(&mut self.reply);
        if let (Some(socket), false) = (&mut self.socket, reply.is_empty()) {
            let cut = self.faults.iter().find_map(|fault| match fault {
                Fault::ResponseCut(at) => reply.get(..*at),
                _ => None,
            });
            is_closed |= socket.write_all(cut.unwrap_or(&reply)).is_err() || cut.is_some();
        }
        if is_closed {
            self.socket = None;
            if let (Some(index), false) = (self.index, self.is_over) {
                platform.cut(index);
            }
        }
        has_moved
    }

    /// Acts on what has come.
    fn act(&mut self, platform: &mut Platform) {
        if self.received.is_empty() {
            return;
        }
        for fault in &self.faults {
            let reply = match fault {
                Fault::Status(code) => status(*code),
                Fault::Garbage => "nonsense\r\n\r\n".to_owned(),
                _ => continue,
            };
            (self.reply, self.is_over) = (reply.into_bytes(), true);
            return;
        }
        let Some(end) = find(&self.received, b"\r\n\r\n") else {
            return;
        };
        let head = String::from_utf8(self.received[..end].to_vec()).unwrap();
        let (_, path) = head.split_once("/invocation/").unwrap();
        let (of, _) = path.split_once("/response ").unwrap();
        self.index = Some(index_of(of));
        // To look each time would take long.
        let may_be_whole = self.received.ends_with(b"\r\n\r\n");
        let whole = may_be_whole
            .then(|| message(&self.received[end + 4..]))
            .flatten();
        if whole.is_some() || !platform.is_running(index_of(of)) {
            let (body, trailers) = whole.unwrap_or_default();
            self.is_accepted = platform.is_running(index_of(of));
            let reply = platform.streamed(&head, of, body, &trailers);
            (self.reply, self.is_over) = (reply.into_bytes(), true);
        }
    }
}

/// The body and the trailers of a message in chunks, once it is complete.
fn message(mut rest: &[u8]) -> Option<(Vec<u8>, String)> {
    let mut body = Vec::new();
    loop {
        let end = find(rest, b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        rest = &rest[end + 2..];
        if size == 0 {
            let trailers = String::from_utf8(rest.to_vec()).unwrap();
            let is_whole = trailers == "\r\n" || trailers.ends_with("\r\n\r\n");
            return is_whole.then_some((body, trailers));
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

impl Script {
    fn add(&mut self, at_ms: u64, deed: Deed) {
        self.deeds.push_back((at_ms, deed));
    }

    /// Writes what it is time for, and returns what else is to be done. The first is true if
    /// something was written.
    fn go_on(&mut self, now_ms: u64, into: Option<&mut dyn Write>) -> (bool, Option<Deed>) {
        let is_due = |(at_ms, _): &&mut (u64, Deed)| *at_ms <= now_ms;
        let Some((_, deed)) = self.deeds.front_mut().filter(is_due) else {
            return (false, None);
        };
        let (Deed::Write(bytes), Some(into)) = (deed, into) else {
            let (_, deed) = self.deeds.pop_front().unwrap();
            return (true, Some(deed));
        };
        // A large one in small parts would take long.
        let step = if 2_000 < bytes.len() {
            bytes.len()
        } else {
            self.step.min(bytes.len())
        };
        match into.write(&bytes[..step]) {
            Ok(count) if count < bytes.len() => drop(bytes.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (false, None),
            // All is written, or nobody reads it.
            Ok(_) | Err(_) => drop(self.deeds.pop_front()),
        }
        (true, None)
    }

    fn due_ms(&self) -> Option<u64> {
        self.deeds.front().map(|(at_ms, _)| *at_ms)
    }
}

impl Child {
    /// Starts a process for the invocation with this id, if it has only one; the other ends of its
    /// pipes.
    pub(super) fn start(
        id: i32,
        of: Option<&str>,
        platform: &mut Platform,
        step: usize,
    ) -> (Self, [OwnedFd; 4]) {
        let [input, output, errors, exit] =
            [(); 4].map(|()| pipe_with(PipeFlags::CLOEXEC).unwrap());
        for end in [&input.0, &output.1, &errors.1] {
            ioctl_fionbio(end, true).unwrap();
        }
        let life = &mut platform.life;
        let mut script = Script {
            step,
            ..Script::default()
        };
        let ready_ms = platform.passed_ms + life.start_ms;
        let fails = life.kind != Kind::OneShot && !life.failed_inits.is_empty();
        match (fails.then(|| life.failed_inits.remove(0)), life.kind) {
            (Some(Init::Fails), _) => script.add(ready_ms, Deed::End(1 << 8)),
            (Some(Init::Panics), _) => script.add(ready_ms, Deed::End(101 << 8)),
            (Some(Init::Exits), _) => script.add(ready_ms, Deed::End(9)),
            (None, Kind::Server) => script.add(ready_ms, Deed::Listen),
            (None, Kind::Persistent) => {
                script.add(ready_ms, Deed::Write(b"{\"ready\":true}\n".to_vec()));
            }
            (None, Kind::OneShot | Kind::Function) => {}
        }
        let child = Self {
            id,
            kind: life.kind,
            input: Some(input.0.into()),
            output: Some(output.1.into()),
            errors: errors.1.into(),
            exit: Some(exit.1),
            received: Vec::new(),
            index: of.map(index_of),
            script,
            is_listening: false,
            connections: Vec::new(),
            status: None,
            killed_at: None,
        };
        (child, [input.1, output.0, errors.0, exit.0])
    }

    /// Takes a connection, if the process listens.
    pub(super) fn accept(&mut self, now_ms: u64) -> Option<OwnedFd> {
        if !self.is_listening || self.status.is_some() {
            return None;
        }
        let (near, socket) = sockets();
        let step = self.script.step;
        self.connections.push(Connection {
            socket,
            received: Vec::new(),
            script: Script {
                step,
                ..Script::default()
            },
            used_ms: now_ms,
        });
        Some(near)
    }

    pub(super) fn end(&mut self, status: i32) {
        if self.status.is_none() {
            self.status = Some(status);
            (self.input, self.output, self.exit) = (None, None, None);
            self.connections.clear();
        }
    }

    /// True if something has happened.
    fn pump(&mut self, platform: &mut Platform) -> bool {
        if self.status.is_some() {
            return false;
        }
        let now_ms = platform.passed_ms;
        let mut has_moved = false;
        if let Some(input) = &mut self.input {
            let had = self.received.len();
            let is_closed = read(input, &mut self.received);
            has_moved = is_closed || had != self.received.len();
            if is_closed {
                self.input = None;
                if self.kind == Kind::OneShot {
                    let event = mem::take(&mut self.received);
                    begin(platform, self.index, &event, &mut self.script);
                }
            }
            while let Some(end) = find(&self.received, b"\n").filter(|_| self.has_lines()) {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                let line = String::from_utf8(line).unwrap();
                let (_, event) = line.split_once(",\"event\":").unwrap();
                let event = event.strip_suffix("}\n").unwrap();
                begin(platform, None, event.as_bytes(), &mut self.script);
            }
        }
        loop {
            let into = self
                .output
                .as_mut()
                .map(|output| -> &mut dyn Write { output });
            let (moved, deed) = self.script.go_on(now_ms, into);
            has_moved |= moved;
            match deed {
                None => break,
                Some(Deed::Listen) => self.is_listening = true,
                Some(Deed::End(status)) => {
                    self.errors.write_all(LAST_WORDS.as_bytes()).ok();
                    self.end(status);
                    return true;
                }
                Some(Deed::Close | Deed::Write(_)) => {}
            }
        }
        let mut connections = mem::take(&mut self.connections);
        let mut end = None;
        connections.retain_mut(|connection| {
            let (moved, is_open) = connection.pump(platform, &mut end);
            has_moved |= moved || !is_open;
            is_open
        });
        self.connections = connections;
        if let Some(status) = end {
            self.end(status);
        }
        has_moved
    }

    fn has_lines(&self) -> bool {
        self.kind == Kind::Persistent
    }

    fn due_ms(&self) -> impl Iterator<Item = u64> {
        let scripts = self.connections.iter().map(|connection| &connection.script);
        scripts.chain([&self.script]).filter_map(Script::due_ms)
    }
}

impl Connection {
    /// Whether something has happened, and whether it is still open. It may end the process.
    fn pump(&mut self, platform: &mut Platform, end: &mut Option<i32>) -> (bool, bool) {
        let had = self.received.len();
        let is_closed = read(&mut self.socket, &mut self.received);
        let mut has_moved = had != self.received.len();
        let now_ms = platform.passed_ms;
        if let Some(body_at) = find(&self.received, b"\r\n\r\n").map(|end| end + 4) {
            let head = String::from_utf8(self.received[..body_at].to_vec()).unwrap();
            let lower = head.to_ascii_lowercase();
            let length = lower.split_once("content-length: ").map_or(0, |(_, rest)| {
                let (length, _) = rest.split_once('\r').unwrap();
                length.parse().unwrap()
            });
            if body_at + length <= self.received.len() {
                let request: Vec<u8> = self.received.drain(..body_at + length).collect();
                if head.starts_with("GET / ") {
                    self.script.add(now_ms, Deed::Write(response("200", b"ok")));
                } else {
                    assert!(head.starts_with("POST /events "), "{head}");
                    begin(platform, None, &request[body_at..], &mut self.script);
                }
                has_moved = true;
            }
        }
        loop {
            let (moved, deed) = self.script.go_on(now_ms, Some(&mut self.socket));
            if moved {
                (has_moved, self.used_ms) = (true, now_ms);
            }
            match deed {
                None => break,
                Some(Deed::Close) => return (true, false),
                Some(Deed::End(status)) => *end = Some(status),
                Some(Deed::Listen | Deed::Write(_)) => {}
            }
        }
        // As Node.js does.
        let is_idle = self.script.deeds.is_empty() && self.used_ms + 5_000 <= now_ms;
        (has_moved, !is_closed && !is_idle)
    }
}

/// A handler gets an event, and will do what the life says. What is left of an event whose sender
/// has ended is none.
fn begin(platform: &mut Platform, of: Option<usize>, event: &[u8], script: &mut Script) {
    let text = String::from_utf8_lossy(event);
    let named = text
        .strip_prefix("\"event of ")
        .and_then(|text| text.split_once(' '));
    let index = named.map(|(id, _)| index_of(id));
    let Some(index) = index.filter(|index| *text == event_body(&platform.life, *index)) else {
        script.add(platform.passed_ms, Deed::End(1 << 8));
        return;
    };
    assert!(of.is_none_or(|of| of == index), "the event of another");
    platform.calls[index].handled += 1;
    let mut at_ms = platform.passed_ms;
    let mut wait = |ms: u64| {
        at_ms += ms;
        at_ms
    };
    for (after_ms, deed) in deeds(&platform.life, index) {
        script.add(wait(after_ms), deed);
    }
}

/// What a handler does for its event, each after so many milliseconds.
fn deeds(life: &Life, index: usize) -> Vec<(u64, Deed)> {
    let act = life.invocations[index].act;
    let mut deeds = match act {
        Act::Streams { pause_ms, .. } => stream(life, index, pause_ms),
        Act::Sleeps(ms) => vec![(ms, Deed::Write(whole(life, index)))],
        _ => vec![(0, Deed::Write(whole(life, index)))],
    };
    deeds.extend(last(life, index).map(|deed| (0, deed)));
    deeds
}

/// The parts of a stream.
fn stream(life: &Life, index: usize, pause_ms: u64) -> Vec<(u64, Deed)> {
    let head = "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n";
    let head = (0, write(head.to_owned()));
    let head = Some(head).filter(|_| life.kind == Kind::Server);
    let parts = parts(life, index).into_iter().map(|part| match life.kind {
        Kind::Server => format!("{:x}\r\n{part}\r\n", part.len()),
        Kind::Persistent => format!("{{\"chunk\":\"{part}\"}}\n"),
        Kind::OneShot | Kind::Function => part,
    });
    let parts = parts.map(|part| (pause_ms, write(part)));
    head.into_iter().chain(parts).collect()
}

/// A response in one piece, as far as it gets.
fn whole(life: &Life, index: usize) -> Vec<u8> {
    let act = life.invocations[index].act;
    let body = match (act, life.kind) {
        (Act::RespondsTooMuch, Kind::Persistent) => [b"\"", &**TOO_MUCH, b"\""].concat(),
        (Act::RespondsTooMuch, _) => TOO_MUCH.clone(),
        _ => event_body(life, index).into_bytes(),
    };
    let mut bytes = match life.kind {
        Kind::Server => response("200", &body),
        Kind::Persistent => [b"{\"response\":", &*body, b"}\n"].concat(),
        Kind::OneShot | Kind::Function => return body,
    };
    match act.goes() {
        Goes::Well => {}
        // It responds in its way, or not at all.
        Goes::Fails | Goes::Breaks => bytes.clear(),
        Goes::Exits(_) | Goes::IsKilled => bytes.truncate(bytes.len() / 2),
    }
    bytes
}

/// What a handler does in the end.
fn last(life: &Life, index: usize) -> Option<Deed> {
    let act = life.invocations[index].act;
    let is_stream = matches!(act, Act::Streams { .. });
    let deed = match (act.goes(), life.kind) {
        (Goes::Exits(code), _) => Deed::End(i32::from(code) << 8),
        (Goes::IsKilled, _) => Deed::End(9),
        (Goes::Well, Kind::OneShot) => Deed::End(0),
        (Goes::Fails, Kind::OneShot) => Deed::End(1 << 8),
        (Goes::Breaks, Kind::OneShot) => Deed::End(3 << 8),
        (Goes::Well, Kind::Server) if is_stream => write("0\r\n\r\n".to_owned()),
        (Goes::Well, Kind::Persistent) if is_stream => write("{\"end\":true}\n".to_owned()),
        (Goes::Fails, Kind::Server) if is_stream => Deed::Close,
        (Goes::Fails, Kind::Server) => Deed::Write(response("500", b"no")),
        (Goes::Fails, Kind::Persistent) => {
            let error = r#""errorType":"Chosen","errorMessage""#;
            write(format!("{{\"error\":{{{error}:\"{}\"}}}}\n", id(index)))
        }
        (Goes::Breaks, _) => write("nonsense\r\n\r\n".to_owned()),
        (Goes::Well | Goes::Fails, _) => return None,
    };
    Some(deed)
}

fn write(text: String) -> Deed {
    Deed::Write(text.into_bytes())
}

fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} \r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The two ends of a connection. What fits it is less than some streams have.
pub(super) fn sockets() -> (OwnedFd, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    for end in [&near, &far] {
        end.set_nonblocking(true).unwrap();
        set_socket_send_buffer_size(end, 16 * 1024).unwrap();
    }
    (near.into(), far)
}

/// Reads what is there. True at the end, and where the other end has failed.
fn read(from: &mut impl Read, into: &mut Vec<u8>) -> bool {
    match from.read_to_end(into) {
        Ok(_) => true,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}

impl State {
    /// Lets the other ends do what it is time for.
    pub(super) fn pump(&mut self) {
        let Self {
            platform,
            processes,
            moves,
            ..
        } = self;
        for process in processes {
            let uploads = { process.uploads.iter_mut() }.map(|upload| upload.pump(platform));
            *moves += uploads.filter(|has_moved| *has_moved).count();
            let children = { process.children.iter_mut() }.map(|child| child.pump(platform));
            *moves += children.filter(|has_moved| *has_moved).count();
        }
    }

    /// When they have something to do by themselves.
    pub(super) fn peers_due_ms(&self) -> Option<u64> {
        let processes = self.processes.iter();
        let due = processes.flat_map(|process| {
            let open = { process.uploads.iter() }.filter(|upload| upload.socket.is_some());
            let children = process.children.iter().flat_map(Child::due_ms);
            open.map(Upload::due_ms).chain(children)
        });
        { due }
            .filter(|at_ms| self.platform.passed_ms < *at_ms)
            .min()
    }

    pub(super) fn child(&mut self, id: i32) -> Option<&mut Child> {
        let processes = self.processes.iter_mut();
        let mut children = processes.flat_map(|process| &mut process.children);
        children.find(|child| child.id == id)
    }
}
