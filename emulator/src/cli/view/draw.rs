//! The picture of a [`Model`]. It depends on nothing else, so a test sees what a terminal shows.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row as TableRow, Table};

use super::model::{Env, Line, Model, Phase, Writer};

/// Draws everything.
pub(crate) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let environments = rows(model.environments.len());
    let starts = rows(model.starts.len());
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(environments),
        Constraint::Length(starts),
        Constraint::Min(3),
        Constraint::Length(1),
    ]);
    let [title, table, started, log, keys] = parts.areas(frame.area());
    frame.render_widget(Paragraph::new(headline(model)), title);
    draw_environments(model, frame, table);
    draw_starts(model, frame, started);
    draw_log(model, frame, log);
    let keys_text = Style::new().add_modifier(Modifier::DIM);
    frame.render_widget(Paragraph::new(KEYS).style(keys_text), keys);
}

/// The height of a table with a frame and a head; it shows a few rows at least and at most.
fn rows(count: usize) -> u16 {
    let shown = count.clamp(1, ROWS_MAX);
    u16::try_from(shown).unwrap_or(u16::MAX).saturating_add(3)
}

fn headline(model: &Model) -> Row<'_> {
    let invoked = counted(model.invocations, "invocation");
    let failed = match model.failures {
        0 => Span::raw(""),
        failures => Span::styled(format!(", {failures} failed"), RED),
    };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    Row::from(vec![
        Span::styled(model.title.as_str(), bold),
        Span::raw(format!("   {invoked}")),
        failed,
    ])
}

fn draw_environments(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let ids = model.environments.keys();
    let selected = ids.clone().position(|id| Some(*id) == model.selected);
    // The selected one is among those that are shown.
    let first = selected.unwrap_or_default().saturating_sub(ROWS_MAX - 1);
    let shown = model.environments.iter().skip(first).take(ROWS_MAX);
    let rows = shown.map(|(id, env)| {
        let mark = if Some(*id) == model.selected {
            ">"
        } else {
            " "
        };
        let start = env.start.as_ref().map(|start| {
            let took = start
                .took
                .map_or_else(String::new, |took| format!(" {}", ms(took)));
            format!("{}{took}, {}", start.kind.name(), start.cause)
        });
        TableRow::new(vec![
            Cell::from(format!("{mark} {id}")),
            Cell::from(env.phase().name()).style(color(env.phase())),
            Cell::from(since(model, env)),
            Cell::from(env.pid.map_or_else(String::new, |pid| pid.to_string())),
            Cell::from(env.invocations.to_string()),
            Cell::from(env.failures.to_string()),
            Cell::from(env.last.map(ms).unwrap_or_default()),
            Cell::from(start.unwrap_or_default()),
        ])
    });
    let widths = [
        Constraint::Length(6),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(10),
        Constraint::Min(10),
    ];
    let head = [
        "  env",
        "phase",
        "for",
        "pid",
        "invoked",
        "failed",
        "last",
        "last start",
    ];
    let count = model.environments.len();
    let title = format!(
        " {} ",
        counted(u64::try_from(count).unwrap_or(u64::MAX), "environment")
    );
    frame.render_widget(table(rows, &widths, &head, title), area);
}

fn draw_starts(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let total: u64 = model.starts.values().map(|starts| starts.count).sum();
    // The rarest ones are left out where there are too many.
    let mut all: Vec<_> = model.starts.iter().collect();
    all.sort_by_key(|(_, starts)| std::cmp::Reverse(starts.count));
    let rows = all
        .into_iter()
        .take(ROWS_MAX)
        .map(|((kind, cause), starts)| {
            TableRow::new(vec![
                format!("  {}", kind.name()),
                starts.count.to_string(),
                starts.last.map(ms).unwrap_or_default(),
                cause.clone(),
            ])
        });
    let widths = [
        Constraint::Length(10),
        Constraint::Length(6),
        Constraint::Length(10),
        Constraint::Min(10),
    ];
    let head = ["  kind", "count", "last", "cause"];
    let title = format!(" {} ", counted(total, "start"));
    frame.render_widget(table(rows, &widths, &head, title), area);
}

fn table<'a>(
    rows: impl Iterator<Item = TableRow<'a>>,
    widths: &[Constraint],
    head: &[&'static str],
    title: String,
) -> Table<'a> {
    let dim = Style::new().add_modifier(Modifier::DIM);
    Table::new(rows, widths.to_vec())
        .header(TableRow::new(head.to_vec()).style(dim))
        .block(Block::new().borders(Borders::ALL).title(title))
}

