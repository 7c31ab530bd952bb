//! A picture of programs beside each other: a row for each, a column of bars for each figure.

use plotters::element::Rectangle;
use plotters::style::text_anchor::HPos;
use plotters::style::{Color as _, RGBColor};

use super::time::pixel;
use super::{DrawError, FAINT, FIRST, INK, Picture, SOFT, TEXT, WIDTH, font, picture, write};

/// A row of a [`crate::bars`] picture.
#[derive(Clone, Debug)]
pub struct BarRow {
    /// The program, or the heading of the rows below.
    pub label: String,
    /// Of each column the value and its text. A heading has none.
    pub values: Vec<(f64, String)>,
    /// Whether the bars have the strong colour.
    pub is_strong: bool,
}

const ROW: i32 = 24;
const TOP: i32 = 34;
const LEFT: i32 = 250;

/// The room behind a bar, for the text of its value.
const TEXT_WIDTH: i32 = 84;

/// Draws the rows, each column from zero to its largest value.
pub(crate) fn bars(
    name: &str,
    title: &str,
    description: &str,
    columns: &[&str],
    rows: &[BarRow],
) -> Result<Picture, DrawError> {
    let count = i32::try_from(rows.len()).unwrap_or(1);
    let height = u32::try_from(TOP + count * ROW + 12).unwrap_or(0);
    let columns_count = i32::try_from(columns.len().max(1)).unwrap_or(1);
    let width = (i32::try_from(WIDTH).unwrap_or(0) - LEFT) / columns_count;
    let bar_width = f64::from(width - TEXT_WIDTH);
    let description = description.to_owned();
    picture(name, title, description, (WIDTH, height), |area| {
        let mut left = LEFT;
        for (column, heading) in columns.iter().enumerate() {
            let value = |row: &BarRow| row.values.get(column).map_or(0.0, |value| value.0);
            let high = rows.iter().map(value).fold(f64::MIN_POSITIVE, f64::max);
            let style = font(FAINT, TEXT - 1.0);
            write(area, heading, (left, TOP - 16), HPos::Left, &style)?;
            let mut y = TOP + ROW / 2;
            for row in rows {
                if let Some((value, text)) = row.values.get(column) {
                    let right = left + pixel(value / high * bar_width).max(1);
                    let color: RGBColor = if row.is_strong { FIRST } else { SOFT };
                    let corners = [(left, y - 7), (right, y + 7)];
                    area.draw(&Rectangle::new(corners, color.filled()))?;
                    write(area, text, (right + 8, y), HPos::Left, &font(INK, TEXT))?;
                }
                y += ROW;
            }
            left += width;
        }
        let mut y = TOP + ROW / 2;
        for row in rows {
            let (x, side, color) = match row.values.is_empty() {
                true => (12, HPos::Left, FAINT),
                false => (LEFT - 12, HPos::Right, INK),
            };
            write(area, &row.label, (x, y), side, &font(color, TEXT))?;
            y += ROW;
        }
        Ok(())
    })
}
