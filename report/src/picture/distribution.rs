//! The distribution of a figure: histogram and empirical distribution function.

use plotters::element::{PathElement, Rectangle};
use plotters::prelude::{ChartBuilder, IntoLogRange as _};
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color as _, RGBColor, ShapeStyle};

use super::{
    Area, DrawError, FAINT, FIRST, GRID, INK, Picture, SECOND, TEXT, WIDTH, font, linear,
    logarithmic, percent, picture, with_unit, write,
};
use crate::counts::counted;
use crate::tables::Distribution;

const HISTOGRAM: u32 = 190;
const FUNCTION: u32 = 210;
const LEFT: u32 = 62;
const RIGHT: u32 = 24;

/// The histogram, and the distribution function on the same axis.
pub(crate) fn distribution(of: &Distribution, title: &str) -> Result<Option<Picture>, DrawError> {
    let (Some(first), Some(last)) = (of.histogram.first(), of.histogram.last()) else {
        return Ok(None);
    };
    let axis = logarithmic(first.from, last.to);
    let summary = &of.summary;
    let value = |value: Option<f64>| with_unit(value.unwrap_or_default(), of.unit);
    let description = format!(
        "Histogram and empirical distribution of {}. Half of them are below {}, nine in ten below \
         {}, 99 in a hundred below {}; the largest is {}.",
        counted(summary.count, "value"),
        value(summary.p50),
        value(summary.p90),
        value(summary.p99),
        value(summary.max)
    );
    let draw = |area: &Area<'_>| {
        let (above, below) = area.split_vertically(HISTOGRAM);
        histogram(&above, of, &axis)?;
        let marks = [
            ("p50", summary.p50),
            ("p90", summary.p90),
            ("p99", summary.p99),
        ];
        let lines = [Line {
            name: "",
            of,
            color: FIRST,
            is_dashed: false,
        }];
        function(&below, &lines, &axis, &marks)
    };
    let name = of.figure.replace('_', "-");
    picture(
        &name,
        title,
        description,
        (WIDTH, HISTOGRAM + FUNCTION),
        draw,
    )
    .map(Some)
}

/// The distribution functions of a figure in two runs.
pub(crate) fn two_distributions(
    before: &Distribution,
    after: &Distribution,
    title: &str,
) -> Result<Option<Picture>, DrawError> {
    let ends = |of: &Distribution| Some((of.histogram.first()?.from, of.histogram.last()?.to));
    let (Some(a), Some(b)) = (ends(before), ends(after)) else {
        return Ok(None);
    };
    let axis = logarithmic(a.0.min(b.0), a.1.max(b.1));
    let value = |of: &Distribution| with_unit(of.summary.p50.unwrap_or_default(), of.unit);
    let description = format!(
        "Empirical distributions before, as a solid line with a median of {}, and after, as a dashed \
         line with a median of {}.",
        value(before),
        value(after)
    );
    let draw = |area: &Area<'_>| {
        let lines = [
            Line {
                name: "before",
                of: before,
                color: FIRST,
                is_dashed: false,
            },
            Line {
                name: "after",
                of: after,
                color: SECOND,
                is_dashed: true,
            },
        ];
        function(area, &lines, &axis, &[])
    };
    let name = format!("versus-{}", before.figure.replace('_', "-"));
    picture(&name, title, description, (WIDTH, FUNCTION + 40), draw).map(Some)
}

type Axis = (f64, f64, Vec<f64>);

fn histogram(area: &Area<'_>, of: &Distribution, axis: &Axis) -> Result<(), DrawError> {
    let high = of.histogram.iter().map(|bin| bin.count).max().unwrap_or(1);
    #[expect(clippy::cast_precision_loss, reason = "a count in a picture")]
    let (top, marks) = linear(high as f64);
    let mut chart = ChartBuilder::on(area)
        .margin_top(14)
        .margin_right(RIGHT)
        .margin_bottom(6)
        .set_label_area_size(plotters::chart::LabelAreaPosition::Left, LEFT)
        .build_cartesian_2d((axis.0..axis.1).log_scale(), 0.0..top)?;
    let grid = marks
        .iter()
        .map(|mark| PathElement::new(vec![(axis.0, *mark), (axis.1, *mark)], GRID));
    chart.draw_series(grid)?;
    let bars = of.histogram.iter().filter(|bin| bin.count != 0).map(|bin| {
        #[expect(clippy::cast_precision_loss, reason = "a count in a picture")]
        let corners = [(bin.from, 0.0), (bin.to, bin.count as f64)];
        let mut bar = Rectangle::new(corners, FIRST.filled());
        bar.set_margin(0, 0, 0, 1);
        bar
    });
    chart.draw_series(bars)?;
    for mark in &marks {
        let (x, y) = chart.backend_coord(&(axis.0, *mark));
        write(
            area,
            &super::short(*mark),
            (x - 8, y),
            HPos::Right,
            &font(FAINT, TEXT - 1.0),
        )?;
    }
    let (x, y) = chart.backend_coord(&(axis.0, top));
    write(
        area,
        "starts",
        (x + 4, y - 8),
        HPos::Left,
        &font(FAINT, TEXT - 1.0),
    )
}

/// One distribution function.
struct Line<'a> {
    name: &'a str,
    of: &'a Distribution,
    color: RGBColor,
    is_dashed: bool,
}

