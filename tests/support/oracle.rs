//! What any bytes have to hold to when they are taken for a container: whatever is given out is
//! vouched for, and all ways of looking at it agree.
//!
//! What is good is settled by others: header, index, seek table and content have to agree, and
//! libzstd, which knows nothing of ours, has to restore the same bytes from the whole file and by
//! the seek table.

use ringpack::checksum::crc32c;
use ringpack::format::header::Digest;
use ringpack::format::seek_table;
use ringpack::read::Container;
use ringpack::{Error, ErrorKind};

use crate::Random;
use crate::memory::MemoryDisk;

fn kind<T>(result: &ringpack::Result<T>) -> Option<ErrorKind> {
    result.as_ref().err().map(Error::kind)
}

/// What became of a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It can't be opened.
    Refused,
    /// It can be opened, and is found damaged.
    Damaged,
    /// It is intact.
    Good,
}

/// Looks at the container on `disk`, which has these bytes, in every way, and compares what they
/// say; `seed` chooses the ranges that are read.
///
/// # Panics
/// Where they contradict each other.
pub fn check(disk: &MemoryDisk, bytes: &[u8], seed: u64) -> Fate {
    let mut random = Random(seed);
    const REFUSALS: [ErrorKind; 3] =
        [ErrorKind::NotAContainer, ErrorKind::Unsupported, ErrorKind::Damaged];
    let container = match disk.open() {
        Ok(container) => container,
        Err(error) => {
            assert!(REFUSALS.contains(&error.kind()), "{error}");
            for refused in
                [kind(&disk.verify(false)), kind(&disk.verify(true)), kind(&disk.unpack())]
            {
                assert_eq!(refused, Some(error.kind()), "{error}");
            }
            return Fate::Refused;
        }
    };
    let (scrub, decode, unpacked) = (disk.verify(false), disk.verify(true), disk.unpack());
    let (given, cat) = disk.cat(&container, 0..container.header().content_size);
    check_given(&container, &given);
    // What a scrub finds, decoding finds as well.
    let damages = |report: &ringpack::Result<ringpack::verify::VerifyReport>| match report {
        Ok(report) => Some(report.damage_count),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
            None
        }
    };
    let (scrubbed, decoded) = (damages(&scrub), damages(&decode));
    assert_eq!(scrubbed.is_none(), decoded.is_none());
    assert!(scrubbed <= decoded, "{scrub:?} and {decode:?}");
    if decoded == Some(0) {
        assert!(unpacked.is_ok(), "{unpacked:?}");
    }
    let restored = match unpacked {
        Ok(restored) => restored,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
            assert_ne!(decoded, Some(0), "{error}");
            if let Some(chunk) = error.chunk().filter(|_| container.header().content_size > 0) {
                // The first that is damaged; reading in order comes no further. (Of a content of
                // nothing, nothing is read.)
                assert_eq!(cat.expect_err(&error.to_string()).chunk(), Some(chunk));
                assert_eq!(given.len() as u64, chunk * container.header().chunk_len());
            }
            return Fate::Damaged;
        }
    };
    // Nothing but what isn't content may be wrong with what was restored.
    for damage in decode.iter().flat_map(|report| &report.damages) {
        let text = damage.to_string();
        assert!(text.contains(" pad ") || text.contains("seek table states"), "{text}");
    }
    assert!(cat.is_ok() && given == restored, "reading and unpacking differ");
    let header = container.header();
    assert_eq!(restored.len() as u64, header.content_size);
    assert_eq!(crc32c(&restored), header.content_crc32c);
    if let Digest::Blake3(digest) = header.digest {
        assert_eq!(*blake3::hash(&restored).as_bytes(), digest);
    }
    let size = header.content_size;
    for _ in 0..3 {
        let start = random.below(size + 1);
        let end = start + random.below(size - start + 1);
        let (given, result) = disk.cat(&container, start..end);
        assert!(result.is_ok() && given == restored[start as usize..end as usize]);
    }
    if decoded == Some(0) {
        check_by_libzstd(bytes, &container, &restored);
        Fate::Good
    } else {
        Fate::Damaged
    }
}

/// No byte was given out that the index doesn't vouch for, chunk by whole chunk.
fn check_given(container: &Container, given: &[u8]) {
    let mut rest = given;
    for entry in &container.index().entries {
        if rest.is_empty() {
            return;
        }
        let (chunk, after) = rest.split_at(entry.raw_len as usize);
        assert_eq!(crc32c(chunk), entry.raw_crc32c);
        rest = after;
    }
    assert!(rest.is_empty(), "{} bytes more than the index has", rest.len());
}

/// A container that verifying is content with is a Zstandard stream of the same content, as a whole
/// and by its seek table.
fn check_by_libzstd(bytes: &[u8], container: &Container, restored: &[u8]) {
    let whole = zstd::stream::decode_all(bytes).expect("a Zstandard stream");
    assert!(whole == restored, "libzstd restores other bytes");
    let table = &bytes[container.header().table_offset as usize..];
    let (mut at, mut content) = (0, Vec::new());
    for entry in seek_table::decode(table).expect("it was read") {
        let end = at + entry.compressed as usize;
        let piece = zstd::stream::decode_all(&bytes[at..end]).expect("frames, whole");
        assert_eq!(piece.len(), entry.decompressed as usize, "by the seek table");
        content.extend(piece);
        at = end;
    }
    assert!(content == restored, "other bytes by the seek table");
}
