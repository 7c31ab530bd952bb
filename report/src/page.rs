//! One HTML page with everything in it: no script, no font and no picture comes from elsewhere, and
//! the page's own policy forbids it.

use crate::counts::{counted, grouped, usd};
use crate::picture::{self, DrawError, Picture, escaped, percent, short, with_unit};
use crate::statistics::Summary;
use crate::tables::{FunctionRow, Tables};
use crate::{DifferenceRow, Report};

/// Rows of a table in the page; the JSON has all.
const ROWS_MAX: usize = 1_000;

/// One section: a heading, a picture where there is one, and the table behind it.
struct Section {
    name: String,
    heading: String,
    pictures: Vec<Picture>,
    table: Table,
}

/// A table; the first column is the head of its row.
#[derive(Default)]
struct Table {
    caption: String,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// All pictures of a report.
pub(crate) fn pictures(report: &Report) -> Result<Vec<Picture>, DrawError> {
    let sections = sections(report)?.into_iter();
    Ok(sections.flat_map(|section| section.pictures).collect())
}

/// The page.
pub(crate) fn page(report: &Report, title: &str) -> Result<String, DrawError> {
    let sections = sections(report)?;
    let title = escaped(title);
    let mut links = String::new();
    let mut body = String::new();
    for section in &sections {
        let Section { name, heading, .. } = section;
        let heading = escaped(heading);
        links.extend(["<li><a href=\"#", name, "\">", &heading, "</a></li>\n"]);
        body.extend([
            "<section aria-labelledby=\"",
            name,
            "\">\n<h2 id=\"",
            name,
            "\">",
        ]);
        body.extend([&heading, "</h2>\n"]);
        for picture in &section.pictures {
            body += &figure(picture);
        }
        body += &section.table.html(section.pictures.is_empty());
        body += "</section>\n";
    }
    let tiles = match &report.versus {
        None => tiles("Totals", &report.tables),
        Some(versus) => {
            let after = tiles("Totals, after", &versus.tables);
            tiles("Totals, before", &report.tables) + &after
        }
    };
    let read = read(report);
    let style = format!("{STYLE}{}", picture::style());
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
         'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">Skip to the figures</a>\n<header>\n<h1>{title}</h1>\n{read}\
         </header>\n<nav aria-label=\"Sections\">\n<ul>\n{links}</ul>\n</nav>\n\
         <main id=\"main\" tabindex=\"-1\">\n{tiles}{body}</main>\n<footer>\n<p>{FOOT}</p>\n</footer>\n\
         </body>\n</html>\n"
    ))
}

const FOOT: &str = "Quantiles lie between the two nearest values in proportion. A cause is inferred \
    where other environments show it and the environment itself does not; docs/report.md of Bantam \
    has the rules. Times are in UTC.";

const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fffffe;--ink:#1c2128;--faint:#59636e;--line:#d9dee3;\
--link:#0b62a8;--tile:#f3f5f7}\
@media (prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e6eaef;--faint:#a3adb8;\
--line:#343c45;--link:#6cb2eb;--tile:#1e242b}}\
*{box-sizing:border-box}\
body{margin:0 auto;max-width:62rem;padding:1rem;background:var(--paper);color:var(--ink);\
font:1rem/1.5 system-ui,sans-serif}\
a{color:var(--link)}\
:focus-visible{outline:3px solid var(--link);outline-offset:2px}\
main:focus{outline:none}\
.skip{position:absolute;left:-999rem}\
.skip:focus{left:1rem;top:.5rem;background:var(--paper);padding:.5rem}\
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}\
h2{font-size:1.2rem;margin:2.5rem 0 .5rem;border-top:1px solid var(--line);padding-top:1rem}\
header p,footer p,.run,figcaption,caption{color:var(--faint);margin:.25rem 0}\
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1rem;padding:0;list-style:none}\
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.75rem;margin:1rem 0}\
dl div{background:var(--tile);border-radius:.4rem;padding:.6rem .8rem}\
dt{color:var(--faint);font-size:.85rem}\
dd{margin:0;font-size:1.35rem;font-weight:600;font-variant-numeric:tabular-nums}\
figure{margin:1rem 0}\
.wide{overflow-x:auto}\
svg{display:block;width:100%;min-width:38rem;height:auto}\
figcaption{font-size:.9rem}\
figcaption b{color:var(--ink)}\
details{margin:.5rem 0}\
summary{cursor:pointer;color:var(--link)}\
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}\
caption{text-align:left;font-size:.9rem}\
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}\
thead th{vertical-align:bottom}\
th:first-child,td.text{text-align:left}\
tbody th{font-weight:400}\
footer{margin-top:2.5rem;border-top:1px solid var(--line);font-size:.9rem}\
@media print{nav,.skip{display:none}}\
";

