//! A build without libtorch: it runs mock bundles only.

use super::{BareProducts, DeviceSummary, Devices, Model};
use crate::bundle::Bundle;
use crate::config;
use crate::device::attention::Chosen;
use crate::error::{Error, Fault, Result};
use crate::model::Head;
use crate::model::schema::shapes::{Arithmetic, Shape};
use crate::units::Precision;

fn absent() -> Error {
    Error::new(Fault::DeviceUnavailable, "this build of virnucpro has no libtorch and runs mock bundles only")
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

pub fn head(_: &Bundle, _: &config::Compute) -> Result<Box<dyn Head>> {
    Err(absent())
}

pub fn shape(_: &Model<'_>) -> Result<Shape> {
    Err(absent())
}

pub fn bare_products(_: &Arithmetic, _: usize, _: &config::Compute) -> Result<BareProducts> {
    Err(absent())
}
