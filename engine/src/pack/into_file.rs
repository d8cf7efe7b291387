//! Packing into a file: the partial file, space allocated ahead, finalize, publish.

use std::path::Path;
use std::sync::Arc;

use super::task::Event;
use super::{Job, Opened, PackReport};
use crate::commit::finalize::write_header;
use crate::commit::{Ahead, Partial, Target};
use crate::error::Result;
use crate::format::header::{PlacementKind, State};
use crate::format::layout::Geometry;
use crate::limits::HEADER_LEN;
use crate::ring::file::{Attributes, Replace};
use crate::spool::Spool;
use crate::units::align_up;

impl Job<'_> {
    pub(super) fn into_file(self, path: &Path) -> Result<PackReport> {
        let replace = if self.options.replace { Replace::Allowed } else { Replace::Never };
        let target = Target::new(self.disk, path, replace)?;
        if let Opened::Positional(source) = &self.source {
            target.refuse_source(source.status())?;
        }
        let geometry = self.geometry()?;
        let directory = Arc::clone(target.directory());
        let partial = Partial::create(target, self.options.direct)?;
        let file = Arc::clone(partial.file());
        let header = self.open_header(&geometry, State::Open);
        write_header(&file, &header)?;
        let mut spool = Spool::new(directory, self.options.blake3, self.options.spool_memory);
        let work = self.work(geometry, false);
        let mut ahead =
            Ahead::new(&file, &work.gate, self.expected_len(&geometry), |range| vec![range]);
        let mut files = self.input_files();
        files.push(Arc::clone(&file));
        let (progress, mut run) = self.run(&work, files, &mut |event, progress| {
            let Event { written, .. } = event;
            spool.put(written.first_chunk, &written.records)?;
            progress.note(&written);
            if ahead.reach(progress.frontier) {
                self.shared.event().advance();
            }
            Ok(())
        })?;
        self.shared.check()?;
        let holes = progress.holes;
        let finish = self.finish(header, &work, progress, spool)?;
        let header = finish.into_file(&file, &self.attributes())?;
        // The last moment at which the job can still be stopped.
        self.shared.check()?;
        let direct_output = Some(file.is_direct());
        run.warnings.extend(partial.took_over());
        partial.publish()?;
        Ok(self.report(header, direct_output, holes, run))
    }

    /// Most bytes that header and data can take.
    fn expected_len(&self, geometry: &Geometry) -> u64 {
        match &self.source {
            // What doesn't compress grows by a few bytes a chunk and a block an extent.
            Opened::Positional(source) if geometry.placement == PlacementKind::Slots => {
                let chunks = geometry.chunk_count(source.status().len);
                HEADER_LEN as u64 + chunks.saturating_mul(geometry.slot_len())
            }
            Opened::Positional(source) => {
                let len = source.status().len;
                align_up(len + len / 64) + 4 * HEADER_LEN as u64
            }
            Opened::Stream(_) => u64::MAX,
        }
    }

    fn attributes(&self) -> Attributes {
        match self.is_regular() {
            Some(source) => {
                let status = source.status();
                Attributes {
                    mode: status.mode,
                    owner: Some((status.uid, status.gid)),
                    modified: Some(status.modified),
                }
            }
            // A device's mode says who may use the device, not who may read a copy of it.
            None => Attributes { mode: self.disk.creation_mode(), owner: None, modified: None },
        }
    }
}
