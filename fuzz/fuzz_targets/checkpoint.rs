//! Any bytes as a checkpoint: refused with a fault of bad models, or tensors whose values have the size of their shape.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use virnucpro::checkpoint::{ModelBytes, read};

fuzz_target!(|bytes: &[u8]| {
    let source = match read(ModelBytes::from(bytes.to_vec()), Path::new("model.pt")) {
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