fn figure(picture: &Picture) -> String {
    let name = &picture.name;
    format!(
        "<figure>\n<figcaption><b>{}.</b> {}</figcaption>\n<div class=\"wide\" role=\"group\" \
         tabindex=\"0\" aria-labelledby=\"{name}-title\">\n{}\n</div>\n</figure>\n",
        escaped(&picture.title),
        escaped(&picture.description),
        picture.element()
    )
}

fn read(report: &Report) -> String {
    match &report.versus {
        None => one_read("", &report.tables),
        Some(versus) => one_read("Before: ", &report.tables) + &one_read("After: ", &versus.tables),
    }
}

/// What was read of one run, and what could not be.
fn one_read(name: &str, tables: &Tables) -> String {
    let (read, totals) = (&tables.read, &tables.totals);
    let span = totals.from_ms.zip(totals.to_ms);
    let span = span.map_or_else(String::new, |(from, to)| {
        let time = |ms| picture::time(ms, "%Y-%m-%d %H:%M");
        format!(", from {} to {}", time(from), time(to))
    });
    let mut text = format!(
        "<p>{name}{} in {}{span}.</p>\n",
        counted(read.messages, "message"),
        counted(read.files, "file")
    );
    if read.problems != 0 {
        let shown = read.shown.iter().map(|problem| {
            let place = format!("{}:{}: {}", problem.file, problem.line, problem.reason);
            format!("<li>{}</li>\n", escaped(&place))
        });
        let count = grouped(read.problems);
        text.extend([
            "<details><summary>",
            &count,
            " parts could not be read</summary>\n<ul>\n",
        ]);
        text.extend(shown);
        text.push_str("</ul>\n</details>\n");
    }
    if totals.left_out != 0 {
        let count = grouped(totals.left_out);
        let end = " environments or starts had no room and are in no figure.</p>\n";
        text.extend(["<p>", &count, end]);
    }
    text
}

/// The figures that one looks for first, under their name.
fn tiles(name: &str, tables: &Tables) -> String {
    let totals = &tables.totals;
    let init = tables
        .distributions
        .iter()
        .find(|of| of.figure == "init_duration");
    let init = |of: fn(&Summary) -> Option<f64>| {
        let value = init.and_then(|init| of(&init.summary));
        value.map_or_else(|| "unknown".to_owned(), picture::duration)
    };
    let share = totals
        .cold_start_share
        .map_or_else(|| "unknown".to_owned(), percent);
    let tiles = [
        ("Functions", grouped(totals.functions)),
        ("Invocations", grouped(totals.invocations)),
        ("Cold starts", grouped(totals.cold_starts)),
        ("Share of invocations", share),
        ("Init, median", init(|of| of.p50)),
        ("Init, 99th percentile", init(|of| of.p99)),
        ("Waited together", picture::duration(totals.wait_ms)),
        ("Billed for init", picture::duration(totals.billed_init_ms)),
        ("Price of that", escaped(&usd(totals.billed_init_usd))),
    ];
    let tiles = tiles.into_iter();
    let tiles = tiles.map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"));
    let tiles: String = tiles.collect();
    format!("<p class=\"run\">{name}</p>\n<dl>\n{tiles}</dl>\n")
}

fn sections(report: &Report) -> Result<Vec<Section>, DrawError> {
    let tables = &report.tables;
    let mut all = Vec::new();
    if let Some(versus) = &report.versus {
        all.push(comparison(tables, &versus.tables, &versus.differences)?);
    }
    if !report.programs.is_empty() {
        all.push(programs(&report.programs)?);
    }
    let Some(versus) = &report.versus else {
        all.extend(run(tables)?);
        return Ok(all);
    };
    let runs = [
        ("", ", before", tables),
        ("after-", ", after", &versus.tables),
    ];
    for (prefix, suffix, tables) in runs {
        for mut section in run(tables)? {
            section.name.insert_str(0, prefix);
            section.heading.push_str(suffix);
            section.table.caption.push_str(suffix);
            for picture in &mut section.pictures {
                picture.name.insert_str(0, prefix);
                picture.title.push_str(suffix);
            }
            all.push(section);
        }
    }
    Ok(all)
}