/// The end of the log, as much as there is room for.
fn draw_log(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let block = Block::new().borders(Borders::ALL).title(" log ");
    let inner = block.inner(area);
    let (width, height) = (usize::from(inner.width), usize::from(inner.height));
    let mut shown = VecDeque::new();
    for line in model.log.iter().rev() {
        for row in wrapped(line, width).into_iter().rev() {
            shown.push_front(row);
        }
        if height <= shown.len() {
            break;
        }
    }
    let surplus = shown.len().saturating_sub(height);
    let rows: Vec<Row<'_>> = shown.into_iter().skip(surplus).collect();
    frame.render_widget(Paragraph::new(rows).block(block), area);
}

/// The rows of a line of the log: the first one begins with the environment's number, the ones that
/// belong to it with blanks, so that a message of several lines is read as one.
fn wrapped(line: &Line, width: usize) -> Vec<Row<'static>> {
    let number = line
        .environment
        .map_or_else(|| "-".to_owned(), |id| id.to_string());
    let style = match line.writer {
        Writer::Platform => Style::new().add_modifier(Modifier::DIM),
        Writer::Function => Style::new(),
        Writer::Extension => Style::new().fg(Color::Cyan),
        Writer::Command => Style::new().fg(Color::Yellow),
    };
    let room = width.saturating_sub(MARGIN).max(1);
    let rows = line.text.split('\n').flat_map(|text| pieces(text, room));
    let rows = rows.enumerate().map(|(at, text)| {
        let number = if at == 0 { number.as_str() } else { "" };
        let margin = Span::styled(format!("{number:>3} "), Style::new().fg(Color::Blue));
        Row::from(vec![margin, Span::styled(text, style)])
    });
    rows.collect()
}

/// A text in pieces that are so many columns wide at most.
fn pieces(text: &str, columns: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut filled = 0;
    for letter in text.chars() {
        let mut bytes = [0; 4];
        let wide = Span::raw(&*letter.encode_utf8(&mut bytes)).width();
        if columns < filled + wide && filled != 0 {
            pieces.push(String::new());
            filled = 0;
        }
        filled += wide;
        if let Some(piece) = pieces.last_mut() {
            piece.push(letter);
        }
    }
    pieces
}

fn since(model: &Model, env: &Env) -> String {
    let since = model.now.saturating_sub(env.since);
    if since < Duration::from_secs(1) {
        format!("{} ms", since.as_millis())
    } else {
        format!("{} s", since.as_secs())
    }
}

