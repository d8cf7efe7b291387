//! The shapes in which packing is recorded: one for each way that its writes reach the disk.
//!
//! Chunks and extents are as short as can be, so that a few MiB make many of them, and checkpoints
//! are frequent whatever they cost.

use std::time::Duration;

use ringpack::commit::Cadence;
use ringpack::format::header::PlacementKind;
use ringpack::limits;
use ringpack::pack::{Codec, PackOptions, ResumeOptions};
use ringpack::pipeline::IoMode;

/// Bytes of content from one checkpoint to the next.
pub const CHECKPOINT_BYTES: u64 = 256 << 10;

/// Bytes of content in a chunk.
pub const CHUNK_LEN: u64 = 1 << limits::CHUNK_LOG2_MIN;

/// Slow enough for a chunk to take about as long as a flush. Were all shapes quicker, everything
/// would be written by the first checkpoint, and nothing be in flight at those after it.
const SLOW: Codec = Codec::Zstd(12);

/// How a container is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// What reports call it, and the bin `claiming-pack` takes.
    pub name: &'static str,
    codec: Codec,
    placement: PlacementKind,
    extent_chunks: u16,
    io: IoMode,
    direct: bool,
    /// Whether an older file stands under the target's name, and is to be replaced.
    pub replaces: bool,
}

impl Shape {
    /// Dense, as many writes in flight as can be, past the page cache, over an older file.
    pub const DENSE: Self = Self {
        name: "dense-ring-direct-replacing",
        codec: Codec::Store,
        placement: PlacementKind::Dense,
        extent_chunks: 2,
        io: IoMode::Auto,
        direct: true,
        replaces: true,
    };
    /// Slots, several writes in flight past the page cache, where nothing is.
    pub const SLOTS: Self = Self {
        name: "slots-ring-direct",
        codec: SLOW,
        placement: PlacementKind::Slots,
        extent_chunks: 1,
        io: IoMode::Auto,
        direct: true,
        replaces: false,
    };
    /// Dense, through the page cache by plain system calls, over an older file.
    pub const BUFFERED: Self = Self {
        name: "dense-pwrite-buffered-replacing",
        codec: SLOW,
        placement: PlacementKind::Dense,
        extent_chunks: 1,
        io: IoMode::Pwrite,
        direct: false,
        replaces: true,
    };
    /// Slots, through the page cache by a ring, where nothing is.
    pub const BUFFERED_SLOTS: Self = Self {
        name: "slots-ring-buffered",
        codec: SLOW,
        placement: PlacementKind::Slots,
        extent_chunks: 1,
        io: IoMode::Auto,
        direct: false,
        replaces: false,
    };
    /// All of them.
    pub const ALL: [Self; 4] = [Self::DENSE, Self::SLOTS, Self::BUFFERED, Self::BUFFERED_SLOTS];

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.name == name)
    }

    /// Options of packing in this shape.
    #[must_use]
    pub fn options(&self) -> PackOptions {
        let Self { codec, placement, extent_chunks, io, direct, replaces, .. } = *self;
        PackOptions {
            codec,
            placement,
            extent_chunks: Some(extent_chunks),
            io,
            direct,
            replace: replaces,
            chunk_log2: Some(limits::CHUNK_LOG2_MIN),
            checkpoints: Some(often()),
            threads: Some(2),
            ..PackOptions::default()
        }
    }

    /// Options of going on in this shape. What the journal says of replacing is enough.
    #[must_use]
    pub fn resume_options(&self) -> ResumeOptions {
        let Self { io, direct, .. } = *self;
        let (checkpoints, threads) = (Some(often()), self.options().threads);
        ResumeOptions { io, direct, checkpoints, threads, ..ResumeOptions::default() }
    }
}

fn often() -> Cadence {
    Cadence { bytes: CHECKPOINT_BYTES, interval: Duration::MAX, percent_max: 100 }
}

/// How a run ends before its time: at the first checkpoint that covers so many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// As asked to, so that it can be gone on with.
    Suspend(u64),
    /// By SIGKILL, with extents written ahead and space allocated ahead.
    Kill(u64),
}

impl Stop {
    /// Bytes of content that a checkpoint must cover before the run ends.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::Suspend(bytes) | Self::Kill(bytes) => bytes,
        }
    }

    /// The arguments that ask for it.
    #[must_use]
    pub fn args(self) -> [String; 2] {
        match self {
            Self::Suspend(bytes) => ["suspend".to_owned(), bytes.to_string()],
            Self::Kill(bytes) => ["kill".to_owned(), bytes.to_string()],
        }
    }

    /// The stop that arguments ask for; without arguments it is none.
    ///
    /// # Errors
    /// Where they are no stop.
    pub fn parse(args: &[&str]) -> Result<Option<Self>, String> {
        let number = |bytes: &str| bytes.parse().map_err(|_| format!("{bytes} is no number"));
        match args {
            [] => Ok(None),
            ["suspend", bytes] => Ok(Some(Self::Suspend(number(bytes)?))),
            ["kill", bytes] => Ok(Some(Self::Kill(number(bytes)?))),
            _ => Err(format!("no such stop: {args:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_stops_lead_back_to_what_they_stand_for() {
        for shape in Shape::ALL {
            assert_eq!(Shape::named(shape.name), Some(shape));
        }
        for stop in [Stop::Suspend(7), Stop::Kill(8)] {
            let args = stop.args();
            assert_eq!(Stop::parse(&[&args[0], &args[1]]), Ok(Some(stop)));
        }
        assert_eq!(Stop::parse(&[]), Ok(None));
        assert!(Stop::parse(&["pause", "1"]).is_err() && Stop::parse(&["kill", "x"]).is_err());
    }
}
