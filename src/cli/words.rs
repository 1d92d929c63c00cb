//! Values that are words, so that shells can complete them. The help describes them, so it does not list them again.

use std::ffi::OsStr;
use std::marker::PhantomData;
use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, Error};

/// Reads a value as its type does, and names words that it may be; it may be others too.
#[derive(Clone)]
pub struct Words<T> {
    words: &'static [&'static str],
    kind: PhantomData<fn() -> T>,
}

/// A value that may be one of these words.
pub fn words<T>(words: &'static [&'static str]) -> Words<T> {
    Words { words, kind: PhantomData }
}

impl<T> TypedValueParser for Words<T>
where
    T: FromStr + Clone + Send + Sync + 'static,
    T::Err: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Value = T;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let parse = |text: &str| text.parse::<T>();
        TypedValueParser::parse_ref(&parse, command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.words.iter().map(|&word| PossibleValue::new(word))))
    }
}
