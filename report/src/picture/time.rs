//! Starts over time.

use jiff::Timestamp;
use plotters::element::{PathElement, Rectangle};
use plotters::style::Color as _;
use plotters::style::text_anchor::HPos;

use super::{DrawError, FAINT, FIRST, GRID, INK, Picture, TEXT, WIDTH, cut, font, picture, write};
use crate::counts::grouped;
use crate::tables::Tables;

/// Rows of the picture; what is left shares the last one.
const ROWS_MAX: usize = 9;

const ROW: u32 = 58;
const LEFT: i32 = 190;
const RIGHT: i32 = 780;
const TOP: u32 = 12;
const BOTTOM: u32 = 34;
const ROW_PIXELS: i32 = 58;
const TOP_PIXELS: i32 = 12;

/// A row of bars for each kind and cause, all on the same scales. `None` where nothing has a time.
pub(crate) fn starts_over_time(tables: &Tables) -> Result<Option<Picture>, DrawError> {
    let times = || tables.starts_over_time.iter().map(|row| row.from_ms);
    let (Some(from), Some(last)) = (times().min(), times().max()) else {
        return Ok(None);
    };
    let to = last + tables.time_step_ms;
    let rows = rows(tables);
    let high = rows
        .iter()
        .flat_map(|row| &row.counts)
        .map(|(_, count)| *count);
    let high = high.max().unwrap_or(1);
    let height = TOP + BOTTOM + ROW * u32::try_from(rows.len()).unwrap_or(1);
    let largest = rows.first().map_or("", |row| &row.cause);
    let description = format!(
        "Starts of environments from {} to {}, one row of bars for each cause and kind, in steps of \
         {}. Most starts have the cause {largest}. The table below has the numbers.",
        time(from, "%Y-%m-%d %H:%M"),
        time(to, "%Y-%m-%d %H:%M"),
        super::duration(as_f64(tables.time_step_ms))
    );
    let drawing = Drawing {
        from,
        to,
        step: tables.time_step_ms,
        high,
        bottom: i32::try_from(height - BOTTOM).unwrap_or(0),
    };
    let draw = |area: &super::Area<'_>| {
        drawing.axis(area)?;
        let mut base = TOP_PIXELS;
        for row in &rows {
            base += ROW_PIXELS;
            drawing.row(area, row, base - 4)?;
        }
        Ok(())
    };
    let title = "Starts over time, by cause and kind";
    picture(
        "starts-over-time",
        title,
        description,
        (WIDTH, height),
        draw,
    )
    .map(Some)
}

/// The scales of the picture.
struct Drawing {
    from: i64,
    to: i64,
    step: i64,
    high: u64,
    bottom: i32,
}

impl Drawing {
    fn x(&self, at: i64) -> i32 {
        let share = as_f64(at - self.from) / as_f64(self.to - self.from);
        LEFT + pixel(share * f64::from(RIGHT - LEFT))
    }

    fn axis(&self, area: &super::Area<'_>) -> Result<(), DrawError> {
        let marks = marks(self.from, self.to);
        let is_days = marks.windows(2).all(|pair| DAY_MS <= pair[1] - pair[0]);
        for mark in &marks {
            let x = self.x(*mark);
            area.draw(&PathElement::new(
                vec![(x, TOP_PIXELS), (x, self.bottom)],
                GRID,
            ))?;
            let is_midnight = mark.rem_euclid(DAY_MS) == 0;
            let format = if YEAR_MS < self.to - self.from {
                "%Y-%m-%d"
            } else if is_days || is_midnight {
                "%b %d"
            } else {
                "%H:%M"
            };
            let at = (x, self.bottom + 14);
            write(
                area,
                &time(*mark, format),
                at,
                HPos::Center,
                &font(FAINT, TEXT - 1.0),
            )?;
        }
        let label = format!("highest bar: {}", grouped(self.high));
        let at = (12, self.bottom + 14);
        write(area, &label, at, HPos::Left, &font(FAINT, TEXT - 1.0))
    }

