//! Decompression that never ends silently early: every member to its checksum, nothing left over.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use super::shared::Shared;
use super::source::Source;
use super::summary::{Compression, Note};
use crate::error::{Error, Fault, Result};

type Compressed = Box<dyn BufRead + Send>;

/// Memory that an xz stream may ask for: its highest preset takes 65 MiB.
const XZ_MEMORY: u64 = 512 << 20;

/// The content of a compressed stream; what is peculiar of it goes to `shared`.
pub(super) fn decompress(
    raw: Compressed,
    compression: Compression,
    source: &Source,
    shared: &Shared,
) -> Result<Box<dyn Read + Send>> {
    let corrupt = |error: io::Error| describe(error, compression, source, 0);
    let inner: Box<dyn Read + Send> = match compression {
        Compression::Plain => return Ok(Box::new(raw)),
        Compression::Gzip => Box::new(Members {
            member: Member::Open(Box::new(GzDecoder::new(raw))),
            bytes: 0,
            unended: false,
            shared: shared.clone(),
        }),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(raw)),
        Compression::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED);
            Box::new(XzDecoder::new_stream(raw, stream.map_err(|error| corrupt(error.into()))?))
        }
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(raw).map_err(corrupt)?),
    };
    Ok(Box::new(Described { inner, compression, source: source.clone(), bytes: 0 }))
}

/// Gives every error of a decompressor its name, and the place in the decompressed text.
struct Described {
    inner: Box<dyn Read + Send>,
    compression: Compression,
    source: Source,
    bytes: u64,
}

impl Read for Described {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                self.bytes += count as u64;
                Ok(count)
            }
            Err(error) => Err(io::Error::other(describe(error, self.compression, &self.source, self.bytes))),
        }
    }
}

fn describe(error: io::Error, compression: Compression, source: &Source, bytes: u64) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(error) => return error.file(source.to_string()),
        Err(error) => error,
    };
    let (fault, message, advice) = match error.kind() {
        io::ErrorKind::UnexpectedEof => (
            Fault::InputCompressedTruncated,
            format!("{source} ends in the middle of its {compression} stream"),
            "copy or download the file again and compare its checksum",
        ),
        _ if error.to_string().contains("memory") => (
            Fault::InputCompression,
            format!("{source} was compressed with too large a window"),
            "compress it again with the default settings",
        ),
        _ => (
            Fault::InputCompressedCorrupt,
            format!("the {compression} stream of {source} is damaged"),
            "copy or download the file again and compare its checksum",
        ),
    };
    source
        .fault(fault, message)
        .found(format!("an error after {bytes} bytes of text"))
        .advice(advice)
        .caused_by(error.to_string())
}

/// gzip members one after the other, as `cat a.gz b.gz` and bgzip make them.
struct Members {
    member: Member,
    /// Bytes of text in the current member.
    bytes: u64,
    /// Whether the member before is a BGZF block that another one must follow, the last of them empty.
    unended: bool,
    shared: Shared,
}

impl Members {
    /// Notes BGZF blocks that end without an empty one: before a member of another kind, or with the file.
    fn end_member(&mut self, bgzf: bool, last: bool) {
        let cut = self.unended && !bgzf;
        self.unended = bgzf && self.bytes > 0;
        if cut || (last && self.unended) {
            let notes = &mut self.shared.lock().notes;
            if !notes.contains(&Note::NoBgzfEnd) {
                notes.push(Note::NoBgzfEnd);
            }
        }
    }
}

enum Member {
    Open(Box<GzDecoder<Compressed>>),
    End,
}

impl Read for Members {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let Member::Open(decoder) = &mut self.member else { return Ok(0) };
            let count = decoder.read(buffer)?;
            if count > 0 {
                self.bytes += count as u64;
                return Ok(count);
            }
            let bgzf = decoder.header().and_then(|header| header.extra()).is_some_and(is_bgzf);
            let Member::Open(decoder) = std::mem::replace(&mut self.member, Member::End) else { return Ok(0) };
            let mut raw = decoder.into_inner();
            let next = raw.fill_buf()?.first().copied();
            self.end_member(bgzf, next != Some(0x1F));
            match next {
                Some(0x1F) => {
                    self.member = Member::Open(Box::new(GzDecoder::new(raw)));
                    self.bytes = 0;
                }
                // Some tapes and tools pad with zeros.
                Some(0) => only_zeros(raw)?,
                Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "other data after the last member")),
                None => {}
            }
        }
    }
}

/// Whether a gzip extra field holds the subfield `BC` of BGZF.
fn is_bgzf(mut extra: &[u8]) -> bool {
    while let [a, b, low, high, rest @ ..] = extra {
        if [*a, *b] == *b"BC" {
            return true;
        }
        extra = rest.get(usize::from(u16::from_le_bytes([*low, *high]))..).unwrap_or_default();
    }
    false
}

fn only_zeros(mut raw: Compressed) -> io::Result<()> {
    loop {
        let padding = raw.fill_buf()?;
        let count = padding.len();
        if count == 0 {
            return Ok(());
        }
        if padding.iter().any(|byte| *byte != 0) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "other data after the zero padding"));
        }
        raw.consume(count);
    }
}
