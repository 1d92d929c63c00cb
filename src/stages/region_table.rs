//! `viral_regions.bed`: windows of each record merged into the stretches that are viral.

use std::io::Write as _;
use std::ops::Range;
use std::path::Path;

use super::verdict::JudgedWindow;
use crate::error::{Error, Result};
use crate::fs::{AtomicFile, FileDigest};
use crate::regions::regions;

/// Name of the table.
pub const REGIONS: &str = "viral_regions.bed";
const HEADER: &str = "#sequence_id\tstart\tend\tname\tscore\tstrand\tmean_p_virus\tn_windows\n";

/// The table on its way: windows of a record first, then the record.
pub struct RegionTable {
    file: AtomicFile,
    cost: f64,
    windows: Vec<Stretch>,
    logits: Vec<Option<f64>>,
    rows: u64,
}

/// A window as far as regions are concerned.
struct Stretch {
    place: Range<u64>,
    p: Option<f64>,
}

impl RegionTable {
    /// Starts the table; `cost` is that of a change between viral and not.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(folder: &Path, cost: f64) -> Result<Self> {
        let file = AtomicFile::create(&folder.join(REGIONS))?;
        let mut table = Self { file, cost, windows: Vec::new(), logits: Vec::new(), rows: 0 };
        table.write(HEADER)?;
        Ok(table)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.file.write_all(text.as_bytes()).map_err(|error| Error::writing(self.file.path(), error))
    }

    /// Takes the next window of the record, with its verdict if it has one.
    pub fn window(&mut self, place: Range<u64>, judged: Option<JudgedWindow>) {
        self.windows.push(Stretch { place, p: judged.map(|window| window.p()) });
        self.logits.push(judged.map(|window| window.logit()));
    }

    /// Writes the regions of the record whose windows were given.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn sequence(&mut self, id: &str) -> Result<()> {
        for (number, region) in (1..).zip(regions(&self.logits, self.cost)) {
            let text = line(id, number, &self.windows[region]);
            self.write(&text)?;
            self.rows += 1;
        }
        self.windows.clear();
        self.logits.clear();
        Ok(())
    }

    /// Regions so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Gives the table its name.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn commit(self) -> Result<FileDigest> {
        self.file.commit()
    }
}

/// A region in the columns of BED, and two more.
fn line(id: &str, number: u64, windows: &[Stretch]) -> String {
    let places = || windows.iter().map(|window| &window.place);
    let start = places().map(|place| place.start).min().unwrap_or_default();
    let end = places().map(|place| place.end).max().unwrap_or_default();
    let scored: Vec<f64> = windows.iter().filter_map(|window| window.p).collect();
    let mean = scored.iter().sum::<f64>() / scored.len() as f64;
    let score = (mean * 1000.0).round();
    format!("{id}\t{start}\t{end}\t{id}_region_{number}\t{score}\t.\t{mean:.4}\t{}\n", scored.len())
}

#[cfg(test)]
mod tests {
    use super::super::verdict::{Judge, WindowScore};
    use super::*;
    use crate::config::CutOffs;
    use crate::model::Score;

    fn judged(virus: f32) -> Option<JudgedWindow> {
        let logit = (virus / (1.0 - virus)).ln();
        let score = WindowScore::of(Score { others: 1.0 - virus, virus, logit });
        Some(Judge { calibration: None, cut_offs: CutOffs::DEFAULT }.window(score, 500))
    }

    #[test]
    fn a_region_has_its_place_its_mean_and_its_scored_windows() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = RegionTable::create(folder.path(), 8.0).unwrap();
        let mut record = |id: &str, windows: &[Option<f32>]| {
            for (number, p) in (0..).zip(windows) {
                table.window(number * 250..number * 250 + 500, p.and_then(judged));
            }
            table.sequence(id).unwrap();
        };
        record("a", &[Some(0.9), None, Some(0.8), None]);
        record("b", &[Some(0.1), Some(0.2)]);
        record("c", &[]);
        let prophage = [[Some(0.02); 10], [Some(0.95); 10], [Some(0.02); 10]].concat();
        record("d", &prophage);
        assert_eq!(table.rows(), 2);
        table.commit().unwrap();
        let text = std::fs::read_to_string(folder.path().join(REGIONS)).unwrap();
        let rows = "a\t0\t1000\ta_region_1\t850\t.\t0.8500\t2\nd\t2500\t5250\td_region_1\t950\t.\t0.9500\t10\n";
        assert_eq!(text, format!("{HEADER}{rows}"));
    }
}
