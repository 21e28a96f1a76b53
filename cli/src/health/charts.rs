//! Charts as SVG: a line over time, and bars.
//!
//! In: numbers with what they are called. Out: an `<svg>` that takes its colours from the page. Each point and bar has a
//! `<title>`, which a browser shows beside the pointer.

use std::fmt::Write as _;

use super::words::{clock, escaped, short};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 190.0;
/// Room for the numbers on the left, and for the names below.
const LEFT: f64 = 56.0;
const BELOW: f64 = 24.0;
const TOP: f64 = 16.0;
/// Of a line, at most so many points are drawn.
const MAX_POINTS: usize = 400;

/// A number at a time in milliseconds.
pub(super) type Point = (i64, f64);

/// A line over time, filled below. Empty without two points.
pub(super) fn line(points: &[Point], unit: &str) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    if points.len() < 2 || last.0 <= first.0 {
        return String::new();
    }
    let step = points.len().div_ceil(MAX_POINTS);
    let shown: Vec<Point> =
        points.iter().enumerate().filter(|(at, _)| at % step == 0).map(|(_, point)| *point).collect();
    let shown: Vec<Point> = shown.into_iter().filter(|point| point.0 < last.0).chain([*last]).collect();
    let top = nice(shown.iter().map(|point| point.1).fold(0.0, f64::max));
    let x = |time: i64| LEFT + (WIDTH - LEFT - 8.0) * (time - first.0) as f64 / (last.0 - first.0) as f64;
    let y = |value: f64| TOP + (HEIGHT - TOP - BELOW) * (1.0 - value / top);
    let mut svg = begin(top, unit);
    let mut path = String::new();
    for (at, (time, value)) in shown.iter().enumerate() {
        let command = if at == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{command}{:.1} {:.1}", x(*time), y(*value));
    }
    let bottom = y(0.0);
    let _ = write!(
        svg,
        r#"<path class="area" d="{path}L{:.1} {bottom:.1}L{:.1} {bottom:.1}Z"/>"#,
        x(last.0),
        x(first.0)
    );
    let _ = write!(svg, r#"<path class="line" d="{path}"/>"#);
    for (time, value) in &shown {
        let (cx, cy, when, value) = (x(*time), y(*value), clock(*time), short(*value));
        let _ = write!(
            svg,
            r#"<circle class="point" cx="{cx:.1}" cy="{cy:.1}" r="4"><title>{when}: {value} {unit}</title></circle>"#
        );
    }
    for (time, anchor) in [(first.0, "start"), (last.0, "end")] {
        let when = clock(time);
        let when = when.get(..16).unwrap_or(&when).replace('T', " ");
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="{anchor}">{when}</text>"#,
            x(time),
            HEIGHT - 6.0
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Upright bars with a name each.
pub(super) fn bars(bars: &[(String, f64)], unit: &str) -> String {
    let top = nice(bars.iter().map(|bar| bar.1).fold(0.0, f64::max));
    let mut svg = begin(top, unit);
    let slot = (WIDTH - LEFT - 8.0) / bars.len().max(1) as f64;
    let full = HEIGHT - TOP - BELOW;
    for (at, (name, value)) in bars.iter().enumerate() {
        let (x, height) = (LEFT + slot * at as f64, full * value / top);
        let (y, name, shown) = (TOP + full - height, escaped(name), short(*value));
        let width = (slot - 6.0).max(1.0);
        let _ = write!(
            svg,
            r#"<rect class="bar" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="3"><title>{name}: {shown} {unit}</title></rect>"#
        );
        let middle = x + width / 2.0;
        if *value > 0.0 {
            let above = (y - 4.0).max(TOP + 2.0);
            let _ = write!(
                svg,
                r#"<text class="value" x="{middle:.1}" y="{above:.1}" text-anchor="middle">{shown}</text>"#
            );
        }
        let _ = write!(
            svg,
            r#"<text x="{middle:.1}" y="{:.1}" text-anchor="middle">{name}</text>"#,
            HEIGHT - 6.0
        );
    }
    svg.push_str("</svg>");
    svg
}

/// The frame of a chart whose numbers go up to `top`.
fn begin(top: f64, unit: &str) -> String {
    let mut svg = format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{unit}">"#);
    for step in 0..=2 {
        let value = top * f64::from(step) / 2.0;
        let y = TOP + (HEIGHT - TOP - BELOW) * (1.0 - f64::from(step) / 2.0);
        let (end, label) = (WIDTH - 8.0, short(value));
        let _ = write!(svg, r#"<line class="grid" x1="{LEFT}" x2="{end}" y1="{y:.1}" y2="{y:.1}"/>"#);
        let _ =
            write!(svg, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#, LEFT - 8.0, y + 4.0);
    }
    svg
}

/// The least of 1, 2 and 5 times a power of ten that is not below `most`.
fn nice(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(most.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|top| *top >= most).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number() {
        for (most, top) in [(0.0, 1.0), (1.0, 1.0), (3.0, 5.0), (70.0, 100.0), (1001.0, 2000.0)] {
            assert!((nice(most) - top).abs() < 1e-9, "{most}");
        }
    }

    #[test]
    fn a_long_line_is_thinned_and_keeps_its_end() {
        let points: Vec<Point> = (0..10_000).map(|at| (at * 60_000, at as f64)).collect();
        let svg = line(&points, "rows");
        assert!(svg.matches("<circle").count() <= MAX_POINTS + 1);
        assert!(svg.contains(&format!("{}: 9999 rows", clock(9_999 * 60_000))));
        assert_eq!(line(&points[..1], "rows"), "");
    }
}