/// The sections of one run.
fn run(tables: &Tables) -> Result<Vec<Section>, DrawError> {
    let mut all = Vec::new();
    let mut add = |name: &str, heading: &str, pictures: Vec<Option<Picture>>, table: Table| {
        if !table.rows.is_empty() {
            all.push(Section {
                name: name.to_owned(),
                heading: heading.to_owned(),
                pictures: pictures.into_iter().flatten().collect(),
                table,
            });
        }
    };
    let over_time = picture::starts_over_time(tables)?;
    add(
        "starts",
        "Starts, by kind and cause",
        vec![over_time],
        starts(tables),
    );
    let mut distributions = Vec::new();
    for of in &tables.distributions {
        distributions.push(picture::distribution(of, title(of.figure))?);
    }
    add(
        "distributions",
        "Distributions",
        distributions,
        summaries(tables),
    );
    let parts = picture::init_parts(tables)?;
    add(
        "parts",
        "The parts of a start",
        vec![parts],
        init_parts(tables),
    );
    let pictures = vec![
        picture::functions_by_wait(tables)?,
        picture::functions_by_share(tables)?,
    ];
    add(
        "functions",
        "Functions",
        pictures,
        functions("Functions", &tables.functions),
    );
    let memory = picture::memory(tables)?;
    add("memory", "Memory", vec![memory], memory_table(tables));
    let versions = picture::versions(tables)?;
    add(
        "versions",
        "Versions",
        vec![versions],
        functions("Versions", &tables.versions),
    );
    let zones = picture::zones(tables)?;
    add(
        "zones",
        "Availability zones",
        vec![zones],
        functions("Zones", &tables.zones),
    );
    Ok(all)
}

fn title(figure: &str) -> &'static str {
    match figure {
        "init_duration" => "Init",
        "restore_duration" => "Restore",
        "first_invocation_duration" => "First invocation",
        "cold_start_duration" => "Init or restore, and the first invocation",
        "exec_to_next_duration" => "From the start of the process to its first request",
        _ => "Memory used by the first invocation",
    }
}

/// Two runs side by side.
fn comparison(
    before: &Tables,
    after: &Tables,
    differences: &[DifferenceRow],
) -> Result<Section, DrawError> {
    let heading = "Ratios after to before, with intervals of 95 %";
    let mut pictures = vec![picture::differences("differences", heading, differences)?];
    for of in &before.distributions {
        if let Some(other) = after
            .distributions
            .iter()
            .find(|other| other.figure == of.figure)
        {
            let title = format!("{}, before and after", title(of.figure));
            pictures.push(picture::two_distributions(of, other, &title)?);
        }
    }
    Ok(Section {
        name: "comparison".to_owned(),
        heading: "Before and after".to_owned(),
        pictures: pictures.into_iter().flatten().collect(),
        table: differences_table(
            "Figures before and after, with intervals of 95 % by a bootstrap",
            differences,
        ),
    })
}

/// The programs that the emulator measured, beside the first one.
fn programs(rows: &[DifferenceRow]) -> Result<Section, DrawError> {
    let heading = "Ratios of medians to the first program, with intervals of 95 %";
    let picture = picture::differences("programs-compared", heading, rows)?;
    Ok(Section {
        name: "programs".to_owned(),
        heading: "Programs, beside the first one".to_owned(),
        pictures: picture.into_iter().collect(),
        table: differences_table(
            "Medians of the first program, before, and of each other one, after",
            rows,
        ),
    })
}

fn differences_table(caption: &str, differences: &[DifferenceRow]) -> Table {
    let rows = differences.iter().map(|row| {
        let of = &row.difference;
        let value = |value| with_unit(value, row.unit);
        let verdict = match (row.is_significant, of.difference < 0.0) {
            (false, _) => "no difference is sure",
            (true, true) => "less",
            (true, false) => "more",
        };
        vec![
            row.label(),
            value(of.before),
            value(of.after),
            format!("{:.3}", of.ratio),
            format!("{:.3} to {:.3}", of.ratio_low, of.ratio_high),
            verdict.to_owned(),
        ]
    });
    Table {
        caption: caption.to_owned(),
        head: vec!["Figure", "Before", "After", "Ratio", "Interval", "Verdict"],
        rows: rows.collect(),
    }
}

fn ms(value: Option<f64>) -> String {
    value.map_or_else(String::new, picture::duration)
}

fn starts(tables: &Tables) -> Table {
    let rows = tables.starts.iter().map(|row| {
        vec![
            format!("{}, {}", row.cause, row.cold_start_kind).replace('_', " "),
            grouped(row.environment_starts),
            grouped(row.inferred),
            ms(row.init_ms.p50),
            ms(row.init_ms.p99),
            picture::duration(row.wait_ms),
            row.busy.p50.map_or_else(String::new, short),
            ms(row.idle_ms.p50),
        ]
    });
    Table {
        caption:
            "Starts by cause and kind. Busy: invocations that ran in other environments, median. \
                  Idle: for how long nobody had used the version, median"
                .to_owned(),
        head: vec![
            "Cause, kind",
            "Starts",
            "Cause inferred",
            "Init p50",
            "Init p99",
            "Waited",
            "Busy",
            "Idle",
        ],
        rows: rows.collect(),
    }
}

