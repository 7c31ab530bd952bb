//! Bytes in, one message at a time out. The body is never copied out of the receive buffer.

use alloc::vec::Vec;

use memchr::memchr3;

use super::body::{CloseReason, Framing, FramingFields};
use super::error::HttpError;
use super::head::{self, Field, Head, StartLine};
use crate::shared::digits::hexadecimal;
use crate::shared::limits::{
    BUFFER_KEEP_BYTES, BUFFER_START_BYTES, CHUNK_LINE_BYTES_MAX, FIELDS_MAX, HEAD_BYTES_MAX,
    INTERIM_RESPONSES_MAX,
};

/// Which messages a [`Reader`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Requests, as a server.
    Request,
    /// Responses, as a client. One to HEAD ends with its head, which only who asked can know.
    Response,
}

/// How much a [`Reader`] accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of a head, and of a trailer section.
    pub(crate) head_bytes_max: usize,
    /// Bytes of a body after its transfer coding is taken off.
    pub(crate) body_bytes_max: usize,
    /// Bytes that there is room for at once, however many the peer announces.
    pub(crate) room_bytes_max: usize,
}

impl Limits {
    /// The limit that every head has, and this one for the body.
    pub(crate) const fn of_body(body_bytes_max: usize) -> Self {
        Self {
            head_bytes_max: HEAD_BYTES_MAX,
            body_bytes_max,
            room_bytes_max: body_bytes_max,
        }
    }

    /// The limit that every head has, and none for the body, of which this much is there at once:
    /// [`Reader::forget_body`] makes room for the rest.
    pub(crate) const fn of_stream(room_bytes_max: usize) -> Self {
        Self {
            head_bytes_max: HEAD_BYTES_MAX,
            body_bytes_max: usize::MAX / 2,
            room_bytes_max,
        }
    }
}

/// Whether a message is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More bytes are needed.
    Partial,
    /// The message is complete; [`Reader::head`] and [`Reader::body`] show it.
    Complete,
}

/// Reads messages into one buffer that is used again for the next.
///
/// All positions are counted from `base`, where the message begins.
/// Invariant: `head_start ≤ head_end ≤ body_start ≤ body_end ≤ section ≤ line ≤ at ≤ held()`. A
/// position of a stage that has not been reached does not count.
#[derive(Debug)]
pub(crate) struct Reader {
    expect: Expect,
    limits: Limits,
    /// What the driver has read.
    buf: Vec<u8>,
    /// Where in `buf` the message begins. Messages before it have been used.
    base: usize,
    /// Bytes of the message that came and are no longer in `buf`.
    dropped: usize,
    /// How far the bytes have been examined.
    at: usize,
    /// Where the line that is being examined starts; `at` where no line is.
    line: usize,
    /// Where the section of lines starts that `line` belongs to: the head, a size line, a trailer.
    section: usize,
    head_start: usize,
    /// Where the start line ends.
    start_line_end: usize,
    /// The fields of the head.
    fields: Vec<Field>,
    head_end: usize,
    body_start: usize,
    body_end: usize,
    state: State,
    /// Bytes that are still to come of the body or the chunk.
    left: u64,
    /// What is wrong, once `state` says so.
    error: HttpError,
    /// The start line, once it has been read.
    start: Option<StartLine>,
    /// Fields of the trailer section so far.
    trailers: usize,
    /// Interim responses before this one.
    interim: usize,
    framing: FramingFields,
    until_close: bool,
    /// Bytes that were moved inside the buffer, or to another one.
    #[cfg(any(test, fuzzing))]
    moved: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length,
    UntilClose,
    ChunkSize,
    ChunkData,
    ChunkEnd,
    Trailer,
    Done,
    Failed,
}

impl Reader {
    /// A reader with an empty buffer: nothing is allocated before the first [`Reader::space`].
    #[must_use]
    #[inline(never)]
    pub(crate) fn new(expect: Expect, limits: Limits) -> Self {
        Self {
            expect,
            limits,
            buf: Vec::new(),
            base: 0,
            dropped: 0,
            at: 0,
            line: 0,
            section: 0,
            head_start: 0,
            start_line_end: 0,
            fields: Vec::new(),
            head_end: 0,
            body_start: 0,
            body_end: 0,
            state: State::Head,
            left: 0,
            error: HttpError::Closed,
            start: None,
            trailers: 0,
            interim: 0,
            framing: FramingFields::default(),
            until_close: false,
            #[cfg(any(test, fuzzing))]
            moved: 0,
        }
    }

