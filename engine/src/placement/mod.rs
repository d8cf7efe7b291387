//! Placement: where in the container an extent goes.
//!
//! With `slots` it is arithmetic. With `dense` an extent starts where the one before it ends, so
//! its place waits for the *lengths* of the earlier ones, not for their writes: see [`dense`].
//! Nothing here does I/O or takes a lock.

pub mod dense;
pub mod sequence_set;

use crate::format::header::PlacementKind;
use crate::format::layout::Geometry;
use crate::units::{ExtentNumber, FileOffset};

pub use dense::Dense;

/// An extent encoded: its number and its length in the container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Its number.
    pub number: ExtentNumber,
    /// Bytes it takes of the container, pad included.
    pub len: u64,
}

/// An extent with its place. Only [`Placement::place`] makes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlacedExtent {
    extent: Extent,
    offset: FileOffset,
}

impl PlacedExtent {
    /// The extent.
    #[must_use]
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Where it starts in the container.
    #[must_use]
    pub fn offset(&self) -> FileOffset {
        self.offset
    }

    /// Where it ends.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.0 + self.extent.len
    }
}

/// The placement of a container being written, shared by its workers.
#[derive(Debug)]
pub enum Placement {
    /// Each extent starts where the one before it ends.
    Dense(Box<Dense>),
    /// Each extent has a slot of `slot_len` bytes.
    Slots {
        /// Bytes a slot.
        slot_len: u64,
    },
}

impl Placement {
    /// The placement of `geometry` from extent `first` on, the extents before it ending at
    /// `data_end`.
    #[must_use]
    pub fn behind(geometry: &Geometry, first: ExtentNumber, data_end: u64) -> Self {
        match geometry.placement {
            PlacementKind::Dense => Self::Dense(Box::new(Dense::new(first, data_end))),
            PlacementKind::Slots => Self::Slots { slot_len: geometry.slot_len() },
        }
    }

    /// Makes an extent's length known. `true` where that may have placed other extents, so that
    /// whoever waits for a place should look again.
    pub fn publish(&self, extent: Extent) -> bool {
        match self {
            Self::Dense(dense) => dense.publish(extent.number, extent.len),
            Self::Slots { .. } => false,
        }
    }

    /// The place of a published extent, or `None` while an earlier one's length is unknown.
    #[must_use]
    pub fn place(&self, extent: Extent) -> Option<PlacedExtent> {
        let offset = match self {
            Self::Dense(dense) => dense.offset(extent.number)?,
            Self::Slots { slot_len } => extent.number.0 * slot_len,
        };
        Some(PlacedExtent { extent, offset: FileOffset(offset) })
    }

    /// Whether extent `number` has a place whatever its own length is: all before it are published.
    #[must_use]
    pub fn is_placed(&self, number: ExtentNumber) -> bool {
        match self {
            Self::Dense(dense) => dense.offset(number).is_some(),
            Self::Slots { .. } => true,
        }
    }

    /// Where the data ends, given that it has `extents` extents, all of them published.
    #[must_use]
    pub fn data_end(&self, extents: u64) -> Option<u64> {
        match self {
            Self::Dense(dense) => dense.offset(ExtentNumber(extents)),
            Self::Slots { slot_len } => Some(extents * slot_len),
        }
    }
}
