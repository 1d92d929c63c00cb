//! Numbers with their intervals, one below the other.

use super::svg::{Anchor, Style, Svg, width};
use super::{COLOURS, GRID, INK, PALE};

const ROW: f64 = 24.0;
const TOP: f64 = 58.0;
const SPAN: f64 = 280.0;
const VALUES: f64 = 250.0;

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct ForestRow {
    /// Its name.
    pub label: String,
    /// The number, from 0 to 1.
    pub value: f64,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
    /// What stands behind the number, as a size.
    pub note: String,
    /// Number of the colour: rows of a kind share one.
    pub kind: usize,
}

/// A chart of numbers with intervals.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest<'a> {
    /// Heading.
    pub title: &'a str,
    /// What was measured, below the heading.
    pub note: &'a str,
    /// Name of the axis.
    pub axis: &'a str,
    /// What the rows of each colour are.
    pub kinds: &'a [&'a str],
    /// Rows, from above.
    pub rows: Vec<ForestRow>,
}

impl Forest<'_> {
    /// The picture.
    pub fn svg(&self) -> String {
        let label = |row: &ForestRow| width(&row.label, 13);
        let left = self.rows.iter().map(label).fold(60.0, f64::max).min(280.0) + 24.0;
        let bottom = TOP + ROW * self.rows.len() as f64 + 4.0;
        let mut svg = Svg::new(left + SPAN + VALUES, bottom + 48.0, self.title);
        svg.text((16.0, 22.0), self.title, Style { size: 16, bold: true, ..Style::LABEL });
        svg.text((16.0, 40.0), self.note, Style { size: 11, colour: PALE, ..Style::LABEL });
        let mut x = left + SPAN + 14.0;
        for (kind, name) in
            self.kinds.iter().enumerate().filter(|(kind, _)| self.rows.iter().any(|row| row.kind == *kind))
        {
            svg.circle((x + 5.0, 17.5), 5.0, COLOURS[kind % COLOURS.len()]);
            svg.text((x + 15.0, 22.0), name, Style::LABEL);
            x += 31.0 + width(name, 13);
        }
        let least = self.rows.iter().map(|row| row.interval.map_or(row.value, |(low, _)| low)).fold(0.9, f64::min);
        let from = (least * 10.0).floor().max(0.0) / 10.0;
        let x_of = |value: f64| left + SPAN * (value - from) / (1.0 - from);
        let axis = format!("stroke=\"{INK}\" stroke-width=\"1\"");
        let tenths = (from * 10.0).round() as u32;
        let step = if tenths < 5 { 2 } else { 1 };
        for tenth in (tenths..=10).rev().step_by(step) {
            let value = f64::from(tenth) / 10.0;
            svg.line((x_of(value), TOP), (x_of(value), bottom), &format!("stroke=\"{GRID}\" stroke-width=\"1\""));
            svg.line((x_of(value), bottom), (x_of(value), bottom + 5.0), &axis);
            let text = format!("{value:.1}");
            svg.text((x_of(value), bottom + 19.0), &text, Style::LABEL.anchored(Anchor::Middle));
        }
        svg.line((left, bottom), (left + SPAN, bottom), &axis);
        let name = Style { size: 14, anchor: Anchor::Middle, ..Style::LABEL };
        svg.text((left + SPAN / 2.0, bottom + 39.0), self.axis, name);
        for (number, row) in self.rows.iter().enumerate() {
            let y = TOP + ROW * (number as f64 + 0.5);
            let colour = COLOURS[row.kind % COLOURS.len()];
            svg.text((left - 10.0, y + 4.5), &row.label, Style::LABEL.anchored(Anchor::End));
            if let Some((low, high)) = row.interval {
                svg.line((x_of(low), y), (x_of(high), y), &format!("stroke=\"{colour}\" stroke-width=\"2\""));
            }
            svg.circle((x_of(row.value), y), 5.0, colour);
            let range = row.interval.map(|(low, high)| format!(" ({low:.3}–{high:.3})")).unwrap_or_default();
            svg.text((left + SPAN + 14.0, y + 4.5), &format!("{:.3}{range}", row.value), Style::LABEL);
            let note = Style { size: 11, colour: PALE, anchor: Anchor::End, bold: false };
            svg.text((left + SPAN + VALUES - 8.0, y + 4.0), &row.note, note);
        }
        svg.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_number_and_interval() {
        let row = |label: &str, value, interval| ForestRow {
            label: label.to_owned(),
            value,
            interval,
            note: "9".to_owned(),
            kind: 0,
        };
        let rows = vec![row("phage", 0.8, Some((0.7, 0.875))), row("RNA <x>", 0.95, None)];
        let text = Forest { title: "t", note: "n", axis: "AUROC", kinds: &["viruses", "others"], rows }.svg();
        assert!(!text.contains("others"), "no row is of that kind: {text}");
        for part in [">viruses<", "0.800 (0.700–0.875)", ">0.950<", "RNA &lt;x&gt;", ">0.7<", ">1.0<"] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
        assert_eq!(text.matches("<circle").count(), 3);
    }
}