    /// A row of bars that stand on `base`.
    fn row(&self, area: &super::Area<'_>, row: &Row, base: i32) -> Result<(), DrawError> {
        let label = cut(&row.cause.replace('_', " "), 24);
        write(
            area,
            &label,
            (12, base - 34),
            HPos::Left,
            &font(INK, TEXT + 1.0),
        )?;
        let label = format!("{} {}", grouped(row.all), row.kind.replace('_', " "));
        let label = cut(&label, 28);
        write(
            area,
            &label,
            (12, base - 16),
            HPos::Left,
            &font(FAINT, TEXT - 1.0),
        )?;
        area.draw(&PathElement::new(vec![(LEFT, base), (RIGHT, base)], GRID))?;
        for (begin, count) in &row.counts {
            let share = as_u64_f64(*count) / as_u64_f64(self.high);
            let bar = pixel(share * f64::from(ROW_PIXELS - 12)).max(1);
            let (left, right) = (self.x(*begin), self.x(begin + self.step));
            let corners = [(left, base - bar), ((right - 1).max(left + 1), base)];
            area.draw(&Rectangle::new(corners, FIRST.filled()))?;
        }
        Ok(())
    }
}

const DAY_MS: i64 = 86_400_000;
const YEAR_MS: i64 = 365 * DAY_MS;

/// A row of bars.
struct Row {
    kind: String,
    cause: String,
    all: u64,
    counts: Vec<(i64, u64)>,
}

fn rows(tables: &Tables) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (at, starts) in tables.starts.iter().enumerate() {
        let of = tables.starts_over_time.iter().filter(|row| {
            row.cause == starts.cause && row.cold_start_kind == starts.cold_start_kind
        });
        let counts: Vec<(i64, u64)> = of
            .map(|row| (row.from_ms, row.environment_starts))
            .collect();
        let all = counts.iter().map(|(_, count)| count).sum();
        if all == 0 {
            continue;
        }
        let is_last = ROWS_MAX <= at + 1 && ROWS_MAX < tables.starts.len();
        if is_last
            && rows.len() == ROWS_MAX
            && let Some(last) = rows.last_mut()
        {
            last.all += all;
            for (begin, count) in counts {
                match last.counts.iter_mut().find(|(other, _)| *other == begin) {
                    Some((_, sum)) => *sum += count,
                    None => last.counts.push((begin, count)),
                }
            }
            continue;
        }
        let (kind, cause) = if is_last {
            ("of all other kinds".to_owned(), "other causes".to_owned())
        } else {
            (starts.cold_start_kind.clone(), starts.cause.clone())
        };
        rows.push(Row {
            kind,
            cause,
            all,
            counts,
        });
    }
    rows
}

/// Marks of an axis of time: at most eight, at round times.
fn marks(from: i64, to: i64) -> Vec<i64> {
    let fits = |step: &&i64| (to - from) / **step < 8;
    let step = STEPS_MS.iter().find(fits).copied();
    let step = step.unwrap_or_else(|| (to - from) / 8 + 1);
    let first = from.div_euclid(step) * step;
    let marks = (0..).map(|at| first + at * step);
    let marks = marks.take_while(|mark| *mark <= to);
    marks.filter(|mark| from <= *mark).collect()
}

const STEPS_MS: [i64; 15] = [
    1_000,
    10_000,
    60_000,
    300_000,
    900_000,
    1_800_000,
    3_600_000,
    3 * 3_600_000,
    6 * 3_600_000,
    12 * 3_600_000,
    86_400_000,
    2 * 86_400_000,
    7 * 86_400_000,
    28 * 86_400_000,
    91 * 86_400_000,
];

pub(crate) fn time(ms: i64, format: &str) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or_default();
    time.strftime(format).to_string()
}

#[expect(clippy::cast_precision_loss, reason = "a span of time")]
const fn as_f64(ms: i64) -> f64 {
    ms as f64
}

#[expect(clippy::cast_precision_loss, reason = "a count in a picture")]
const fn as_u64_f64(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a place in a picture")]
pub(super) const fn pixel(place: f64) -> i32 {
    place as i32
}
