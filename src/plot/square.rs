//! Curves between 0 and 1 on both axes.

use super::svg::{Anchor, Style, Svg, width};
use super::{COLOURS, GRID, INK, PALE};

const SIDE: f64 = 360.0;
const LEFT: f64 = 62.0;
const TOP: f64 = 52.0;
const RIGHT: f64 = 18.0;
const BELOW: f64 = 50.0;
const LINE: f64 = 18.0;
/// Height of the panel of counts, and the gap above it.
const COUNTS: f64 = 64.0;
const GAP: f64 = 14.0;

/// Corner that the names of the series stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corner {
    /// Lower right.
    LowerRight,
    /// Lower left.
    LowerLeft,
}

/// A curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name, with the number that sums it up.
    pub label: String,
    /// Its points, between 0 and 1.
    pub points: Vec<(f64, f64)>,
    /// What the curve would be of random scores, if that is a level: a dotted line.
    pub floor: Option<f64>,
    /// Items behind each point; they are drawn below the chart.
    pub counts: Vec<u64>,
}

/// A chart of curves between 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub struct SquareChart<'a> {
    /// Heading.
    pub title: &'a str,
    /// What was measured, below the heading.
    pub note: &'a str,
    /// Names of the axes.
    pub axes: [&'a str; 2],
    /// Whether a dashed line leads from corner to corner.
    pub diagonal: bool,
    /// Whether points are marked.
    pub marks: bool,
    /// Where names stand.
    pub names: Corner,
    /// Curves, six at most.
    pub series: Vec<Series>,
}

fn x_of(x: f64) -> f64 {
    LEFT + SIDE * x
}

fn y_of(y: f64) -> f64 {
    TOP + SIDE * (1.0 - y)
}

