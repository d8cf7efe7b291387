//! One job in its own process: packing a stream, being killed half way, and going on.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use ringpack::pack::{
    Codec, Input, Observer, Output, PackOptions, PackReport, ResumeOptions, pack, resume,
};
use ringpack::{Cadence, Cancel, OsDisk};
use serde::{Deserialize, Serialize};

use crate::stream::Stream;

/// The first argument of a process that does a job, followed by its kind, the length of the
/// content, that of a chunk as a power of two, and the folder.
pub(crate) const FLAG: &str = "--job";
/// The container.
pub(crate) const OUT: &str = "out.zst";
/// Where a job leaves what it has to say.
pub(crate) const TOLD: &str = "told";
/// Shortest content that has a middle to be killed in.
pub(crate) const HALVED_MIN: u64 = 64 << 20;

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Packs.
    Pack,
    /// Packs until a checkpoint covers about half, and is killed.
    Half,
    /// Goes on.
    Resume,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pack => "pack",
            Self::Half => "half",
            Self::Resume => "resume",
        }
    }
}

/// What a job has to say.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Seconds that the job took.
    pub(crate) wall: f64,
    /// Seconds from the last byte read to the container durable under its name.
    pub(crate) tail: f64,
    /// Bytes of the index.
    pub(crate) index: u64,
    /// Bytes of the container.
    pub(crate) file: u64,
    /// Bytes of content that were adopted from the run before.
    pub(crate) adopted: u64,
}

/// Does what the arguments after [`FLAG`] say.
pub(crate) fn run(args: &[String]) -> io::Result<()> {
    let [kind, bytes, chunk_log2, folder] = args else {
        return Err(io::Error::other("a job has four arguments"));
    };
    let kinds = [Kind::Pack, Kind::Half, Kind::Resume];
    let kind = kinds.into_iter().find(|it| it.name() == kind);
    let kind = kind.ok_or_else(|| io::Error::other("no such job"))?;
    let bytes: u64 = bytes.parse().map_err(io::Error::other)?;
    let chunk_log2: u8 = chunk_log2.parse().map_err(io::Error::other)?;
    let folder = Path::new(folder);
    let stream = Stream::begin(bytes)?;
    let begun = Instant::now();
    let report = match kind {
        Kind::Resume => go_on(folder, stream.reader)?,
        Kind::Pack | Kind::Half => begin(kind, bytes, chunk_log2, folder, stream.reader)?,
    };
    let done = Instant::now();
    let ended = stream.writer.join().map_err(|_| io::Error::other("the writer panicked"))??;
    let told = Told {
        wall: (done - begun).as_secs_f64(),
        tail: done.saturating_duration_since(ended).as_secs_f64(),
        index: report.header.index_len,
        file: report.header.file_size,
        adopted: report.resumed.map_or(0, |resumed| resumed.adopted_bytes),
    };
    std::fs::write(folder.join(TOLD), serde_json::to_vec(&told)?)
}

fn begin(
    kind: Kind,
    bytes: u64,
    chunk_log2: u8,
    folder: &Path,
    reader: std::fs::File,
) -> io::Result<PackReport> {
    let mut options = PackOptions {
        codec: Codec::Zstd(1),
        chunk_log2: Some(chunk_log2),
        ..PackOptions::default()
    };
    if kind == Kind::Half {
        // Every quarter; killed as the second is told of, which the stream's end may still beat
        // where a write takes long.
        let every = Cadence { bytes: bytes / 4, interval: Duration::MAX, percent_max: 100 };
        options.checkpoints = Some(every);
        options.observer = Observer::new(move |checkpoint| {
            if checkpoint.bytes >= bytes / 10 * 4 {
                let _ = raise(Signal::SIGKILL);
            }
        });
    }
    let (from, to) = (input(reader), Output::Path(folder.join(OUT)));
    pack(&OsDisk, from, to, &options, &Cancel::new()).map_err(io::Error::other)
}

fn go_on(folder: &Path, reader: std::fs::File) -> io::Result<PackReport> {
    let mut reader = Some(reader);
    let mut again = |_: &_| Ok(input(reader.take().expect("asked for once")));
    let options = ResumeOptions::default();
    resume(&OsDisk, &folder.join(OUT), &mut again, &options, &Cancel::new())
        .map_err(io::Error::other)
}

fn input(reader: std::fs::File) -> Input {
    Input::Stream(reader, "the generator".to_owned())
}
