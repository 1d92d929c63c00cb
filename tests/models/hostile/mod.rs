//! Weights files made to do harm. Nothing is executed or loops or takes memory out of proportion: each file is
//! refused with a fault of bad models, or read as what it is.

mod attacks;
mod bombs;
mod contradictions;
mod damage;

use std::path::Path;

use virnucpro::error::{Error, Result};
use virnucpro::weights::{ModelBytes, TensorInfo, TensorSource, read};

use crate::support::torch_files::*;

/// Name, format and values of every tensor.
type Content = Vec<(TensorInfo, Vec<u8>)>;

fn content(source: &dyn TensorSource) -> Result<Content> {
    let tensors = source.tensors().iter().enumerate();
    tensors.map(|(index, tensor)| Ok((tensor.clone(), source.bytes(index)?.into_owned()))).collect()
}

/// What a file holds. Whatever it is, an error has the exit code of bad models, and values have the size of their shape.
#[track_caller]
fn try_read(file: &[u8]) -> Result<Content> {
    let content = read(ModelBytes::from(file.to_vec()), Path::new("model.pt")).and_then(|source| content(&*source));
    match &content {
        Err(error) => assert_eq!(error.fault().exit_code(), 78, "{}", error.report("read")),
        Ok(content) => {
            for (tensor, bytes) in content {
                let numbers: usize = tensor.shape.iter().product();
                assert_eq!(bytes.len(), numbers * tensor.dtype.bitsize() / 8, "{tensor:?}");
            }
        }
    }
    content
}

#[track_caller]
fn refusal(file: &[u8]) -> Error {
    match try_read(file) {
        Err(error) => error,
        Ok(content) => panic!("{} tensors are read", content.len()),
    }
}

/// A value as the model of an archive.
fn model(value: Expr) -> Vec<u8> {
    archive(&pickle(value), &[("0", numbers(12))])
}

fn state() -> Expr {
    dict(&[("x", floats("0", 12))])
}