fn summaries(tables: &Tables) -> Table {
    let rows = tables.distributions.iter().map(|of| {
        let value =
            |value: Option<f64>| value.map_or_else(String::new, |value| with_unit(value, of.unit));
        let Summary {
            count,
            mean,
            min,
            p50,
            p90,
            p95,
            p99,
            max,
            ..
        } = of.summary;
        let mut row = vec![title(of.figure).to_owned(), grouped(count)];
        row.extend([mean, min, p50, p90, p95, p99, max].map(value));
        row
    });
    Table {
        caption: "Distributions of the figures of all starts".to_owned(),
        head: vec![
            "Figure", "Count", "Mean", "Least", "p50", "p90", "p95", "p99", "Most",
        ],
        rows: rows.collect(),
    }
}

fn init_parts(tables: &Tables) -> Table {
    let rows = tables.init_parts.iter().map(|of| {
        let Summary {
            count,
            p50,
            p90,
            p99,
            ..
        } = of.duration_ms;
        let mut row = vec![of.part.to_owned(), grouped(count)];
        row.extend([p50, p90, p99].map(ms));
        row
    });
    Table {
        caption: "The parts of the starts of which they are known, in their order".to_owned(),
        head: vec!["Part", "Starts", "p50", "p90", "p99"],
        rows: rows.collect(),
    }
}

fn functions(caption: &str, all: &[FunctionRow]) -> Table {
    let rows = all.iter().map(|row| {
        let names = [
            Some(row.function_name.as_str()).filter(|name| !name.is_empty()),
            row.function_version.as_deref(),
            row.availability_zone.as_deref(),
        ];
        let names: Vec<&str> = names.into_iter().flatten().collect();
        vec![
            names.join(" "),
            grouped(row.invocations),
            grouped(row.failed_invocations),
            grouped(row.environment_starts),
            grouped(row.cold_starts),
            row.cold_start_share.map_or_else(String::new, percent),
            picture::duration(row.wait_ms),
            ms(row.init_ms.p50),
            ms(row.init_ms.p99),
            ms(row.first_invocation_ms.p50),
        ]
    });
    Table {
        caption: format!("{caption}, with the time that invocations waited for starts"),
        head: vec![
            "Name",
            "Invocations",
            "Failed",
            "Starts",
            "Cold starts",
            "Share",
            "Waited",
            "Init p50",
            "Init p99",
            "First p50",
        ],
        rows: rows.collect(),
    }
}

fn memory_table(tables: &Tables) -> Table {
    let known = tables
        .functions
        .iter()
        .filter(|row| row.memory_used_mb.count != 0);
    let mb = |value: Option<f64>| value.map_or_else(String::new, |mb| format!("{} MB", short(mb)));
    let rows = known.map(|row| {
        let Summary { p50, max, .. } = row.memory_used_mb;
        vec![
            row.function_name.clone(),
            mb(row.memory_size_mb),
            mb(p50),
            mb(max),
        ]
    });
    Table {
        caption: "Memory: configured, used by an environment at the median, and at most".to_owned(),
        head: vec!["Function", "Configured", "Used, p50", "Used, most"],
        rows: rows.collect(),
    }
}

impl Table {
    /// Behind its picture it is folded.
    fn html(&self, is_open: bool) -> String {
        let head = self.head.iter();
        let head: String = head
            .map(|name| format!("<th scope=\"col\">{name}</th>"))
            .collect();
        let rows = self.rows.iter().take(ROWS_MAX).map(|row| {
            let cells = row.iter().enumerate().map(|(at, cell)| {
                let cell = escaped(cell);
                if at == 0 {
                    format!("<th scope=\"row\">{cell}</th>")
                } else {
                    format!("<td>{cell}</td>")
                }
            });
            format!("<tr>{}</tr>\n", cells.collect::<String>())
        });
        let rows: String = rows.collect();
        let caption = escaped(&self.caption);
        let more = if ROWS_MAX < self.rows.len() {
            let more = grouped((self.rows.len() - ROWS_MAX) as u64);
            format!("<p>{more} more rows are in the JSON.</p>\n")
        } else {
            String::new()
        };
        let open = if is_open { " open" } else { "" };
        format!(
            "<details{open}>\n<summary>The numbers as a table ({})</summary>\n\
             <div class=\"wide\" role=\"group\" tabindex=\"0\" aria-label=\"{caption}\">\n<table>\n\
             <caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n\
             </table>\n</div>\n{more}</details>\n",
            counted(self.rows.len() as u64, "row")
        )
    }
}
