//! What all Parquet files of this program share: they appear whole, and say where they come from.

use std::collections::BTreeMap;
use std::path::Path;

use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowWriter, encode_arrow_schema};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterPropertiesBuilder;

use crate::error::{Error, Fault, Result};
use crate::fs::AtomicFile;

/// Prefix of the keys of this program in the file metadata.
pub const KEY_PREFIX: &str = "virnucpro.";

/// Keys of what proves a file's rows without a manifest: length and digest of all bytes before the metadata.
pub const DATA_BYTES: &str = "data_bytes";
/// See [`DATA_BYTES`].
pub const DATA_BLAKE3: &str = "data_blake3";

/// Starts a file that will be `path`.
///
/// # Errors
/// The folder cannot be written to.
pub fn start(path: &Path, schema: &SchemaRef, properties: WriterPropertiesBuilder) -> Result<ArrowWriter<AtomicFile>> {
    let properties = properties.set_created_by(concat!("virnucpro ", env!("CARGO_PKG_VERSION")).to_owned()).build();
    // The Arrow schema carries the metadata, which is known in the end.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let file = AtomicFile::create(path)?;
    ArrowWriter::try_new_with_options(file, schema.clone(), options).map_err(|error| unwritten(path, error))
}

/// Ends the file, which has no name yet. `metadata` stands in it under `virnucpro.*` twice: as metadata of the file, and of
/// its Arrow schema, where readers of Arrow look.
///
/// # Errors
/// The file cannot be written.
pub fn finish(
    mut writer: ArrowWriter<AtomicFile>,
    schema: &Schema,
    metadata: &BTreeMap<String, String>,
) -> Result<AtomicFile> {
    let path = writer.inner().path().to_owned();
    writer.flush().map_err(|error| unwritten(&path, error))?;
    writer.sync().map_err(|error| Error::writing(&path, error))?;
    let data = writer.inner_mut().digest_so_far()?;
    let proof = [(DATA_BYTES.to_owned(), data.bytes.to_string()), (DATA_BLAKE3.to_owned(), data.blake3)];
    let keyed = metadata.clone().into_iter().chain(proof).map(|(key, value)| (format!("{KEY_PREFIX}{key}"), value));
    let keyed: BTreeMap<String, String> = keyed.collect();
    let described = schema.clone().with_metadata(keyed.clone());
    let schema = KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(&described));
    writer.append_key_value_metadata(schema);
    for (key, value) in keyed {
        writer.append_key_value_metadata(KeyValue::new(key, value));
    }
    writer.into_inner().map_err(|error| unwritten(&path, error))
}

/// What kept a file from being written.
pub fn unwritten(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(error) => Error::writing(path, *error),
            Err(source) => Error::new(Fault::Write, format!("cannot write {}", path.display())).caused_by(source),
        },
        error => Error::new(Fault::Write, format!("cannot write {}", path.display())).file(path).caused_by(error),
    }
}
