//! Pictures with a row for each part, function, version or zone.

use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color as _, RGBColor, ShapeStyle};

use super::time::pixel;
use super::{
    Area, DrawError, FAINT, FIRST, GRID, INK, Picture, SECOND, SOFT, TEXT, WIDTH, cut, duration,
    font, linear, linear_duration, logarithmic, percent, picture, short, with_unit, write,
};
use crate::DifferenceRow;
use crate::counts::counted;
use crate::tables::{FunctionRow, Tables};

const ROW: i32 = 26;
const TOP: i32 = 30;
const LEFT: i32 = 230;
const RIGHT: i32 = 690;

/// Rows of a picture; the table has all.
const ROWS_MAX: usize = 20;

/// One row.
struct Row {
    label: String,
    /// From the left end to the right one.
    soft: Option<(f64, f64)>,
    bar: Option<(f64, f64)>,
    points: Vec<f64>,
    text: String,
    color: RGBColor,
}

impl Row {
    const fn bar(label: String, from: f64, to: f64, text: String) -> Self {
        Self {
            label,
            soft: None,
            bar: Some((from, to)),
            points: Vec::new(),
            text,
            color: FIRST,
        }
    }
}

/// The axis above the rows.
struct Axis {
    from: f64,
    to: f64,
    marks: Vec<f64>,
    is_logarithmic: bool,
    show: fn(f64) -> String,
    /// A line at a value that means no difference.
    line: Option<f64>,
}

impl Axis {
    fn linear(high: f64, show: fn(f64) -> String) -> Self {
        let (to, marks) = linear(high);
        Self {
            from: 0.0,
            to,
            marks,
            is_logarithmic: false,
            show,
            line: None,
        }
    }

    fn durations(high: f64) -> Self {
        let (to, marks) = linear_duration(high);
        Self {
            from: 0.0,
            to,
            marks,
            is_logarithmic: false,
            show: duration,
            line: None,
        }
    }

    fn logarithmic(low: f64, high: f64, show: fn(f64) -> String) -> Self {
        let (from, to, marks) = logarithmic(low, high);
        Self {
            from,
            to,
            marks,
            is_logarithmic: true,
            show,
            line: None,
        }
    }

    fn x(&self, value: f64) -> i32 {
        let value = value.clamp(self.from, self.to);
        let share = if self.is_logarithmic {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        LEFT + pixel(share * f64::from(RIGHT - LEFT))
    }
}

fn draw_rows(
    name: &str,
    title: &str,
    description: String,
    axis: &Axis,
    rows: &[Row],
) -> Result<Option<Picture>, DrawError> {
    if rows.is_empty() {
        return Ok(None);
    }
    let count = i32::try_from(rows.len()).unwrap_or(1);
    let foot = TOP + count * ROW;
    let height = u32::try_from(foot + 10).unwrap_or(0);
    let draw = |area: &Area<'_>| {
        draw_axis(area, axis, foot)?;
        let mut y = TOP + ROW / 2;
        for row in rows {
            draw_row(area, axis, row, y)?;
            y += ROW;
        }
        Ok(())
    };
    picture(name, title, description, (WIDTH, height), draw).map(Some)
}

fn draw_axis(area: &Area<'_>, axis: &Axis, foot: i32) -> Result<(), DrawError> {
    let mut taken = i32::MIN;
    for mark in &axis.marks {
        let x = axis.x(*mark);
        area.draw(&PathElement::new(vec![(x, TOP - 4), (x, foot)], GRID))?;
        if taken < x {
            let text = (axis.show)(*mark);
            write(
                area,
                &text,
                (x, TOP - 14),
                HPos::Center,
                &font(FAINT, TEXT - 1.0),
            )?;
            taken = x + 44;
        }
    }
    if let Some(line) = axis.line {
        let x = axis.x(line);
        let style = ShapeStyle {
            color: INK.to_rgba(),
            filled: false,
            stroke_width: 2,
        };
        area.draw(&PathElement::new(vec![(x, TOP - 4), (x, foot)], style))?;
    }
    Ok(())
}

