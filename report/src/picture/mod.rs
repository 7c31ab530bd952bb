//! Pictures of the tables, as SVG. The same tables give the same bytes.
//!
//! No colour has a meaning of its own: each row has its label, and lines differ in their strokes.

mod bars;
mod distribution;
mod rows;
mod time;

use plotters::coord::Shift;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::{
    DrawingArea, EmptyElement, IntoDrawingArea as _, IntoFont as _, RGBColor, SVGBackend, Text,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, TextStyle};

pub use self::bars::BarRow;
pub(crate) use self::bars::bars;
pub(crate) use self::distribution::{distribution, two_distributions};
pub(crate) use self::rows::{
    differences, functions_by_share, functions_by_wait, init_parts, memory, versions, zones,
};
pub(crate) use self::time::{starts_over_time, time};

/// One picture.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// Its name in a page and of a file.
    pub(crate) name: String,
    pub(crate) title: String,
    /// The picture in words, for those who do not see it.
    pub(crate) description: String,
    /// The elements of the SVG, without its root.
    body: String,
    width: u32,
    height: u32,
}

impl Picture {
    /// As an element of a page, which has the style.
    pub(crate) fn element(&self) -> String {
        self.svg("")
    }

    /// As a file.
    pub(crate) fn file(&self) -> String {
        format!("{}\n", self.svg(&format!("<style>{}</style>\n", style())))
    }

    fn svg(&self, style: &str) -> String {
        let Self {
            name,
            title,
            description,
            body,
            width,
            height,
        } = self;
        let (title, description) = (escaped(title), escaped(description));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-labelledby=\"{name}-title {name}-description\">\n\
             <title id=\"{name}-title\">{title}</title>\n\
             <desc id=\"{name}-description\">{description}</desc>\n{style}{body}</svg>"
        )
    }
}

/// The colours by day. By night a style replaces each by another, found by its value.
pub(crate) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xfe);
pub(crate) const INK: RGBColor = RGBColor(0x1c, 0x21, 0x28);
pub(crate) const FAINT: RGBColor = RGBColor(0x59, 0x63, 0x6e);
pub(crate) const GRID: RGBColor = RGBColor(0xd9, 0xde, 0xe3);
pub(crate) const FIRST: RGBColor = RGBColor(0x0b, 0x62, 0xa8);
pub(crate) const SECOND: RGBColor = RGBColor(0xb3, 0x47, 0x00);
pub(crate) const SOFT: RGBColor = RGBColor(0xb6, 0xd0, 0xe6);

/// Each colour by day, and by night.
const BY_NIGHT: [(RGBColor, &str); 7] = [
    (PAPER, "#14181d"),
    (INK, "#e6eaef"),
    (FAINT, "#a3adb8"),
    (GRID, "#343c45"),
    (FIRST, "#6cb2eb"),
    (SECOND, "#ff9d5c"),
    (SOFT, "#2c4a63"),
];

fn hex(color: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2)
}

/// The style of a picture: its colours by night.
pub(crate) fn style() -> String {
    let rules = BY_NIGHT.iter().map(|(day, night)| {
        let day = hex(*day);
        format!("svg [fill=\"{day}\"]{{fill:{night}}}svg [stroke=\"{day}\"]{{stroke:{night}}}")
    });
    let rules: String = rules.collect();
    format!("@media (prefers-color-scheme:dark){{{rules}}}")
}

/// The area that is drawn on.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// An error of drawing, which writing to a string does not have.
pub(crate) type DrawError = DrawingAreaErrorKind<std::io::Error>;

/// Draws a picture on paper.
fn picture(
    name: &str,
    title: &str,
    description: String,
    (width, height): (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), DrawError>,
) -> Result<Picture, DrawError> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        area.fill(&PAPER)?;
        draw(&area)?;
        area.present()?;
    }
    // The root of the library has neither title nor description.
    let body = text.split_once('>').map_or("", |(_, body)| body);
    let body = body.trim_start().trim_end().trim_end_matches("</svg>");
    Ok(Picture {
        name: name.to_owned(),
        title: title.to_owned(),
        description,
        body: body.to_owned(),
        width,
        height,
    })
}

/// The width of all pictures: a page scales them.
pub(super) const WIDTH: u32 = 800;

/// The size of text in a picture.
pub(super) const TEXT: f64 = 13.0;

pub(super) fn font(color: RGBColor, size: f64) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&color.to_rgba())
}