/// Milliseconds with two decimals, as `REPORT` has them.
fn ms(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn color(phase: Phase) -> Style {
    match phase {
        Phase::Down | Phase::Exited => RED,
        Phase::Init | Phase::Restoring => Style::new().fg(Color::Yellow),
        Phase::Idle => Style::new(),
        Phase::Busy => Style::new().fg(Color::Green),
        Phase::Frozen => Style::new().fg(Color::Blue),
        Phase::Draining => Style::new().fg(Color::Magenta),
    }
}

const RED: Style = Style::new().fg(Color::Red);
/// A table shows so many rows; the log needs the rest of the terminal.
const ROWS_MAX: usize = 6;
/// In front of each row of the log.
const MARGIN: usize = 4;
const KEYS: &str = " i invoke   f freeze/thaw   k kill   r restore   + start one   - retire   \
                    ↑ ↓ select   q quit";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use bantam_emulator::{Entry, LogLine, Seen, What};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    /// What a terminal of this size shows.
    fn shown(model: &Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(model, frame)).unwrap();
        let cells = terminal.backend().buffer().content();
        let rows = cells.chunks(usize::from(width));
        let rows = rows.map(|row| {
            row.iter()
                .map(ratatui::buffer::Cell::symbol)
                .collect::<String>()
        });
        rows.map(|row| row.trim_end().to_owned() + "\n").collect()
    }

    fn entry(model: &mut Model, ms: u64, environment: u64, what: What) {
        model.see(&Seen::Entry(Entry {
            at: Duration::from_millis(ms),
            environment,
            what,
        }));
    }

    fn line(model: &mut Model, environment: u64, platform: bool, text: &str) {
        model.see(&Seen::Line(LogLine {
            time: SystemTime::UNIX_EPOCH,
            environment,
            stream: "stream".into(),
            text: text.into(),
            platform,
            extension: None,
        }));
    }

    fn start(model: &mut Model, at: u64, environment: u64, pid: u32, took: u64) {
        entry(model, at, environment, What::InitStart);
        line(
            model,
            environment,
            true,
            "INIT_START Runtime Version: provided:al2023",
        );
        entry(model, at, environment, What::Spawned { pid });
        let done = What::InitDone {
            duration: Duration::from_micros(took),
            error: None,
        };
        entry(model, at + 2, environment, done);
    }

    fn invoke(model: &mut Model, at: u64, environment: u64, id: &str) {
        entry(
            model,
            at,
            environment,
            What::InvokeStart {
                request_id: id.into(),
            },
        );
        line(
            model,
            environment,
            true,
            &format!("START RequestId: {id} Version: $LATEST"),
        );
    }

    fn invoked(model: &mut Model, at: u64, environment: u64, id: &str, error: Option<&str>) {
        line(model, environment, true, &format!("END RequestId: {id}"));
        let done = What::InvokeDone {
            request_id: id.into(),
            error: error.map(str::to_owned),
        };
        entry(model, at, environment, done);
    }

    /// A short life of a function, in three pictures.
    fn recording() -> [(&'static str, String); 3] {
        let mut model = Model::new("orders at http://127.0.0.1:9000".into());
        start(&mut model, 0, 0, 4711, 1_480);
        invoke(&mut model, 2, 0, "8a1d");
        start(&mut model, 40, 1, 4713, 1_390);
        invoke(&mut model, 42, 1, "c07e");
        model.now = Duration::from_millis(250);
        let first = shown(&model, 100, 20);

        line(
            &mut model,
            1,
            false,
            "ERROR\tValueError: bad order\r  in load, line 12\r  in main, line 3",
        );
        invoked(&mut model, 280, 1, "c07e", Some("Function.ValueError"));
        entry(&mut model, 281, 1, What::Frozen);
        invoked(&mut model, 300, 0, "8a1d", None);
        entry(&mut model, 301, 0, What::Frozen);
        model.now = Duration::from_millis(3_300);
        let second = shown(&model, 100, 20);

        model.note("orders has changed: 2 environments are retired, new ones start it");
        model.reload();
        for environment in [0, 1] {
            entry(&mut model, 3_400, environment, What::Retired);
        }
        entry(&mut model, 3_420, 1, What::Shutdown);
        start(&mut model, 3_500, 2, 4790, 1_510);
        invoke(&mut model, 3_502, 2, "e44b");
        let reset = What::Reset {
            reason: "Runtime.ExitError".into(),
        };
        invoked(&mut model, 3_510, 2, "e44b", Some("Runtime.ExitError"));
        entry(&mut model, 3_511, 2, reset);
        model.now = Duration::from_millis(3_520);
        [
            ("An invocation while another one runs", first),
            ("One has failed, and both wait for the next", second),
            (
                "The file has changed, and the new one crashes",
                shown(&model, 100, 20),
            ),
        ]
    }

    /// What is drawn is what was looked at, and one of it is in the documentation.
    #[test]
    fn the_documentation_shows_what_a_terminal_shows() {
        let pictures = recording();
        let drawn = pictures
            .each_ref()
            .map(|(what, picture)| format!("{what}:\n\n{picture}"));
        let drawn = drawn.join("\n");
        assert_eq!(drawn, include_str!("recording.txt"), "it draws\n\n{drawn}");

        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/emulator.md");
        let text = fs::read_to_string(path).unwrap();
        let [_, (what, picture), _] = pictures;
        let block = format!("{what}:\n\n```text\n{picture}```\n");
        assert!(
            text.contains(&block),
            "docs/emulator.md has to have:\n\n{block}"
        );
    }

    #[test]
    fn a_message_of_several_lines_keeps_its_lines() {
        let [_, (_, second), _] = recording();
        for expected in [
            "│  1 ERROR  ValueError: bad order ",
            "│      in load, line 12 ",
            "│      in main, line 3 ",
        ] {
            assert!(
                second.contains(expected),
                "{expected:?} is not in\n{second}"
            );
        }
    }

    #[test]
    fn long_lines_are_wrapped_and_wide_letters_counted() {
        let table: [(&str, usize, &[&str]); 6] = [
            ("", 3, &[""]),
            ("abc", 3, &["abc"]),
            ("abcd", 3, &["abc", "d"]),
            ("\u{6f22}\u{5b57}", 3, &["\u{6f22}", "\u{5b57}"]),
            ("\u{6f22}", 1, &["\u{6f22}"]),
            ("e\u{301}e\u{301}", 1, &["e\u{301}", "e\u{301}"]),
        ];
        for (text, columns, expected) in table {
            assert_eq!(pieces(text, columns), expected, "{text:?}");
        }
    }

    /// No size is one that it cannot be drawn at.
    #[test]
    fn any_terminal_will_do() {
        let mut model = Model::new("f".into());
        for id in 0..20 {
            start(&mut model, id, id, 1, 1);
            model.select(true);
        }
        line(&mut model, 3, false, &"x".repeat(1_000));
        for (width, height) in [(1, 1), (3, 2), (10, 5), (40, 10), (300, 100)] {
            let picture = shown(&model, width, height);
            assert_eq!(picture.lines().count(), usize::from(height));
        }
        let picture = shown(&model, 100, 40);
        assert!(picture.contains("> 19 "), "{picture}");
    }
}
