//! Packing into a pipe: the extents in sequence, then the tail, the bytes that a file would have.
//!
//! What a pipe was given can't be taken back, and the frames before the tail are a Zstandard stream
//! of their own: a reader that knows nothing of containers would take a job that failed for a whole
//! one that is shorter. So what ends without its tail ends within a frame, which is an error to
//! every reader.
//!
//! # Invariants
//! - CF4: a stream that isn't whole doesn't end between two frames, unless its reader takes nothing
//!   more.

use std::fs;
use std::sync::Arc;

use super::task::Event;
use super::{Job, PackReport, Progress};
use crate::commit::Sink;
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::ZSTD_MAGIC;
use crate::journal::Checkpoint;
use crate::known::Known;
use crate::ordered::OrderedWriter;
use crate::ring::stream::PipeEnd;
use crate::spool::Spool;

/// The beginning of a frame that never comes.
const TORN: [u8; 4] = ZSTD_MAGIC.to_le_bytes();

impl Job<'_> {
    pub(super) fn into_stream(self, file: fs::File) -> Result<PackReport> {
        let failed =
            |error| Error::from_io(ErrorKind::Output, "cannot write", error).at("standard output");
        let again = file.try_clone().map_err(failed)?;
        let pipe = PipeEnd::for_writing(file, self.shared.stop()).map_err(failed)?;
        self.write_stream(&pipe).inspect_err(|_| self.tear(again))
    }

    /// CF4: ends the output within a frame.
    fn tear(&self, file: fs::File) {
        // By the owner's wish to stop: the job itself has stopped already.
        let Ok(pipe) = PipeEnd::for_writing(file, self.shared.owner()) else { return };
        if let Ok(false) = pipe.write_full(&TORN) {
            let _ = pipe.write_at_once(&TORN);
        }
    }

    fn write_stream(&self, pipe: &PipeEnd) -> Result<PackReport> {
        let event = Arc::clone(self.shared.event());
        let mut writer = OrderedWriter::new(pipe, &event);
        let recipe = self.recipe()?;
        // A few bytes a chunk, which fit into memory where there is no directory for more.
        let spool = match self.disk.directory(&std::env::temp_dir()) {
            Ok(scratch) => Spool::new(scratch, self.options.blake3, self.options.spool_memory),
            Err(_) => Spool::in_memory(self.options.blake3),
        };
        let work = self.work(Known::nothing(recipe.geometry, spool), true);
        let mut progress = Progress::behind(&Checkpoint::start());
        let (content_size, run) = self.run(&work, self.input_files(), &mut |event: Event| {
            let Event::HandedOver(written, handed_over) = event else {
                unreachable!("a streamed extent brings its bytes")
            };
            work.known.put(written.first_chunk, &written.records)?;
            progress.note(&written);
            writer.take(handed_over)
        })?;
        let holes = progress.holes;
        let finish = self.finish(recipe, work, progress, content_size)?;
        let (header, _) = finish.write_tail(&mut StreamSink(&writer), &[])?;
        Ok(self.report(header, None, holes, run))
    }
}

struct StreamSink<'a>(&'a OrderedWriter<'a>);

impl Sink for StreamSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write(bytes)
    }
}
