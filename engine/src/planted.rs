//! Bugs planted on purpose, to show that the tests find them.
//!
//! A suite that finds nothing wrong proves nothing until it is shown what it would find. Each bug
//! here is one that a writer of such an engine could make; `just planted` builds with the feature
//! `planted-bugs`, turns on one after the other by the variable `RINGPACK_PLANTED`, and fails if
//! the tests that are named for it pass. Without the feature none of this is compiled in.

/// A mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// The final header is written without the data having been synced.
    NoDataSync,
    /// The file is published without its final header having been synced.
    NoHeaderSync,
    /// The directory isn't synced after the rename.
    NoDirectorySync,
    /// The final header is written before the data is durable.
    HeaderFirst,
    /// A chain of sync, header, sync, rename is trusted to stop at a failure.
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
}

/// Whether the bug is planted.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is(bug: Bug) -> bool {
    use std::sync::OnceLock;
    static PLANTED: OnceLock<Option<String>> = OnceLock::new();
    let planted = PLANTED.get_or_init(|| std::env::var("RINGPACK_PLANTED").ok());
    planted.as_ref().is_some_and(|planted| *planted == format!("{bug:?}"))
}

/// Whether the bug is planted: none is without the feature `planted-bugs`.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is(_: Bug) -> bool {
    false
}

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("planted bugs are for tests: they have no place in an optimised build");