    /// The buffer, for the driver to read into behind its end. There is room while the message is
    /// incomplete.
    ///
    /// A length that the peer announced is made room for at once, so that a large body takes few
    /// reads and no copying. It is bounded by the body limit.
    ///
    /// # Errors
    ///
    /// [`HttpError::NoMemory`], after which the message is lost.
    pub(crate) fn space(&mut self) -> Result<&mut Vec<u8>, HttpError> {
        // Chunk lines take no room, and the next data arrives where it belongs.
        self.cut(self.body_end, self.section.max(self.body_end));
        let left = usize_of(self.left).min(self.limits.room_bytes_max);
        let wanted = match self.state {
            State::Length => left,
            // With room for the line end after the data and the last chunk behind it.
            State::ChunkData => left.saturating_add(CHUNK_LINE_BYTES_MAX),
            State::Head
            | State::UntilClose
            | State::ChunkSize
            | State::ChunkEnd
            | State::Trailer
            | State::Done
            | State::Failed => 1,
        };
        if self.room() < wanted {
            self.move_to_front();
        }
        if self.room() < wanted {
            // Nobody announces how many chunks there are, so they get room as lines do.
            let is_announced = self.state == State::Length;
            let doubled = if is_announced {
                0
            } else {
                self.buf.capacity() * 2
            };
            let bytes = (self.held() + wanted).max(doubled).max(BUFFER_START_BYTES);
            if self.buf.try_reserve_exact(bytes - self.held()).is_err() {
                return Err(self.fail(HttpError::NoMemory { bytes }));
            }
            self.count_moved(self.held());
        }
        Ok(&mut self.buf)
    }

    /// Bytes that fit behind those that are there.
    fn room(&self) -> usize {
        self.buf.capacity() - self.buf.len()
    }

    /// Bytes of the message that are in the buffer, and of those behind it.
    fn held(&self) -> usize {
        self.buf.len() - self.base
    }

    /// Moves the message to the front of the buffer, over those before it.
    fn move_to_front(&mut self) {
        if self.base != 0 {
            self.buf.drain(..self.base);
            self.base = 0;
            self.count_moved(self.held());
        }
    }

    /// Takes a part of the message out of the buffer that has been examined.
    fn cut(&mut self, start: usize, end: usize) {
        let count = end - start;
        if count != 0 {
            self.buf.drain(self.base + start..self.base + end);
            self.section -= count;
            self.line -= count;
            self.at -= count;
            self.dropped += count;
            self.count_moved(self.held() - start);
        }
    }

    #[cfg(any(test, fuzzing))]
    const fn count_moved(&mut self, bytes: usize) {
        self.moved += bytes;
    }