/// Writes a text at a place of the area, with its side at that place.
pub(super) fn write(
    area: &Area<'_>,
    text: &str,
    (x, y): (i32, i32),
    side: HPos,
    style: &TextStyle<'static>,
) -> Result<(), DrawError> {
    let style = style.pos(Pos::new(side, VPos::Center));
    area.draw(&(EmptyElement::at((x, y)) + Text::new(text.to_owned(), (0, 0), style)))
}

/// A text that fits `bytes` characters.
pub(super) fn cut(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Text in HTML or XML.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Not even as a reference in XML.
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The ends of an axis and the places of its marks, at 1, 2 and 5 of each power of ten, for values
/// above zero.
pub(super) fn logarithmic(low: f64, high: f64) -> (f64, f64, Vec<f64>) {
    let (low, high) = (low.max(1e-3), high.max(2e-3));
    let mut marks = Vec::new();
    let mut power = 10_f64.powf(low.log10().floor());
    while power <= 10.0 * high {
        marks.extend([1.0, 2.0, 5.0].map(|digit| digit * power));
        power *= 10.0;
    }
    let from = marks.iter().rev().find(|mark| **mark <= low).copied();
    let to = marks.iter().find(|mark| high <= **mark).copied();
    let (from, to) = (from.unwrap_or(low), to.unwrap_or(high));
    marks.retain(|mark| from <= *mark && *mark <= to);
    (from, to.max(from * 1.01), marks)
}

/// The end of an axis from zero, and the places of its marks.
pub(super) fn linear(high: f64) -> (f64, Vec<f64>) {
    let high = if 0.0 < high { high } else { 1.0 };
    let raw = high / 5.0;
    let power = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    let step = step.into_iter().find(|step| raw <= *step).unwrap_or(raw);
    let count = (high / step).ceil();
    let mut marks = vec![0.0];
    let mut at = 1.0;
    while at <= count {
        marks.push(at * step);
        at += 1.0;
    }
    (count * step, marks)
}

/// The same for durations, with round marks in the unit that they are shown in.
pub(super) fn linear_duration(high: f64) -> (f64, Vec<f64>) {
    let (unit, _) = unit_of(high);
    let (to, marks) = linear(high / unit);
    let marks = marks.into_iter().map(|mark| mark * unit);
    (to * unit, marks.collect())
}

/// A duration with its unit, in at most three digits where that is enough.
pub(crate) fn duration(ms: f64) -> String {
    if ms == 0.0 {
        return "0".to_owned();
    }
    let (of, symbol) = unit_of(ms);
    format!("{} {symbol}", short(ms / of))
}

/// The unit of a duration, in milliseconds.
fn unit_of(ms: f64) -> (f64, &'static str) {
    let units = [
        (86_400_000.0, "d"),
        (3_600_000.0, "h"),
        (60_000.0, "min"),
        (1_000.0, "s"),
        (1.0, "ms"),
    ];
    let unit = units.iter().find(|(of, _)| *of <= ms.abs());
    unit.copied().unwrap_or((1e-3, "µs"))
}

/// A number in at most three digits behind which no zeros stand.
pub(crate) fn short(value: f64) -> String {
    let decimals = match value.abs() {
        value if 100.0 <= value => 0,
        value if 10.0 <= value => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A value with its unit.
pub(crate) fn with_unit(value: f64, unit: &str) -> String {
    if unit == "ms" {
        duration(value)
    } else {
        format!("{} {unit}", short(value))
    }
}

pub(crate) fn percent(share: f64) -> String {
    format!("{} %", short(100.0 * share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_marks() {
        let (from, to, marks) = logarithmic(37.0, 640.0);
        assert_eq!((from, to), (20.0, 1_000.0));
        assert_eq!(marks, [20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0]);
        assert_eq!(linear(7.0), (8.0, vec![0.0, 2.0, 4.0, 6.0, 8.0]));
        assert_eq!(linear(0.0).0, 1.0);
    }

    #[test]
    fn numbers_are_short() {
        for (ms, text) in [
            (0.0123, "12.3 µs"),
            (1.0, "1 ms"),
            (397.68, "398 ms"),
            (1_500.0, "1.5 s"),
            (5_400_000.0, "1.5 h"),
            (864_000_000.0, "10 d"),
        ] {
            assert_eq!(duration(ms), text);
        }
        assert_eq!(percent(0.01234), "1.23 %");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(
            escaped("<a href=\"b\">&\u{7}"),
            "&lt;a href=&quot;b&quot;&gt;&amp;\u{fffd}"
        );
    }
}