fn draw_row(area: &Area<'_>, axis: &Axis, row: &Row, y: i32) -> Result<(), DrawError> {
    let label = cut(&row.label, 30);
    write(area, &label, (LEFT - 10, y), HPos::Right, &font(INK, TEXT))?;
    let rectangle = |(from, to): (f64, f64), half: i32, color: RGBColor| {
        let (left, right) = (axis.x(from), axis.x(to));
        let corners = [(left, y - half), (right.max(left + 2), y + half)];
        area.draw(&Rectangle::new(corners, color.filled()))
    };
    if let Some(soft) = row.soft {
        rectangle(soft, 8, SOFT)?;
    }
    if let Some(bar) = row.bar {
        rectangle(bar, if row.points.is_empty() { 8 } else { 2 }, row.color)?;
    }
    for point in &row.points {
        area.draw(&Circle::new((axis.x(*point), y), 5, row.color.filled()))?;
    }
    write(
        area,
        &row.text,
        (RIGHT + 12, y),
        HPos::Left,
        &font(INK, TEXT),
    )
}

/// The parts of an init one after the other, each as long as its median.
pub(crate) fn init_parts(tables: &Tables) -> Result<Option<Picture>, DrawError> {
    let mut begin = 0.0;
    let rows = tables.init_parts.iter().map(|part| {
        let median = part.duration_ms.p50.unwrap_or_default();
        let from = begin;
        begin += median;
        Row::bar(part.part.to_owned(), from, begin, duration(median))
    });
    let rows: Vec<Row> = rows.collect();
    let longest = tables.init_parts.iter().max_by(|a, b| {
        let median = |part: &crate::PartRow| part.duration_ms.p50.unwrap_or_default();
        median(a).total_cmp(&median(b))
    });
    let description = format!(
        "The parts of a start in their order, each as long as its median; together {}. The longest \
         is: {}.",
        duration(begin),
        longest.map_or("", |part| part.part)
    );
    let axis = Axis::durations(begin);
    draw_rows(
        "init-parts",
        "The parts of a start",
        description,
        &axis,
        &rows,
    )
}

/// Functions by the time that invocations waited.
pub(crate) fn functions_by_wait(tables: &Tables) -> Result<Option<Picture>, DrawError> {
    let functions = tables.functions.iter().filter(|row| 0.0 < row.wait_ms);
    let functions: Vec<&FunctionRow> = functions.take(ROWS_MAX).collect();
    let high = functions.first().map_or(0.0, |row| row.wait_ms);
    let rows = functions.iter().map(|row| {
        Row::bar(
            row.function_name.clone(),
            0.0,
            row.wait_ms,
            duration(row.wait_ms),
        )
    });
    let rows: Vec<Row> = rows.collect();
    let description = format!(
        "The functions whose invocations waited longest for inits and restores, together. First is \
         {} with {}.",
        functions.first().map_or("", |row| &row.function_name),
        duration(high)
    );
    let axis = Axis::durations(high);
    let title = "Functions, by the time that was waited";
    draw_rows("functions-by-wait", title, description, &axis, &rows)
}