    #[cfg(not(any(test, fuzzing)))]
    #[expect(
        clippy::needless_pass_by_ref_mut,
        clippy::unused_self,
        reason = "only tests count"
    )]
    const fn count_moved(&mut self, _bytes: usize) {}

    /// Examines what the driver has read into [`Reader::space`].
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes; the same error again on every later call.
    pub(crate) fn advance(&mut self) -> Result<Progress, HttpError> {
        loop {
            let before = self.state;
            let step = match before {
                State::Head => self.head_lines(),
                State::Length => Ok(self.length_data()),
                State::UntilClose => self.until_close_data(),
                State::ChunkSize => self.chunk_size(),
                State::ChunkData => Ok(self.chunk_data()),
                State::ChunkEnd => self.chunk_end(),
                State::Trailer => self.trailer_lines(),
                State::Done => return Ok(Progress::Complete),
                State::Failed => return Err(self.error),
            };
            match step {
                Ok(state) if state == before => return Ok(Progress::Partial),
                Ok(state) => {
                    self.state = state;
                    (self.line, self.section) = (self.at, self.at);
                }
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    /// Takes note that the peer closed its side.
    ///
    /// # Errors
    ///
    /// [`HttpError::Closed`] between messages, [`HttpError::Truncated`] inside one.
    pub(crate) fn eof(&mut self) -> Result<Progress, HttpError> {
        let error = match self.state {
            State::Done => return Ok(Progress::Complete),
            State::UntilClose => {
                self.state = State::Done;
                return Ok(Progress::Complete);
            }
            State::Failed => self.error,
            State::Head if self.held() == 0 => HttpError::Closed,
            State::Head
            | State::Length
            | State::ChunkSize
            | State::ChunkData
            | State::ChunkEnd
            | State::Trailer => HttpError::Truncated {
                received: self.held() + self.dropped,
            },
        };
        Err(self.fail(error))
    }

    const fn fail(&mut self, error: HttpError) -> HttpError {
        self.state = State::Failed;
        self.error = error;
        error
    }

    /// The head of the message; empty before it is complete.
    #[must_use]
    pub(crate) fn head(&self) -> Head<'_> {
        Head {
            start_line: self.part(self.head_start, self.start_line_end),
            // Positions in the lines are counted from the start of the head.
            lines: self.part(self.head_start, self.head_end),
            fields: &self.fields,
        }
    }

    /// The body of the message as far as it has arrived.
    #[must_use]
    pub(crate) fn body(&self) -> &[u8] {
        self.part(self.body_start, self.body_end)
    }

    /// Forgets the part of the body that has arrived, so that the next one takes its place. A body
    /// begins behind the first size line, which is forgotten, too.
    pub(crate) fn forget_body(&mut self) {
        self.cut(self.head_end, self.body_end);
        (self.body_start, self.body_end) = (self.head_end, self.head_end);
    }

    /// The status of the response, known as soon as its status line has been read.
    #[must_use]
    pub(crate) fn status(&self) -> Option<u16> {
        self.start
            .map(|start| start.status)
            .filter(|status| *status >= 200)
    }

    /// Why the connection must not be used again; `None` when it may.
    #[must_use]
    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        match (self.state, self.start) {
            (State::Done, Some(_)) if self.until_close => Some(CloseReason::BodyUntilClose),
            (State::Done, Some(_)) if self.expect != Expect::Request && self.at < self.held() => {
                Some(CloseReason::UnexpectedBytes)
            }
            (State::Done, Some(start)) => self.framing.close_reason(start),
            _ => Some(CloseReason::Incomplete),
        }
    }

    /// Whether the message has begun.
    #[must_use]
    pub(crate) fn has_bytes(&self) -> bool {
        self.held() != 0
    }

    /// Bytes of memory the buffer holds.
    #[cfg(any(test, fuzzing))]
    #[must_use]
    pub(crate) fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// Reads as many of the bytes as there is room for.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn read_from(&mut self, bytes: &mut &[u8]) -> Result<Progress, HttpError> {
        let space = self.space()?;
        let count = bytes.len().min(space.capacity() - space.len());
        assert_ne!(count, 0, "there is room while more is wanted");
        let (part, rest) = bytes.split_at(count);
        space.extend_from_slice(part);
        *bytes = rest;
        self.advance()
    }

    /// Bytes that were moved so far.
    #[cfg(any(test, fuzzing))]
    #[must_use]
    pub(crate) const fn moved(&self) -> usize {
        self.moved
    }

    /// Forgets the message and keeps the bytes behind it, which a client may have sent ahead. They
    /// stay where they are, so that many small messages in one buffer are not moved for each.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes that were already there.
    pub(crate) fn next_message(&mut self) -> Result<Progress, HttpError> {
        let used = self.held();
        self.base += self.at;
        self.restart(0);
        (self.interim, self.dropped) = (0, 0);
        self.give_back(used);
        self.advance()
    }

    /// Forgets the message and whatever came behind it, as before a new request: nothing that has
    /// been read by then can be the response to it.
    pub(crate) fn reset(&mut self) {
        let used = self.held();
        self.buf.clear();
        self.base = 0;
        self.restart(0);
        (self.interim, self.dropped) = (0, 0);
        self.give_back(used);
    }

    /// Gives back a buffer that a large message left behind, once less than a quarter of it has
    /// been needed. A function whose events are all large keeps its buffer.
    fn give_back(&mut self, used: usize) {
        let capacity = self.buf.capacity();
        if capacity > BUFFER_KEEP_BYTES && used < capacity / 4 {
            self.move_to_front();
            self.buf.shrink_to(BUFFER_KEEP_BYTES.max(used));
            self.count_moved(self.held());
        }
    }

    fn restart(&mut self, at: usize) {
        (self.at, self.line, self.section) = (at, at, at);
        (self.head_start, self.head_end) = (at, at);
        (self.body_start, self.body_end) = (at, at);
        self.start = None;
        self.fields.clear();
        self.trailers = 0;
        (self.framing, self.until_close) = (FramingFields::default(), false);
        self.state = State::Head;
    }

    /// The next whole line as a range without its line end, or `None` if it is still partial.
    /// `limit` bounds the section that the line belongs to; beyond it `too_long` is the error.
    ///
    /// A line ends with CRLF and holds no CR, LF or NUL otherwise,
    /// <https://www.rfc-editor.org/rfc/rfc9110#section-5.5>: accepting a bare LF is allowed by <https://www.rfc-editor.org/rfc/rfc9112#section-2.2>, but no peer of ours sends
    /// one, and where two parsers differ about line ends, one can be made to see other messages.
    fn take_line(
        &mut self,
        what: &'static str,
        limit: usize,
    ) -> Result<Option<(usize, usize)>, HttpError> {
        let over = HttpError::OverLimit {
            what,
            limit,
            actual: limit + 1,
        };
        let end = self.held().min(self.section.saturating_add(limit));
        let unseen = self.part(self.at, end);
        let cut_off = end < self.held();
        let Some(text) = memchr3(b'\r', b'\n', 0, unseen) else {
            self.at = end;
            return if cut_off { Err(over) } else { Ok(None) };
        };
        let line_end = unseen.get(text..).unwrap_or_default();
        let (first, second) = (line_end.first().copied(), line_end.get(1).copied());
        // `at` stays at a CR until the byte behind it is there.
        self.at += text;
        match (first, second) {
            (Some(b'\r'), Some(b'\n')) => {
                let line = (self.line, self.at);
                self.at += 2;
                self.line = self.at;
                Ok(Some(line))
            }
            (Some(b'\r'), None) if cut_off => Err(over),
            (Some(b'\r'), None) => Ok(None),
            (Some(b'\r'), Some(_)) => Err(HttpError::LoneCr),
            (Some(b'\n'), _) => Err(HttpError::BareLf),
            _ => Err(HttpError::Nul),
        }
    }

    fn head_lines(&mut self) -> Result<State, HttpError> {
        let limit = self.limits.head_bytes_max;
        while let Some((start, end)) = self.take_line("bytes of head", limit)? {
            let line = part(&self.buf, self.base + start, self.base + end);
            match self.start {
                None => {
                    let start_line = if SERVES && self.expect == Expect::Request {
                        head::request_line(line)?.2
                    } else {
                        head::status_line(line)?
                    };
                    (self.start, self.start_line_end) = (Some(start_line), end);
                }
                Some(start_line) if line.is_empty() => return self.head_end(start_line),
                Some(_) => {
                    let field = Field::parse(start - self.head_start, line)?;
                    let (name, value) = field.split(line);
                    self.framing.see(name, value)?;
                    self.fields.push(field);
                    check_fields(self.fields.len())?;
                }
            }
        }
        Ok(State::Head)
    }

    fn head_end(&mut self, start: StartLine) -> Result<State, HttpError> {
        self.head_end = self.at;
        if self.expect != Expect::Request && start.status < 200 {
            // A client skips interim responses, <https://www.rfc-editor.org/rfc/rfc9110#section-15.2>.
            if start.status == 101 {
                return Err(HttpError::Upgrade);
            }
            self.interim += 1;
            if self.interim > INTERIM_RESPONSES_MAX {
                return Err(HttpError::OverLimit {
                    what: "interim responses",
                    limit: INTERIM_RESPONSES_MAX,
                    actual: self.interim,
                });
            }
            self.restart(self.at);
            return self.head_lines();
        }
        (self.body_start, self.body_end) = (self.at, self.at);
        let framing = self.framing.decide(start)?;
        self.until_close = framing == Framing::UntilClose;
        match framing {
            Framing::Empty => Ok(State::Done),
            Framing::Length(left) => {
                self.check_body(left)?;
                self.left = left;
                Ok(State::Length)
            }
            Framing::Chunked => Ok(State::ChunkSize),
            Framing::UntilClose => Ok(State::UntilClose),
        }
    }

    /// Checks the length of a body, or of the part of it that is known.
    const fn check_body(&self, length: u64) -> Result<(), HttpError> {
        let limit = self.limits.body_bytes_max;
        if length > limit as u64 {
            return Err(HttpError::BodyTooLarge {
                limit,
                actual: length,
            });
        }
        Ok(())
    }

    /// Takes the buffered bytes that belong to this body or chunk off `left`, and returns their
    /// number.
    fn data(&mut self) -> usize {
        let count = usize_of(self.left).min(self.held() - self.at);
        self.left -= count as u64;
        count
    }

    fn length_data(&mut self) -> State {
        self.at += self.data();
        (self.line, self.section, self.body_end) = (self.at, self.at, self.at);
        if self.left == 0 {
            State::Done
        } else {
            State::Length
        }
    }

    fn until_close_data(&mut self) -> Result<State, HttpError> {
        self.at = self.held();
        (self.line, self.section, self.body_end) = (self.at, self.at, self.at);
        // However much came at once, the error says where the limit was passed.
        self.check_body(self.body().len().min(self.limits.body_bytes_max + 1) as u64)?;
        Ok(State::UntilClose)
    }

    /// `chunk-size [ chunk-ext ] CRLF`, the extensions ignored.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc9112#section-7.1>
    fn chunk_size(&mut self) -> Result<State, HttpError> {
        let what = "bytes of chunk-size line";
        let Some((start, end)) = self.take_line(what, CHUNK_LINE_BYTES_MAX)? else {
            return Ok(State::ChunkSize);
        };
        let line = self.part(start, end);
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = chunk_length(head::trim(size))?;
        if self.body_start == self.body_end {
            (self.body_start, self.body_end) = (self.at, self.at);
        }
        if size == 0 {
            return Ok(State::Trailer);
        }
        self.check_body((self.body().len() as u64).saturating_add(size))?;
        self.left = size;
        Ok(State::ChunkData)
    }

    fn chunk_data(&mut self) -> State {
        let count = self.data();
        if self.at != self.body_end {
            let data = self.base + self.at..self.base + self.at + count;
            self.buf.copy_within(data, self.base + self.body_end);
            self.count_moved(count);
        }
        self.at += count;
        (self.line, self.section) = (self.at, self.at);
        self.body_end += count;
        if self.left == 0 {
            State::ChunkEnd
        } else {
            State::ChunkData
        }
    }

    fn chunk_end(&mut self) -> Result<State, HttpError> {
        match self.part(self.at, self.held()) {
            [] | [b'\r'] => Ok(State::ChunkEnd),
            [b'\r', b'\n', ..] => {
                self.at += 2;
                Ok(State::ChunkSize)
            }
            _ => Err(HttpError::ChunkEnd),
        }
    }

    /// The trailer section is checked and ignored: nobody here has a use for its fields.
    fn trailer_lines(&mut self) -> Result<State, HttpError> {
        let limit = self.limits.head_bytes_max;
        while let Some((start, end)) = self.take_line("bytes of head", limit)? {
            let line = self.part(start, end);
            if line.is_empty() {
                return Ok(State::Done);
            }
            Field::parse(0, line)?;
            self.trailers += 1;
            check_fields(self.trailers)?;
        }
        Ok(State::Trailer)
    }

    /// A part of the message; empty if there is no such part.
    fn part(&self, start: usize, end: usize) -> &[u8] {
        part(&self.buf, self.base + start, self.base + end)
    }
}

fn part(buf: &[u8], start: usize, end: usize) -> &[u8] {
    buf.get(start..end).unwrap_or_default()
}

const fn check_fields(actual: usize) -> Result<(), HttpError> {
    if actual > FIELDS_MAX {
        return Err(HttpError::OverLimit {
            what: "fields",
            limit: FIELDS_MAX,
            actual,
        });
    }
    Ok(())
}

/// Whether there is a listener, so that requests have to be read.
const SERVES: bool = cfg!(any(test, feature = "extension"));

/// Lengths above what memory can address are bounded by the body limit long before.
fn usize_of(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn chunk_length(text: &[u8]) -> Result<u64, HttpError> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_hexdigit);
    if !is_number {
        return Err(HttpError::ChunkSize);
    }
    hexadecimal(text).ok_or(HttpError::ChunkSizeOverflow)
}
