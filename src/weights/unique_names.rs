//! JSON objects with an entry per tensor. JSON lets a name appear twice and parsers take either entry; here it is an
//! error.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use crate::error::printable;

/// The most tensors of one file.
const MAX_TENSORS: usize = 100_000;

/// Values by name, each name once.
#[derive(Debug)]
pub(super) struct UniqueNames<V>(pub(super) BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueNames<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

struct Entries<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
    type Value = UniqueNames<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an entry per tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueNames<V>, A::Error> {
        let mut names = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, V>()? {
            if names.len() >= MAX_TENSORS {
                return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
            }
            match names.entry(name) {
                Entry::Vacant(entry) => drop(entry.insert(value)),
                Entry::Occupied(entry) => {
                    return Err(A::Error::custom(format!("the name {} appears twice", printable(entry.key(), 200))));
                }
            }
        }
        Ok(UniqueNames(names))
    }
}