impl Line<'_> {
    /// The steps from one end of the axis to the other.
    fn points(&self, axis: &Axis) -> Vec<(f64, f64)> {
        let mut points = vec![(axis.0, 0.0)];
        let mut before = 0.0;
        for step in &self.of.ecdf {
            points.extend([(step.at, before), (step.at, step.share)]);
            before = step.share;
        }
        points.push((axis.1, 1.0));
        points
    }
}

/// Writes the names of two lines: of the left one on its left side.
fn names(
    area: &Area<'_>,
    lines: &[Line<'_>],
    place: &mut dyn FnMut(f64, f64) -> (i32, i32),
) -> Result<(), DrawError> {
    let median = |line: &Line<'_>| line.of.summary.p50.unwrap_or_default();
    let least = lines.iter().map(median).fold(f64::INFINITY, f64::min);
    let mut has_left = false;
    for line in lines.iter().filter(|line| !line.name.is_empty()) {
        let is_left = median(line) <= least && !has_left;
        has_left |= is_left;
        let (x, y) = place(median(line), 0.5);
        let style = font(line.color, TEXT);
        if is_left {
            write(area, line.name, (x - 12, y - 8), HPos::Right, &style)?;
        } else {
            write(area, line.name, (x + 12, y + 8), HPos::Left, &style)?;
        }
    }
    Ok(())
}

fn function(
    area: &Area<'_>,
    lines: &[Line<'_>],
    axis: &Axis,
    quantiles: &[(&str, Option<f64>)],
) -> Result<(), DrawError> {
    let offset = area.get_base_pixel();
    let mut chart = ChartBuilder::on(area)
        .margin_top(20)
        .margin_right(RIGHT)
        .margin_bottom(28)
        .set_label_area_size(plotters::chart::LabelAreaPosition::Left, LEFT)
        .build_cartesian_2d((axis.0..axis.1).log_scale(), 0.0..1.0)?;
    let shares = [0.0, 0.25, 0.5, 0.75, 1.0];
    let level = shares.map(|share| PathElement::new(vec![(axis.0, share), (axis.1, share)], GRID));
    chart.draw_series(level)?;
    let upright = axis.2.iter();
    let upright = upright.map(|mark| PathElement::new(vec![(*mark, 0.0), (*mark, 1.0)], GRID));
    chart.draw_series(upright)?;
    let place = |(x, y): (i32, i32)| (x - offset.0, y - offset.1);
    for line in lines {
        let style = ShapeStyle {
            color: line.color.to_rgba(),
            filled: false,
            stroke_width: 2,
        };
        let points = line.points(axis);
        if line.is_dashed {
            chart.draw_series(DashedLineSeries::new(points, 7, 4, style))?;
        } else {
            chart.draw_series(LineSeries::new(points, style))?;
        }
    }
    let mut place = |value, share| place(chart.backend_coord(&(value, share)));
    names(area, lines, &mut place)?;
    let unit = lines.first().map_or("ms", |line| line.of.unit);
    quantile_marks(area, &mut place, quantiles, unit)?;
    for share in shares {
        let (x, y) = place(axis.0, share);
        write(
            area,
            &percent(share),
            (x - 8, y),
            HPos::Right,
            &font(FAINT, TEXT - 1.0),
        )?;
    }
    for mark in &axis.2 {
        let (x, y) = place(*mark, 0.0);
        write(
            area,
            &with_unit(*mark, unit),
            (x, y + 14),
            HPos::Center,
            &font(FAINT, TEXT - 1.0),
        )?;
    }
    Ok(())
}

/// Upright lines at quantiles, with their values.
fn quantile_marks(
    area: &Area<'_>,
    place: &mut dyn FnMut(f64, f64) -> (i32, i32),
    quantiles: &[(&str, Option<f64>)],
    unit: &str,
) -> Result<(), DrawError> {
    let mut taken = i32::MIN;
    let mut beside = 0;
    let known = quantiles.iter();
    let mut known = known
        .filter_map(|(name, value)| Some((name, (*value)?)))
        .peekable();
    while let Some((name, value)) = known.next() {
        let (x, top) = place(value, 1.0);
        let (_, foot) = place(value, 0.0);
        area.draw(&PathElement::new(vec![(x, top), (x, foot)], INK))?;
        let text = format!("{name} {}", with_unit(value, unit));
        let style = font(INK, TEXT - 1.0);
        // Above the line, or where another one's text is or the picture ends, beside its foot, over
        // the text of the one before; on its left where the next line would go through the text.
        let (width, _) = area.dim_in_pixel();
        let is_at_end = i32::try_from(width).unwrap_or(i32::MAX) < x + 56;
        if taken <= x && !is_at_end {
            write(area, &text, (x, top - 9), HPos::Center, &style)?;
            taken = x + 88;
            continue;
        }
        let y = foot - 14 - beside;
        let next = known.peek().map(|(_, next)| place(*next, 1.0).0);
        if is_at_end || next.is_some_and(|next| next < x + 80) {
            write(area, &text, (x - 5, y), HPos::Right, &style)?;
        } else {
            write(area, &text, (x + 5, y), HPos::Left, &style)?;
        }
        beside += 16;
    }
    Ok(())
}
