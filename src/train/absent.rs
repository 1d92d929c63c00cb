//! A build without libtorch: it trains nothing.

use super::{Member, Training};
use crate::error::{Error, Fault, Result};
use crate::units::DeviceChoice;

/// No place to compute.
pub enum Place {}

impl Place {
    pub fn resolve(_: &DeviceChoice) -> Result<Self> {
        Err(Error::new(Fault::DeviceUnavailable, "this build of virnucpro has no libtorch and cannot train")
            .advice("install the full build: cargo build --release with the default features"))
    }

    pub fn is_gpu(&self) -> bool {
        match *self {}
    }
}

pub fn fit(_: &Training<'_>, _: usize, place: &Place, _: &dyn Fn(u64) -> Result<()>) -> Result<Member> {
    match *place {}
}
