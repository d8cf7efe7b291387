//! The recipe: every option that decides a byte of the container.
//!
//! Two runs with the same recipe and the same content write the same bytes, so a resumed run may go
//! on from what another wrote if, and only if, their recipes are equal. The journal keeps it, and
//! the header states it.

use super::header::{CodecKind, Digest, Header, PlacementKind};
use super::layout::Geometry;
use super::{Cursor, Decoded, FormatError};

/// The options that decide the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recipe {
    /// How chunks become frames.
    pub codec: CodecKind,
    /// Compression level, 0 for `store`.
    pub level: i32,
    /// The libzstd that encodes, as `ZSTD_versionNumber` gives it.
    pub zstd_version: u32,
    /// How content is cut and where frames go.
    pub geometry: Geometry,
    /// Whether a BLAKE3 digest is made.
    pub blake3: bool,
}

impl Recipe {
    /// Length of the encoded recipe in bytes.
    pub const LEN: usize = 15;

    /// The recipe that a header states.
    #[must_use]
    pub fn of(header: &Header) -> Self {
        Self {
            codec: header.codec,
            level: header.level,
            zstd_version: header.zstd_version,
            geometry: Geometry::of(header),
            blake3: header.digest != Digest::None,
        }
    }

    /// The recipe as it stands in the journal.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let Self { codec, level, zstd_version, geometry, blake3 } = *self;
        let [l0, l1, l2, l3] = level.to_le_bytes();
        let [v0, v1, v2, v3] = zstd_version.to_le_bytes();
        let [p0, p1] = (geometry.placement as u16).to_le_bytes();
        let [e0, e1] = geometry.extent_chunks.to_le_bytes();
        let (codec, log2) = (codec as u8, geometry.chunk_log2);
        [codec, l0, l1, l2, l3, v0, v1, v2, v3, log2, p0, p1, e0, e1, blake3.into()]
    }

    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Decoded<Self> {
        let codec = CodecKind::decode(cursor.u8()?)?;
        let level = cursor.i32()?;
        let zstd_version = cursor.u32()?;
        let chunk_log2 = cursor.u8()?;
        let placement = PlacementKind::decode(cursor.u16()?)?;
        let extent_chunks = cursor.u16()?;
        let geometry = Geometry { chunk_log2, extent_chunks, placement };
        if !geometry.is_writable() {
            return Err(FormatError::damaged("the journal states an impossible geometry"));
        }
        let blake3 = match cursor.u8()? {
            0 => false,
            1 => true,
            other => {
                return Err(FormatError::unsupported(format!(
                    "digest {other} is not known to this build"
                )));
            }
        };
        Ok(Self { codec, level, zstd_version, geometry, blake3 })
    }

    /// Which options differ between a run that was interrupted and `now`, for people; empty where
    /// none does.
    #[must_use]
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, then: String, now: String| {
            if then != now {
                found.push(format!("{what} was {then} and is {now}"));
            }
        };
        let codec = |recipe: &Self| format!("{:?}", recipe.codec).to_lowercase();
        compare("the codec", codec(self), codec(now));
        if self.codec == now.codec {
            compare("the level", self.level.to_string(), now.level.to_string());
            compare("libzstd", version(self.zstd_version), version(now.zstd_version));
        }
        let (then, since) = (&self.geometry, &now.geometry);
        let len = |geometry: &Geometry| format!("{} bytes", geometry.chunk_len());
        compare("the chunk length", len(then), len(since));
        let place = |geometry: &Geometry| format!("{:?}", geometry.placement).to_lowercase();
        compare("the placement", place(then), place(since));
        if (then.chunk_log2, then.placement) == (since.chunk_log2, since.placement) {
            let chunks = |geometry: &Geometry| format!("{} chunks", geometry.extent_chunks);
            compare("the extent length", chunks(then), chunks(since));
        }
        let digest = |recipe: &Self| if recipe.blake3 { "blake3" } else { "none" }.to_owned();
        compare("the digest", digest(self), digest(now));
        found
    }
}

fn version(number: u32) -> String {
    format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            codec: CodecKind::Zstd,
            level: -3,
            zstd_version: 10_507,
            geometry: Geometry::new(20, PlacementKind::Dense),
            blake3: true,
        }
    }

    #[test]
    fn golden_bytes() {
        let bytes = recipe().encode();
        assert_eq!(bytes, [1, 253, 255, 255, 255, 0x0B, 0x29, 0, 0, 20, 0, 0, 4, 0, 1]);
        assert_eq!(Recipe::decode(&mut Cursor::new(&bytes)).unwrap(), recipe());
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        for (at, value) in [(0, 2), (9, 15), (9, 27), (10, 2), (12, 0), (12, 5), (14, 2)] {
            let mut bytes = recipe().encode();
            bytes[at] = value;
            assert!(Recipe::decode(&mut Cursor::new(&bytes)).is_err(), "byte {at} = {value}");
        }
    }

    #[test]
    fn differences_name_each_option() {
        let then = recipe();
        assert!(then.differences(&then).is_empty());
        let check = |now: Recipe, expected: &str| {
            assert_eq!(then.differences(&now), [expected]);
        };
        check(Recipe { level: 5, ..then }, "the level was -3 and is 5");
        check(Recipe { zstd_version: 10_600, ..then }, "libzstd was 1.5.7 and is 1.6.0");
        check(Recipe { codec: CodecKind::Store, ..then }, "the codec was zstd and is store");
        check(Recipe { blake3: false, ..then }, "the digest was blake3 and is none");
        let geometry = Geometry::new(20, PlacementKind::Slots);
        check(Recipe { geometry, ..then }, "the placement was dense and is slots");
        let geometry = Geometry { extent_chunks: 2, ..then.geometry };
        check(Recipe { geometry, ..then }, "the extent length was 4 chunks and is 2 chunks");
        let geometry = Geometry::new(16, PlacementKind::Dense);
        let expected = "the chunk length was 1048576 bytes and is 65536 bytes";
        check(Recipe { geometry, ..then }, expected);
    }
}
