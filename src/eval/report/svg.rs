//! Plots as SVG: with the page's colours inside a report, with colours of their own as files.

use std::fmt::Write;

use super::html::escape;
use super::plot::{COLOURS, DASHES, HEIGHT, Plot, WIDTH};

/// Where the drawing will stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the report, whose style sheet knows the classes.
    Page,
    /// In a file of its own, on white, for a paper.
    File,
}

/// Style of a plot that stands alone.
fn own_style() -> String {
    let mut style = String::from(
        "text{font-family:Helvetica,Arial,sans-serif;font-size:11px;fill:#222}.title{font-size:13px;font-weight:600}\
         .axis{stroke:#444;fill:none}.grid{stroke:#ddd}.mark{stroke:#444;stroke-dasharray:3 3}",
    );
    for (i, [r, g, b]) in COLOURS.iter().enumerate() {
        let _ = write!(style, ".s{i}{{stroke:rgb({r},{g},{b})}}.f{i}{{fill:rgb({r},{g},{b})}}");
    }
    style
}

/// The drawing.
pub fn draw(plot: &Plot, place: Place) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(&mut out, plot, place);
    out
}

fn write_all(out: &mut String, plot: &Plot, place: Place) -> std::fmt::Result {
    let [left, top, right, bottom] = Plot::frame();
    let name = escape(&plot.title);
    write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}""#
    )?;
    match place {
        Place::Page => write!(out, r#" class="plot">"#)?,
        Place::File => {
            write!(out, r#" width="{WIDTH}" height="{HEIGHT}"><style>{}</style>"#, own_style())?;
            write!(out, r##"<rect width="100%" height="100%" fill="#fff"/>"##)?;
        }
    }
    write!(out, r#"<text class="title" x="{left}" y="18">{name}</text>"#)?;
    for (value, label) in plot.x.ticks() {
        let (x, _) = plot.at((value, plot.y.low));
        write!(out, r#"<line class="grid" x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{bottom}"/>"#)?;
        write!(out, r#"<text x="{x:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#, bottom + 15.0)?;
    }
    for (value, label) in plot.y.ticks() {
        let (_, y) = plot.at((plot.x.low, value));
        write!(out, r#"<line class="grid" x1="{left}" y1="{y:.1}" x2="{right}" y2="{y:.1}"/>"#)?;
        write!(out, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#, left - 6.0, y + 4.0)?;
    }
    let middle = (left + right) / 2.0;
    let (x_label, y_label) = (escape(&plot.x.label), escape(&plot.y.label));
    write!(out, r#"<text x="{middle:.1}" y="{:.1}" text-anchor="middle">{x_label}</text>"#, HEIGHT - 10.0)?;
    let centre = (top + bottom) / 2.0;
    write!(
        out,
        r#"<text transform="translate(13 {centre:.1}) rotate(-90)" text-anchor="middle">{y_label}</text>"#
    )?;
    for series in &plot.series {
        let mut path = String::new();
        for (i, (x, y)) in plot.outline(series).iter().enumerate() {
            write!(path, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' })?;
        }
        let style = series.style % COLOURS.len();
        if series.filled {
            write!(
                out,
                r#"<path class="s{style} f{style}" d="{path}Z" fill-opacity="0.3" stroke-width="1.5"/>"#
            )?;
        } else {
            let dashes = dash_array(style);
            write!(
                out,
                r#"<path class="s{style}" d="{path}" fill="none" stroke-width="1.8" stroke-linejoin="round"{dashes}/>"#
            )?;
        }
    }
    if let Some((value, label)) = &plot.mark {
        let (x, _) = plot.at((*value, plot.y.low));
        write!(out, r#"<line class="mark" x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{bottom}"/>"#)?;
        let right_half = x > middle;
        let (at, anchor) = if right_half { (x - 4.0, "end") } else { (x + 4.0, "start") };
        write!(
            out,
            r#"<text x="{at:.1}" y="{:.1}" text-anchor="{anchor}">{}</text>"#,
            top + 12.0,
            escape(label)
        )?;
    }
    write!(out, r#"<path class="axis" fill="none" d="M{left} {top}V{bottom}H{right}"/>"#)?;
    legend(out, plot)?;
    write!(out, "</svg>")
}

/// Names with a piece of their line, in a row above the axes, right-aligned.
fn legend(out: &mut String, plot: &Plot) -> std::fmt::Result {
    let [_, top, right, _] = Plot::frame();
    let mut x = right;
    for series in plot.series.iter().rev().filter(|series| !series.name.is_empty()) {
        // A sans-serif letter is about 5.6 units wide at this size.
        let width = 5.6 * series.name.chars().count() as f64;
        x -= width;
        let (style, y) = (series.style % COLOURS.len(), top - 11.0);
        write!(out, r#"<text x="{x:.1}" y="{:.1}">{}</text>"#, y + 4.0, escape(&series.name))?;
        x -= 26.0;
        let dashes = if series.filled { String::new() } else { dash_array(style) };
        write!(
            out,
            r#"<line class="s{style}" x1="{x:.1}" y1="{y}" x2="{:.1}" y2="{y}" stroke-width="2.4"{dashes}/>"#,
            x + 22.0
        )?;
        x -= 12.0;
    }
    Ok(())
}

fn dash_array(style: usize) -> String {
    match DASHES[style] {
        [] => String::new(),
        dashes => {
            let lengths: Vec<String> = dashes.iter().map(ToString::to_string).collect();
            format!(r#" stroke-dasharray="{}""#, lengths.join(" "))
        }
    }
}
