//! A build without libtorch: it runs bundles that need none.

use super::{BareProducts, DeviceSummary, Devices, Model};
use crate::config;
use crate::device::attention::Chosen;
use crate::error::{Error, Fault, Result};
use crate::model::schema::shapes::{Arithmetic, Shape};
use crate::units::Precision;

fn absent() -> Error {
    Error::new(
        Fault::DeviceUnavailable,
        "this build of virnucpro has no libtorch, which the encoders of this bundle need",
    )
    .advice("install the full build: cargo build --release with the default features")
}

pub fn version() -> Option<&'static str> {
    None
}

pub fn places(_: &config::Compute) -> Result<DeviceSummary> {
    Err(absent())
}

pub fn precision(_: &config::Compute) -> Result<Precision> {
    Err(absent())
}

pub fn attention(_: &Model<'_>, _: &config::Compute) -> Result<Chosen> {
    Err(absent())
}

pub fn lanes(_: &Model<'_>, _: &config::Compute) -> Result<Devices> {
    Err(absent())
}

pub fn shape(_: &Model<'_>) -> Result<Shape> {
    Err(absent())
}

pub fn bare_products(_: &Arithmetic, _: usize, _: &config::Compute) -> Result<BareProducts> {
    Err(absent())
}
