//! Elements of a picture, written one after another.

use std::fmt::Write as _;

use super::INK;

/// Where a text is held.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// How a text looks.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub size: u32,
    pub colour: &'static str,
    pub anchor: Anchor,
    pub bold: bool,
}

impl Style {
    /// Labels of axes and series.
    pub(super) const LABEL: Self = Self { size: 13, colour: INK, anchor: Anchor::Start, bold: false };

    pub(super) fn anchored(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }
}

/// A picture being written.
pub(super) struct Svg {
    text: String,
}

impl Svg {
    /// A white picture of that size, with a title for those who hear it.
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif\" role=\"img\">\n\
             <title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#FFFFFF\"/>\n",
            escaped(title)
        );
        Self { text }
    }

    /// Appends an element as it stands.
    fn element(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{element}"); // a String takes everything
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.element(format_args!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {stroke}/>"));
    }

    pub(super) fn rect(&mut self, corner: (f64, f64), size: (f64, f64), paint: &str) {
        let ((x, y), (width, height)) = (corner, size);
        self.element(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {paint}/>"
        ));
    }

    pub(super) fn circle(&mut self, (x, y): (f64, f64), radius: f64, colour: &str) {
        self.element(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{colour}\" stroke=\"#FFFFFF\" stroke-width=\"0.8\"/>"
        ));
    }

    /// A line through all points; those that lie on the one before are left out.
    pub(super) fn path(&mut self, points: impl IntoIterator<Item = (f64, f64)>, colour: &str) {
        let mut data = String::new();
        let mut last: Option<(f64, f64)> = None;
        let mut skipped = None;
        for (x, y) in points {
            if last.is_some_and(|(u, v)| (x - u).abs() < 0.3 && (y - v).abs() < 0.3) {
                skipped = Some((x, y));
                continue;
            }
            let _ = write!(data, "{}{x:.1} {y:.1}", if last.is_some() { "L" } else { "M" });
            (last, skipped) = (Some((x, y)), None);
        }
        if let Some((x, y)) = skipped {
            let _ = write!(data, "L{x:.1} {y:.1}");
        }
        self.element(format_args!(
            "<path d=\"{data}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linejoin=\"round\"/>"
        ));
    }

    pub(super) fn text(&mut self, (x, y): (f64, f64), text: &str, style: Style) {
        let Style { size, colour, anchor, bold } = style;
        let weight = if bold { " font-weight=\"bold\"" } else { "" };
        self.element(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\" text-anchor=\"{}\"{weight}>{}</text>",
            anchor.name(),
            escaped(text)
        ));
    }

    /// A text that is read from below.
    pub(super) fn upright(&mut self, (x, y): (f64, f64), text: &str, style: Style) {
        self.element(format_args!("<g transform=\"translate({x:.1} {y:.1}) rotate(-90)\">"));
        self.text((0.0, 0.0), text, style);
        self.element(format_args!("</g>"));
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

/// Text in which nothing is a tag. Control characters, which XML does not take, become spaces.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// About how wide a text is: digits and small letters are half as wide as they are high.
pub(super) fn width(text: &str, size: u32) -> f64 {
    text.chars().count() as f64 * f64::from(size) * 0.55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_become_a_tag() {
        assert_eq!(escaped("a<b> & \"c\"\u{7}"), "a&lt;b&gt; &amp; &quot;c&quot; ");
    }

    #[test]
    fn a_path_keeps_its_ends_and_leaves_out_what_cannot_be_seen() {
        let mut svg = Svg::new(10.0, 10.0, "");
        svg.path((0..=1000).map(|x| (f64::from(x) / 100.0, 1.0)), "#000000");
        let text = svg.finish();
        assert!(text.contains("M0.0 1.0L0.3 1.0") && text.contains("L10.0 1.0\""), "{text}");
        assert!(text.matches('L').count() < 40, "{text}");
    }
}
