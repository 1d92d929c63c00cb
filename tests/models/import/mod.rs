//! `models import`: which files it takes, what it makes of them, and what it refuses.

mod asked;
mod choices;
mod encodings;
mod golden;
mod hostile;
mod memory;
mod places;
mod published;
#[cfg(feature = "torch")]
mod vectors;
