//! Any bytes as a `bundle.yaml`: refused with a fault of bad models, or a bundle that is the same when written and read.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use virnucpro::bundle::{BUNDLE_YAML, Spec};

fuzz_target!(|bytes: &[u8]| {
    let file = Path::new(BUNDLE_YAML);
    match Spec::parse(bytes, file) {
        Ok(spec) => {
            let yaml = spec.to_yaml().expect("a bundle that was read can be written");
            assert_eq!(Spec::parse(yaml.as_bytes(), file).ok(), Some(spec), "{yaml}");
        }
        Err(error) => assert_eq!(error.fault().exit_code(), 78, "{error}"),
    }
});
