//! Bugs planted on purpose, to show that the tests find them.
//!
//! A suite that finds nothing wrong proves nothing until it is shown what it would find. Each bug
//! here is one that a writer of such an engine could make; `just planted` builds with the feature
//! `planted-bugs`, turns on one after the other by the variable `RINGPACK_PLANTED`, and fails if
//! the tests that are named for it pass. Without the feature none of this is compiled in.

/// A mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// The file is published without having been synced.
    NoSync,
    /// The file is synced before its tail is written, and not after.
    SyncedEarly,
    /// The directory isn't synced after the rename.
    NoDirectorySync,
    /// A chain of writes, sync and rename is trusted to stop at a failure.
    ChainTrusted,
    /// A failed sync is tried again, and the second answer believed.
    SyncRetried,
    /// The journal says what is durable before it is.
    JournalBeforeData,
    /// A checkpoint names writes that are still in flight.
    InFlightNamed,
    /// A checkpoint is reported though its record isn't durable.
    NoJournalSync,
    /// A checkpoint is reported though the names of the two files aren't durable.
    NoNamesSync,
    /// The journal that is gone on with is emptied and written anew in place.
    JournalInPlace,
    /// The journal is removed before the new name is durable.
    JournalUnlinkedEarly,
    /// Records are believed without their checksum.
    TornTailTrusted,
    /// Extents are noted as they complete, and adopted because their checksums fit.
    UncoveredAdopted,
    /// A journal is believed beside whatever partial file stands there.
    StaleJournalTrusted,
    /// What a checkpoint covers is adopted without being read back.
    NotReadBack,
    /// Going on doesn't look whether the input is still the same.
    SourceUnchecked,
    /// Who is asked whether the content is whole isn't heard.
    RefusalIgnored,
    /// The first extent to go on with is skipped, and nobody counts.
    SequenceUnchecked,
    /// A short write is taken for a whole one.
    ShortWriteIgnored,
    /// A buffer is used again while it is being written.
    BufferReusedEarly,
    /// The lock is taken on a descriptor of its own, and lost with it.
    LockElsewhere,
    /// The partial file is readable by everyone.
    WorldReadable,
    /// The rename replaces whatever has the name by now.
    ReplacedUnasked,
    /// A frame's checksum says nothing of where the frame belongs.
    PlaceUnchecked,
    /// A source is taken for the same if its time of modification is.
    ChangeTimeIgnored,
    /// Dirty pages of the source are not written out before it is read.
    DirtyPagesLeft,
    /// A source that was changed within the tick of its clock is read at once.
    TickIgnored,
    /// A hole that goes on behind its chunk keeps what the buffer held before.
    HoleUncleared,
    /// Salvaging is complete though intact frames were left out.
    LeftOutUncounted,
    /// A turn of the ring hands over one operation, and waits for it.
    BatchOfOne,
    /// Files on FUSE are read and written by the ring, as others are.
    FuseByRing,
    /// A complete file is removed because it couldn't be given its name.
    CompleteDiscarded,
    /// Each chunk is copied into memory of its own before it is encoded.
    CopiedFirst,
    /// Content is said to be as its source is, without being compared.
    SourceUncompared,
    /// Space is allocated ahead to the last byte, what a failed allocation took is kept, and a
    /// journal without room ends the job.
    NoReserve,
    /// An operation that the kernel cancels for want of a thread is a failed one.
    CancelledIsFailed,
    /// A container that can't be reopened, for whatever reason, is begun anew.
    CheckpointDiscarded,
    /// A worker's panic is passed on to the thread of the caller.
    PanicPassedOn,
    /// What another process is restoring is removed as if a killed one had left it.
    LockedStrayRemoved,
    /// Two inputs of a command may become one output, and the second replaces the first.
    OutputsMayClash,
    /// A standard stream that was closed is taken for what the runtime opened in its place.
    ClosedStreamsTrusted,
    /// A checkpoint covers an extent whose last block the tail is written into.
    ShortExtentCovered,
    /// A container without its end is taken for a shorter file.
    CutOffTrusted,
    /// Frames of a container that is read in order may stand in each other's places.
    OrderUnchecked,
}

/// Whether the bug is planted.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is(bug: Bug) -> bool {
    use std::sync::OnceLock;
    static PLANTED: OnceLock<Option<String>> = OnceLock::new();
    let planted = PLANTED.get_or_init(|| std::env::var("RINGPACK_PLANTED").ok());
    planted.as_deref().is_some_and(|planted| {
        use std::fmt::Write;
        let mut rest = Rest(planted);
        write!(rest, "{bug:?}").is_ok() && rest.0.is_empty()
    })
}

/// A text that is compared with what is written to it: it allocates nothing, since a test counts
/// allocations.
#[cfg(feature = "planted-bugs")]
struct Rest<'a>(&'a str);

#[cfg(feature = "planted-bugs")]
impl std::fmt::Write for Rest<'_> {
    fn write_str(&mut self, written: &str) -> std::fmt::Result {
        self.0 = self.0.strip_prefix(written).ok_or(std::fmt::Error)?;
        Ok(())
    }
}

/// Whether the bug is planted: none is without the feature `planted-bugs`.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is(_: Bug) -> bool {
    false
}

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("planted bugs are for tests: they have no place in an optimised build");

/// A slow-down for `just gate-planted` to find: work for nothing, about a fifth of what the fastest
/// level of compression takes. Only a build with `--cfg ringpack_planted_slow` does it.
#[inline]
pub fn slow_down(bytes: &[u8]) {
    if cfg!(ringpack_planted_slow) {
        for _ in 0..16 {
            let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
            std::hint::black_box(sum);
        }
    }
}