/// Functions by the share of invocations that met a cold start.
pub(crate) fn functions_by_share(tables: &Tables) -> Result<Option<Picture>, DrawError> {
    let share = |row: &FunctionRow| row.cold_start_share.unwrap_or_default();
    let functions = tables.functions.iter();
    let mut functions: Vec<&FunctionRow> = functions
        .filter(|row| INVOCATIONS_MIN <= row.invocations && 0.0 < share(row))
        .collect();
    functions.sort_by(|a, b| share(b).total_cmp(&share(a)));
    functions.truncate(ROWS_MAX);
    let rows = functions.iter().map(|row| {
        Row::bar(
            row.function_name.clone(),
            0.0,
            share(row),
            percent(share(row)),
        )
    });
    let rows: Vec<Row> = rows.collect();
    let high = functions.first().map_or(0.0, |row| share(row));
    let description = format!(
        "The functions with the largest share of invocations that met a cold start, of the ones with \
         at least {INVOCATIONS_MIN} invocations. First is {} with {}.",
        functions.first().map_or("", |row| &row.function_name),
        percent(high)
    );
    let axis = Axis::linear(high, percent);
    let title = "Functions, by the share of invocations that met a cold start";
    draw_rows("functions-by-share", title, description, &axis, &rows)
}

/// Invocations below which a share says little.
const INVOCATIONS_MIN: u64 = 20;

/// Memory: configured, used at the median of environments, and at most.
pub(crate) fn memory(tables: &Tables) -> Result<Option<Picture>, DrawError> {
    let fullness = |row: &FunctionRow| {
        let used = row.memory_used_mb.max.unwrap_or_default();
        row.memory_size_mb.map_or(0.0, |size| used / size)
    };
    let functions = tables.functions.iter();
    let mut functions: Vec<&FunctionRow> = functions
        .filter(|row| row.memory_used_mb.max.is_some())
        .collect();
    functions.sort_by(|a, b| fullness(b).total_cmp(&fullness(a)));
    functions.truncate(ROWS_MAX);
    let sizes = functions.iter().map(|row| {
        let size = row.memory_size_mb.unwrap_or_default();
        size.max(row.memory_used_mb.max.unwrap_or_default())
    });
    let high = sizes.fold(0.0, f64::max);
    let rows = functions.iter().map(|row| {
        let used = row.memory_used_mb.max.unwrap_or_default();
        let text = match row.memory_size_mb {
            Some(size) => format!("{} of {} MB", short(used), short(size)),
            None => format!("{} MB", short(used)),
        };
        Row {
            soft: row.memory_size_mb.map(|size| (0.0, size)),
            ..Row::bar(row.function_name.clone(), 0.0, used, text)
        }
    });
    let rows: Vec<Row> = rows.collect();
    let description = format!(
        "The most memory that an environment used, in front of the memory that is configured, for the \
         functions that are fullest. First is {} at {}.",
        functions.first().map_or("", |row| &row.function_name),
        percent(functions.first().map_or(0.0, |row| fullness(row)))
    );
    let axis = Axis::linear(high, |mb| format!("{} MB", short(mb)));
    let title = "Memory used, of the memory configured";
    draw_rows("memory", title, description, &axis, &rows)
}

/// The versions of the functions that have several.
pub(crate) fn versions(tables: &Tables) -> Result<Option<Picture>, DrawError> {
    let mut chosen: Vec<&FunctionRow> = Vec::new();
    for function in &tables.functions {
        let of = tables.versions.iter();
        let of = of.filter(|row| row.function_name == function.function_name);
        let of: Vec<&FunctionRow> = of.filter(|row| row.init_ms.count != 0).collect();
        if 1 < of.len() && chosen.len() + of.len() <= ROWS_MAX {
            chosen.extend(of);
        }
    }
    let label = |row: &FunctionRow| {
        let version = row.function_version.as_deref().unwrap_or("unknown");
        format!("{} {version}", row.function_name)
    };
    let title = "Init by version: median and 99th percentile";
    ranges("versions", title, "versions of functions", &chosen, label)
}

/// Availability zones.
pub(crate) fn zones(tables: &Tables) -> Result<Option<Picture>, DrawError> {
    let zones = tables.zones.iter().filter(|row| row.init_ms.count != 0);
    let zones: Vec<&FunctionRow> = zones.take(ROWS_MAX).collect();
    let label = |row: &FunctionRow| {
        let zone = row.availability_zone.as_deref().unwrap_or("unknown");
        format!("{zone} ({})", counted(row.environment_starts, "start"))
    };
    let title = "Init by availability zone: median and 99th percentile";
    ranges("zones", title, "availability zones", &zones, label)
}

