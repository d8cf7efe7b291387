//! Comparing a finished container with its source, before it is published.
//!
//! ```text
//! tail, header final, durable ─► read back, decoded, compared ─► published
//!                                          └─ differs ─► removed: nothing stands under the name
//! ```
//!
//! The container is read back from the medium. The source is read again by other calls than packing
//! made ([`against`](crate::verify)), so a fault of packing's own reader shows: its checksums would
//! fit.
//!
//! # Invariants
//! - PC1: a container that was to be compared is published only after every byte of it was found to
//!   be the source's, and the source to be still what it was.

use super::{Job, Opened, PackOptions, taken};
use crate::commit::Partial;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Shared;
use crate::read::OnDisk;
use crate::source::Positional;
use crate::verify::against::Against;
use crate::verify::{VerifyReport, Verifying};

/// Refuses to compare what can't be read a second time, before anything is done; `to_file` is
/// whether the container goes to a file.
///
/// # Errors
/// `InvalidOptions`, saying what can't be.
pub(super) fn refuse_streams(options: &PackOptions, source: &Opened, to_file: bool) -> Result<()> {
    let refused = |what, hint| Err(Error::new(ErrorKind::InvalidOptions, what).hint(hint));
    let can_read_again = match source {
        Opened::Positional(_) => true,
        Opened::Archive(_, ends) => ends.can_compare,
        Opened::Stream(..) => false,
    };
    match (options.check_content, to_file, can_read_again) {
        (true, false, _) => refused(
            "a container that goes to a stream can't be read back to be compared",
            "write it to a file, or leave --check out",
        ),
        (true, true, false) => refused(
            "a stream can't be read a second time to be compared",
            "save it to a file and pack that, or leave --check out",
        ),
        _ => Ok(()),
    }
}

impl Job<'_> {
    /// Compares what was written with the source, if that is asked for. The data is durable.
    ///
    /// # Errors
    /// `Differs` where it is something else, `InputChanged` where the source is another by now,
    /// `Output` where it can't be read back as it was written.
    pub(super) fn check_content(&self, partial: &Partial, content_size: u64) -> Result<()> {
        if !self.options.check_content {
            return Ok(());
        }
        let progress = self.shared.progress();
        progress.check(content_size);
        let result = self.compare(partial).map_err(unpublished);
        progress.finish(content_size);
        result
    }

    fn compare(&self, partial: &Partial) -> Result<()> {
        let failed =
            |what: &'static str| move |error| Error::from_io(ErrorKind::Output, what, error);
        let file = partial.file();
        if !file.is_direct() {
            // What is in memory says nothing of the medium.
            file.drop_cache().map_err(failed("cannot read back what was written"))?;
        }
        let status = file.status().map_err(failed("cannot look at the partial file"))?;
        let target = partial.target().path();
        let opened = OnDisk::of(file.clone(), status, target).map_err(read_back)?;
        match &self.source {
            Opened::Positional(source) => self.compare_file(&opened, source),
            Opened::Archive(_, ends) => {
                let compare = taken(&ends.compare).expect("it was looked for at the start");
                compare(&opened.container).map_err(read_back)
            }
            Opened::Stream(..) => unreachable!("refused at the start"),
        }
    }

    fn compare_file(&self, opened: &OnDisk, source: &Positional) -> Result<()> {
        // By a description of its own, through the page cache.
        let against = Against::open(self.disk, source.path())?;
        if against.status().identity != source.status().identity {
            let what = "was replaced while it was read";
            return Err(Error::new(ErrorKind::InputChanged, what).at(source.path()));
        }
        let shared = Shared::watched(self.shared.owner(), self.shared.progress());
        let (disk, io, schedule) = (self.disk, self.options.io, self.schedule);
        let job = Verifying { disk, io, schedule, shared: &shared };
        let report = job.run(opened, true, Some(&against))?;
        // PC1
        source.check_unchanged()?;
        let VerifyReport { comparison, damages, .. } = report;
        let found = damages.into_iter().map(read_back).next();
        found.or(comparison.and_then(|comparison| comparison.first)).map_or(Ok(()), Err)
    }
}

/// Damage in what was written a moment ago is the output's fault.
fn read_back(error: Error) -> Error {
    if !matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotAContainer) {
        return error;
    }
    let what = format!("what was written isn't what is read back: {error}");
    Error::new(ErrorKind::Output, what).hint("check the device that it is written to")
}

fn unpublished(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Differs => error.hint(
            "nothing was published: make sure that nothing writes to the source, and pack it again",
        ),
        _ => error,
    }
}
