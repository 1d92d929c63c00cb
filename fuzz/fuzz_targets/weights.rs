//! Any bytes as a weights file: refused with a fault of bad models, or tensors whose values have the size of their shape.
//!
//! Bytes after a `Z` are the pickle of an archive that is made here: mutation would not find a checksum.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use virnucpro::weights::{ModelBytes, read};

#[path = "../../tests/support/torch_files.rs"]
mod torch_files;

fuzz_target!(|bytes: &[u8]| {
    let file = match bytes {
        [b'Z', pickle @ ..] => torch_files::archive(pickle, &[("0", torch_files::numbers(12)), ("1", vec![7; 16])]),
        _ => bytes.to_vec(),
    };
    let source = match read(ModelBytes::from(file), Path::new("model.pt")) {
        Ok(source) => source,
        Err(error) => return assert_eq!(error.fault().exit_code(), 78, "{error}"),
    };
    for (index, tensor) in source.tensors().iter().enumerate() {
        match source.bytes(index) {
            Ok(values) => {
                let numbers: usize = tensor.shape.iter().product();
                assert_eq!(values.len() * 8, numbers * tensor.dtype.bitsize(), "{tensor:?}");
            }
            Err(error) => assert_eq!(error.fault().exit_code(), 78, "{error}"),
        }
    }
});
