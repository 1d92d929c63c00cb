//! Merged vectors to scores of frames, block by block.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::merge::model_of;
use super::upstream::UpstreamFile;
use super::vector_files::ENCODERS;
use crate::bundle::Bundle;
use crate::config::Side;
use crate::embed::load;
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::model::{Head, Score};
use crate::runtime::interrupt;
use crate::runtime::progress::TaskProgress;
use crate::store::{ModelStamp, VectorBlock, VectorBlocks, VectorReader};

/// Rows scored at a time.
const BLOCK_ROWS: usize = 1024;

/// Refuses vectors of another stage, of other encoders or of another width, and vectors that were computed in several ways.
///
/// # Errors
/// Those, and damaged files.
pub fn check_vectors(merged: &[UpstreamFile], bundle: &Bundle, model: &ModelStamp) -> Result<()> {
    let (width, encoders) = (bundle.spec().merged_dim() as usize, bundle.spec().encoders_digest().to_string());
    let mut computed: Option<String> = None;
    for file in merged {
        let reader = VectorReader::open(&file.path)?;
        let metadata = reader.metadata();
        if let Some(stage) = metadata.get("stage").filter(|stage| *stage != "merge") {
            return Err(Error::new(Fault::InputStage, "these vectors come from the wrong stage")
                .file(&file.path)
                .expected("vectors that `virnucpro merge` wrote")
                .found(format!("vectors that `virnucpro {stage}` wrote"))
                .advice("join both sides with `virnucpro merge` first"));
        }
        if reader.dim() != width {
            return Err(Error::new(Fault::ModelMismatch, "the vectors do not fit the head")
                .file(&file.path)
                .expected(format!("vectors of width {width}, for {}", model.cell()))
                .found(format!("width {}", reader.dim()))
                .advice("give the bundle that the vectors were made with"));
        }
        // Heads are trained on vectors that are there: those of a bundle with the same encoders serve.
        let same = metadata.get(ENCODERS) == Some(&encoders);
        if let Some(made_with) = model_of(&metadata).filter(|found| !same && found != model) {
            return Err(Error::new(Fault::ModelMismatch, "the vectors were made with the encoders of another bundle")
                .file(&file.path)
                .expected(model.cell())
                .found(made_with.cell())
                .advice("use --model with that bundle, or embed again with this one"));
        }
        let format = |(side, title): (Side, &str)| {
            let format = metadata.get(&format!("{}.dtype", load::component(side).key()));
            format!("{title} in {}", format.map_or("unknown", String::as_str))
        };
        let sides = load::sides(bundle).into_iter().map(|side| (side, load::encoder_title(bundle, side)));
        let how = sides.map(format).collect::<Vec<_>>().join(", ");
        if let Some(other) = computed.replace(how.clone()).filter(|other| *other != how) {
            return Err(Error::new(Fault::CheckpointForeign, "the vectors were computed in different number formats")
                .file(&file.path)
                .expected(other)
                .found(how)
                .advice("embed all shards in one number format: give --dtype f32, bf16 or f16"));
        }
    }
    Ok(())
}

/// Scores of all frames, in the order of the windows.
pub trait Scores {
    /// The score of the frame that must come now.
    ///
    /// # Errors
    /// [`Fault::MergeIds`] where another one comes; a file is damaged.
    fn expect(&mut self, id: &str) -> Result<Score>;

    /// Proves that there are no more scores.
    ///
    /// # Errors
    /// [`Fault::MergeIds`] where there are; a file is damaged.
    fn expect_end(&mut self) -> Result<()>;
}

/// Scores of stored vectors. Each merged file is read once, when the frame that it begins with
/// is wanted: files may have any names and come in any order.
pub struct FrameScores<'a> {
    files: &'a [UpstreamFile],
    /// Files that were not opened yet, and those of them that begin with an id.
    left: BTreeSet<usize>,
    beginning_with: HashMap<String, usize>,
    open: Option<(usize, VectorBlocks)>,
    head: Box<dyn Head>,
    ready: VecDeque<(String, Score)>,
    /// Digests of the files that were read to their end.
    digests: BTreeMap<usize, FileDigest>,
    task: &'a TaskProgress,
}