impl SquareChart<'_> {
    /// The picture.
    pub fn svg(&self) -> String {
        let has_counts = self.series.iter().any(|series| !series.counts.is_empty());
        let bottom = TOP + SIDE + if has_counts { GAP + COUNTS } else { 0.0 };
        let mut svg = Svg::new(LEFT + SIDE + RIGHT, bottom + BELOW, self.title);
        svg.text((16.0, 22.0), self.title, Style { size: 16, bold: true, ..Style::LABEL });
        svg.text((16.0, 40.0), self.note, Style { size: 11, colour: PALE, ..Style::LABEL });
        self.frame(&mut svg, bottom);
        // Below the curves: they may cross its corner.
        self.names(&mut svg);
        for (series, colour) in self.series.iter().zip(COLOURS) {
            if let Some(floor) = series.floor {
                let stroke = format!("stroke=\"{colour}\" stroke-width=\"1.2\" stroke-dasharray=\"1.5 3\"");
                svg.line((x_of(0.0), y_of(floor)), (x_of(1.0), y_of(floor)), &stroke);
            }
            svg.path(series.points.iter().map(|(x, y)| (x_of(*x), y_of(*y))), colour);
            if self.marks {
                series.points.iter().for_each(|(x, y)| svg.circle((x_of(*x), y_of(*y)), 4.0, colour));
            }
        }
        if has_counts {
            self.counts(&mut svg);
        }
        svg.finish()
    }

    fn frame(&self, svg: &mut Svg, bottom: f64) {
        let axis = format!("stroke=\"{INK}\" stroke-width=\"1\"");
        let grid = format!("stroke=\"{GRID}\" stroke-width=\"1\"");
        for fifth in 0..=5 {
            let value = f64::from(fifth) / 5.0;
            let (x, y, text) = (x_of(value), y_of(value), format!("{value:.1}"));
            svg.line((x, y_of(1.0)), (x, y_of(0.0)), &grid);
            svg.line((x_of(0.0), y), (x_of(1.0), y), &grid);
            svg.line((x_of(0.0) - 5.0, y), (x_of(0.0), y), &axis);
            svg.line((x, bottom), (x, bottom + 5.0), &axis);
            svg.text((x_of(0.0) - 9.0, y + 4.5), &text, Style::LABEL.anchored(Anchor::End));
            svg.text((x, bottom + 19.0), &text, Style::LABEL.anchored(Anchor::Middle));
        }
        svg.rect((x_of(0.0), y_of(1.0)), (SIDE, SIDE), &format!("fill=\"none\" {axis}"));
        if self.diagonal {
            let dashes = format!("stroke=\"{PALE}\" stroke-width=\"1.2\" stroke-dasharray=\"5 4\"");
            svg.line((x_of(0.0), y_of(0.0)), (x_of(1.0), y_of(1.0)), &dashes);
        }
        let [x, y] = self.axes;
        let label = Style { size: 14, anchor: Anchor::Middle, ..Style::LABEL };
        svg.text((x_of(0.5), bottom + 40.0), x, label);
        svg.upright((20.0, y_of(0.5)), y, label);
    }

    /// Bars side by side, each series as part of its own largest.
    fn counts(&self, svg: &mut Svg) {
        let base = TOP + SIDE + GAP + COUNTS;
        let slots = self.series.iter().map(|series| series.counts.len()).max().unwrap_or(1).max(1) as f64;
        let (slot, bars) = (SIDE / slots, self.series.len() as f64);
        for (number, (series, colour)) in self.series.iter().zip(COLOURS).enumerate() {
            let most = series.counts.iter().copied().max().unwrap_or(1).max(1) as f64;
            let bar = (slot - 4.0) / bars;
            for (bin, count) in series.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let height = (COUNTS - 4.0) * *count as f64 / most;
                let x = LEFT + slot * bin as f64 + 2.0 + bar * number as f64;
                svg.rect((x, base - height), (bar, height), &format!("fill=\"{colour}\" fill-opacity=\"0.75\""));
            }
        }
        svg.rect((LEFT, base - COUNTS), (SIDE, COUNTS), &format!("fill=\"none\" stroke=\"{INK}\" stroke-width=\"1\""));
        let label = Style { size: 11, anchor: Anchor::Middle, colour: PALE, bold: false };
        svg.upright((LEFT - 12.0, base - COUNTS / 2.0), "number", label);
    }

    fn names(&self, svg: &mut Svg) {
        let widest = self.series.iter().map(|series| width(&series.label, 13)).fold(0.0, f64::max) + 40.0;
        let height = LINE * self.series.len() as f64 + 10.0;
        let margin = 8.0;
        let left = match self.names {
            Corner::LowerRight => x_of(1.0) - margin - widest,
            Corner::LowerLeft => x_of(0.0) + margin,
        };
        let top = y_of(0.0) - margin - height;
        svg.rect((left, top), (widest, height), &format!("fill=\"#FFFFFF\" fill-opacity=\"0.85\" stroke=\"{GRID}\""));
        for (number, (series, colour)) in self.series.iter().zip(COLOURS).enumerate() {
            let y = top + 5.0 + LINE * (number as f64 + 0.5);
            svg.line((left + 7.0, y), (left + 27.0, y), &format!("stroke=\"{colour}\" stroke-width=\"2.5\""));
            svg.text((left + 33.0, y + 4.5), &series.label, Style::LABEL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_holds_its_curves_and_names() {
        let series = |label: &str| Series {
            label: label.to_owned(),
            points: vec![(0.0, 0.0), (0.5, 1.0), (1.0, 1.0)],
            floor: Some(0.25),
            counts: vec![3, 0, 9],
        };
        let chart = SquareChart {
            title: "Curve",
            note: "a <note>",
            axes: ["x & y", "z"],
            diagonal: true,
            marks: true,
            names: Corner::LowerLeft,
            series: vec![series("one"), series("two")],
        };
        let text = chart.svg();
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"), "{text}");
        for part in
            ["M62.0 412.0L242.0 52.0L422.0 52.0", ">one<", ">two<", "a &lt;note&gt;", "x &amp; y", "5 4", "1.5 3"]
        {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
        assert_eq!(text.matches("<circle").count(), 6);
        assert_eq!(text.matches("fill-opacity=\"0.75\"").count(), 4);
    }
}