/// Rows from the median to the 99th percentile of the init.
fn ranges(
    name: &str,
    title: &str,
    of: &str,
    rows: &[&FunctionRow],
    label: impl Fn(&FunctionRow) -> String,
) -> Result<Option<Picture>, DrawError> {
    let ends = |row: &FunctionRow| Some((row.init_ms.p50?, row.init_ms.p99?));
    let known = || rows.iter().filter_map(|row| Some((*row, ends(row)?)));
    let low = known()
        .map(|(_, (low, _))| low)
        .fold(f64::INFINITY, f64::min);
    let high = known().map(|(_, (_, high))| high).fold(0.0, f64::max);
    let all = known().map(|(row, (low, high))| Row {
        points: vec![low, high],
        ..Row::bar(
            label(row),
            low,
            high,
            format!("{} to {}", duration(low), duration(high)),
        )
    });
    let all: Vec<Row> = all.collect();
    let description = format!(
        "A row for each of {} {of}: from the median of the init to its 99th percentile. They lie \
         between {} and {}.",
        all.len(),
        duration(if low.is_finite() { low } else { 0.0 }),
        duration(high)
    );
    draw_rows(
        name,
        title,
        description,
        &Axis::logarithmic(low, high, duration),
        &all,
    )
}

/// The ratios of two runs, with their intervals of confidence.
pub(crate) fn differences(
    name: &str,
    title: &str,
    rows: &[DifferenceRow],
) -> Result<Option<Picture>, DrawError> {
    let finite = rows.iter().filter(|row| {
        let of = &row.difference;
        [of.ratio, of.ratio_low, of.ratio_high]
            .iter()
            .all(|ratio| ratio.is_finite() && 0.0 < *ratio)
    });
    let finite: Vec<&DifferenceRow> = finite.collect();
    let low = finite
        .iter()
        .map(|row| row.difference.ratio_low)
        .fold(0.8, f64::min);
    let high = finite
        .iter()
        .map(|row| row.difference.ratio_high)
        .fold(1.25, f64::max);
    let all = finite.iter().map(|row| {
        let of = &row.difference;
        Row {
            points: vec![of.ratio],
            color: if row.is_significant { SECOND } else { FIRST },
            ..Row::bar(
                row.label(),
                of.ratio_low,
                of.ratio_high,
                format!(
                    "{}{}",
                    short(of.ratio),
                    if row.is_significant { " sure" } else { "" }
                ),
            )
        }
    });
    let all: Vec<Row> = all.collect();
    let sure = finite.iter().filter(|row| row.is_significant);
    let sure = sure.map(|row| {
        let of = &row.difference;
        let of = [of.before, of.after].map(|value| with_unit(value, row.unit));
        format!("{} from {} to {}", row.label(), of[0], of[1])
    });
    let sure: Vec<String> = sure.collect();
    let description = if sure.is_empty() {
        "The ratio of each figure with its interval of 95 %: no difference is \
         sure."
            .to_owned()
    } else {
        format!(
            "The ratio of each figure with its interval of 95 %. Sure are: {}.",
            sure.join(", ")
        )
    };
    let mut axis = Axis::logarithmic(low, high, short);
    axis.line = Some(1.0);
    // Narrower than from 1 to 2 and from 1 to 5.
    axis.from = low * 0.95;
    axis.to = high * 1.05;
    axis.marks = RATIOS
        .iter()
        .copied()
        .filter(|mark| axis.from <= *mark && *mark <= axis.to)
        .collect();
    draw_rows(name, title, description, &axis, &all)
}

/// Marks of an axis of ratios.
const RATIOS: [f64; 17] = [
    0.01, 0.02, 0.05, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0,
];
