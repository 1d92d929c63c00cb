//! A checked model into the folder of a bundle.

use std::collections::BTreeMap;

use super::Step;
use super::convert;
use super::model::CheckedModel;
use crate::bundle::spec::FileRecord;
use crate::error::{Error, Fault, Result};
use crate::fs::digest::Sha256;
use crate::fs::{FileWriter, StagedFolder};
use crate::weights::TensorInfo;

/// Bytes that are checked, converted and written in one go: few enough to stay in a processor's cache meanwhile.
const PIECE: usize = 1 << 20;

impl CheckedModel<'_> {
    /// Writes the files of the model. `proceed` is called throughout with the progress; its error ends the work.
    ///
    /// # Errors
    /// [`Fault::ModelNonFinite`](crate::error::Fault::ModelNonFinite) for values that the schema does not allow, or that the
    /// number format asked for cannot hold; those of reading, of writing and of `proceed`.
    pub(super) fn write(
        &self,
        folder: &mut StagedFolder,
        proceed: &dyn Fn(Step) -> Result<()>,
    ) -> Result<BTreeMap<String, FileRecord>> {
        let (component, total) = (self.source.component, self.layout.bytes());
        let mut records = BTreeMap::new();
        for (name, content) in &self.description.beside {
            let path = component.file(name);
            let (bytes, sha256) = folder.write(&path, |out| out.append(content))?;
            records.insert(path, FileRecord { bytes, sha256 });
        }
        let (bytes, sha256) = folder.write(&component.weights(), |out| {
            self.layout.write(out, |tensor, out| {
                self.write_values(tensor, out, &|written| proceed(Step { component, written, total }))
            })
        })?;
        records.insert(component.weights(), FileRecord { bytes, sha256 });
        Ok(records)
    }

    fn write_values(
        &self,
        target: &TensorInfo,
        out: &mut FileWriter<Sha256>,
        proceed: &dyn Fn(u64) -> Result<()>,
    ) -> Result<()> {
        let Some(spec) = self.description.schema.get(&target.name) else {
            return Err(Error::new(Fault::Bug, "a tensor is written that the schema lacks").record(&target.name));
        };
        self.tensors.with_values(&target.name, |stored, values| {
            let format = format!("{:?}", target.dtype).to_lowercase();
            let refused = |piece: usize, (place, value): (usize, f64)| {
                let place = piece * PIECE * 8 / stored.dtype.bitsize() + place;
                spec.refuse(value, &format, stored, place).file(self.source.weights.path())
            };
            for (piece, bytes) in values.chunks(PIECE).enumerate() {
                proceed(out.bytes())?;
                let converted = convert::convert(bytes, stored.dtype, target.dtype);
                out.append(&converted.map_err(|wrong| refused(piece, wrong))?)?;
                if spec.is_variance
                    && let Some(wrong) = convert::first_below_zero(bytes, stored.dtype)
                {
                    return Err(refused(piece, wrong));
                }
            }
            Ok(())
        })
    }
}
