//! What a row of a table is made of. One definition gives its columns as text and as Parquet.

use std::borrow::Cow;

use crate::units::Share;

/// What the cells of a column hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A count or a position.
    Count,
    /// A probability, as the model computes it.
    Score,
    /// A share, with four decimals.
    Share,
}

impl Kind {
    /// The type of such a column in a Parquet file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Count => "int64",
            Self::Score => "float32",
            Self::Share => "float64",
        }
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in the header.
    pub name: &'static str,
    /// What its cells hold.
    pub kind: Kind,
    /// Whether a cell may be empty.
    pub nullable: bool,
}

impl Column {
    /// The column of a field of type `C`.
    pub const fn of<C: Cell>(name: &'static str) -> Self {
        Self { name, kind: C::KIND, nullable: C::NULLABLE }
    }
}

/// What stands in a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing: does not apply.
    Empty,
    /// Text.
    Text(&'a str),
    /// A count or a position.
    Count(u64),
    /// A probability.
    Score(f32),
    /// A share.
    Share(Share),
}

/// A type that fields of rows can have.
pub trait Cell {
    /// What it holds.
    const KIND: Kind;
    /// Whether it may be empty.
    const NULLABLE: bool = false;
    /// Its content.
    fn value(&self) -> Value<'_>;
}

impl Cell for Cow<'_, str> {
    const KIND: Kind = Kind::Text;
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Cell for u64 {
    const KIND: Kind = Kind::Count;
    fn value(&self) -> Value<'_> {
        Value::Count(*self)
    }
}

impl Cell for f32 {
    const KIND: Kind = Kind::Score;
    fn value(&self) -> Value<'_> {
        Value::Score(*self)
    }
}

impl Cell for Share {
    const KIND: Kind = Kind::Share;
    fn value(&self) -> Value<'_> {
        Value::Share(*self)
    }
}

impl<C: Cell> Cell for Option<C> {
    const KIND: Kind = C::KIND;
    const NULLABLE: bool = true;
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Empty, Cell::value)
    }
}

/// A row of a table: a struct with one field per column, made by `table_row!`.
pub trait Row {
    /// Name of the table as text.
    const TSV: &'static str;
    /// Name of the table as Parquet.
    const PARQUET: &'static str;
    /// Its columns, in order.
    const COLUMNS: &'static [Column];
    /// The same row with text that lives for `'a`.
    type With<'a>: Row;

    /// Hands out the cells in order.
    ///
    /// # Errors
    /// The first one of `take`.
    fn cells<E>(&self, take: impl FnMut(Value<'_>) -> Result<(), E>) -> Result<(), E>;
}

/// Makes a struct the row of the table of that name: `struct WindowRow<'a> = "windows" { ... }`.
macro_rules! table_row {
    (
        $(#[$about:meta])*
        pub struct $Row:ident<$text:lifetime> = $name:literal {
            $( $(#[$meaning:meta])* pub $column:ident: $Cell:ty, )*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, serde::Deserialize)]
        pub struct $Row<$text> {
            $( $(#[$meaning])* pub $column: $Cell, )*
        }

        impl<$text> $crate::store::row::Row for $Row<$text> {
            const TSV: &'static str = concat!($name, ".tsv");
            const PARQUET: &'static str = concat!($name, ".parquet");
            const COLUMNS: &'static [$crate::store::row::Column] =
                &[$( $crate::store::row::Column::of::<$Cell>(stringify!($column)) ),*];
            type With<'b> = $Row<'b>;

            fn cells<E>(
                &self,
                mut take: impl FnMut($crate::store::row::Value<'_>) -> Result<(), E>,
            ) -> Result<(), E> {
                $( take($crate::store::row::Cell::value(&self.$column))?; )*
                Ok(())
            }
        }
    };
}

pub(super) use table_row;
