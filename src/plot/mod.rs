//! Pictures as SVG: text in, text out. Made to stand in a paper as they are: readable fonts, colours that colour-blind readers
//! tell apart, nothing that moves or loads anything.

mod forest;
mod square;
mod svg;

pub use forest::{Forest, ForestRow};
pub use square::{Corner, Series, SquareChart};

/// Colours of Okabe and Ito (2008), in the order in which series take them.
const COLOURS: [&str; 6] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
/// Axes and text.
const INK: &str = "#222222";
/// What stands back: grid, notes.
const PALE: &str = "#767676";
const GRID: &str = "#E6E6E6";
