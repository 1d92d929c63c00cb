//! Any bytes as a pickle: read or refused, and everything it built looked at.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use virnucpro::weights::pickle::Pickle;

fuzz_target!(|bytes: &[u8]| {
    let Ok(pickle) = Pickle::read(bytes, Path::new("data.pkl")) else { return };
    assert!(pickle.length() <= bytes.len());
    let mut budget = 1_000_000_usize;
    for (id, _) in pickle.values() {
        let _made = pickle.record(id).and_then(|record| pickle.maker(record));
        let most = pickle.most_entries(id);
        if let Some(left) = budget.checked_sub(most) {
            budget = left;
            assert!(pickle.entries(id).is_none_or(|entries| entries.len() <= most));
        }
    }
});