impl<'a> FrameScores<'a> {
    /// Of `merged`; no vector is read yet.
    ///
    /// # Errors
    /// A file is damaged.
    pub fn new(files: &'a [UpstreamFile], head: Box<dyn Head>, task: &'a TaskProgress) -> Result<Self> {
        let mut beginning_with = HashMap::new();
        for (number, file) in files.iter().enumerate() {
            let first = VectorReader::open(&file.path).and_then(|reader| reader.first_id());
            beginning_with.extend(first.map_err(|error| file.explain(error))?.map(|id| (id, number)));
        }
        let (left, ready, digests) = ((0..files.len()).collect(), VecDeque::new(), BTreeMap::new());
        Ok(Self { files, left, beginning_with, open: None, head, ready, digests, task })
    }

    /// Digests of the files, all of which were read to their end, in the order in which they were given.
    pub fn digests(&self) -> Vec<FileDigest> {
        self.digests.values().cloned().collect()
    }

    /// The next score of the file that is open, else of the one that begins with `wanted`, else of any.
    fn next(&mut self, wanted: Option<&str>) -> Result<Option<(String, Score)>> {
        while self.ready.is_empty() {
            interrupt::check()?;
            if let Some((number, mut blocks)) = self.open.take() {
                let file = &self.files[number];
                match blocks.next() {
                    Some(block) => {
                        self.score(block).map_err(|error| file.explain(error))?;
                        self.open = Some((number, blocks));
                    }
                    None => {
                        let digest = blocks.finish().map_err(|error| file.explain(error))?;
                        file.prove(&digest)?;
                        self.digests.insert(number, digest);
                    }
                }
                continue;
            }
            let wanted = wanted.and_then(|id| self.beginning_with.get(id).copied());
            let Some(number) = wanted.filter(|number| self.left.contains(number)).or(self.left.first().copied()) else {
                return Ok(None);
            };
            self.left.remove(&number);
            let file = &self.files[number];
            let reader = VectorReader::open(&file.path).map_err(|error| file.explain(error))?;
            self.open = Some((number, reader.into_blocks(BLOCK_ROWS)));
        }
        Ok(self.ready.pop_front())
    }

    fn score(&mut self, block: Result<VectorBlock>) -> Result<()> {
        let block = block?;
        let scores = self.head.score(&block.values)?;
        if scores.len() != block.ids.len() {
            return Err(Error::new(Fault::Count, "the numbers of vectors in and scores out differ"));
        }
        for (id, score) in block.ids.into_iter().zip(scores) {
            if !(score.others.is_finite() && score.virus.is_finite()) {
                return Err(Error::new(Fault::NonFinite, "the head produced a NaN or infinite score").record(id));
            }
            self.ready.push_back((id, score));
        }
        self.task.add(self.ready.len() as u64);
        Ok(())
    }
}

impl Scores for FrameScores<'_> {
    fn expect(&mut self, id: &str) -> Result<Score> {
        let mismatch = |found: String| {
            Error::new(Fault::MergeIds, "the merged vectors do not match the windows")
                .expected(id.to_owned())
                .found(found)
                .advice("give all merged shards of these windows, and the folder of windows they come from")
        };
        match self.next(Some(id))? {
            Some((found, score)) if found == id => Ok(score),
            Some((found, _)) => match &self.open {
                Some((number, _)) => Err(self.files[*number].explain(mismatch(found))),
                None => Err(mismatch(found)),
            },
            None => Err(mismatch("no more vectors".to_owned())),
        }
    }

    fn expect_end(&mut self) -> Result<()> {
        match self.next(None)? {
            None => Ok(()),
            Some((found, _)) => Err(Error::new(Fault::MergeIds, "there are vectors of frames that are in no window")
                .record(found)
                .advice("give the folder of windows that the vectors were made from")),
        }
    }
}
