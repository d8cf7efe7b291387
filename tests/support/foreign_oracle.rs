//! What any bytes have to hold to when they are taken for another program's file, or for something
//! to be salvaged: every way of reading says the same, libzstd says so too, and nothing takes more
//! memory or time than the file's own length allows.

use std::io::{Read, Write};
use std::path::Path;

use ringpack::damage::Condition;
use ringpack::foreign::{self, ForeignOptions, Input};
use ringpack::{Cancel, Error, ErrorKind};

use crate::Random;
use crate::memory::{IN, MemoryDisk};

/// Longest content that is held in memory and compared; of more, only its beginning is.
const CONTENT_MAX: usize = 4 << 20;

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is none that can be read.
    Refused,
    /// It is damaged.
    Damaged,
    /// It is whole.
    Good,
}

/// Has everything read the file: listed, verified, unpacked from a file and from a pipe, and by
/// range. `seed` chooses the ranges.
///
/// # Panics
/// Where two of them contradict each other, or libzstd.
pub fn check(bytes: &[u8], seed: u64) -> Fate {
    let disk = MemoryDisk::new(bytes.to_vec());
    let (listed, verified) = (list(&disk), disk.verify_foreign());
    let (given, read) = range(&disk, 0, None);
    let is_long = given.len() > CONTENT_MAX;
    if let Err(error) = &listed {
        known_refusal(error);
    }
    let verified = match &verified {
        Ok(report) => Ok(report.damage_count),
        Err(error) => Err(known_refusal(error)),
    };
    let reference = by_libzstd(bytes);
    if is_long {
        // A bomb: it goes on for as long as it is asked. What came of it is what libzstd gives.
        let (expected, _) = &reference;
        let len = expected.len().min(given.len());
        assert!(given[..len] == expected[..len], "other bytes than libzstd's");
        return if verified == Ok(0) { Fate::Good } else { Fate::Damaged };
    }
    let unpacked = disk.unpack_foreign();
    match from_a_pipe(bytes) {
        Ok(restored) => assert!(
            unpacked.as_ref().is_ok_and(|unpacked| *unpacked == restored)
                // A seek table can say of a file what nothing says of a pipe.
                || unpacked.as_ref().is_err_and(|error| error.kind() == ErrorKind::Damaged),
            "a pipe and a file differ"
        ),
        Err(error) => {
            known_refusal(&error);
        }
    }
    match unpacked {
        Ok(restored) => {
            let (expected, ended) = &reference;
            assert!(*ended && restored == *expected, "other bytes than libzstd's");
            // A range is found by the seek table, which unpacking can do without.
            let is_read = match read {
                Ok(()) => given == restored,
                Err(_) => verified != Ok(0) && restored.starts_with(&given),
            };
            assert!(is_read, "reading and unpacking differ, {} bytes given", given.len());
            ranges(&disk, &restored, seed);
            if let Ok(Some(size)) = listed.as_ref().map(|listing| listing.content_size) {
                assert_eq!(size, restored.len() as u64, "another length is listed");
            }
            if verified == Ok(0) { Fate::Good } else { Fate::Damaged }
        }
        Err(error) => {
            assert!(verified != Ok(0), "verified, but: {error}");
            match known_refusal(&error) {
                ErrorKind::Damaged => Fate::Damaged,
                _ => Fate::Refused,
            }
        }
    }
}

/// Salvages the file, and draws the map of its damages.
///
/// # Panics
/// Where the report contradicts itself, or the map.
pub fn check_salvage(bytes: &[u8]) -> Fate {
    let disk = MemoryDisk::new(bytes.to_vec());
    if let Err(error) = disk.repair_map() {
        known_refusal(&error);
    }
    let (report, content) = match disk.salvage_within(CONTENT_MAX as u64) {
        Ok(salvaged) => salvaged,
        Err(error) => {
            known_refusal(&error);
            return Fate::Refused;
        }
    };
    let conditions = [Condition::Intact, Condition::Unsure, Condition::Lost];
    let sum: u64 = conditions.map(|it| report.map.bytes(it)).iter().sum();
    assert_eq!(sum, report.content_len);
    assert_eq!(report.intact + report.unsure + report.lost, report.content_len);
    if let Some(content) = content {
        assert_eq!(content.len() as u64, report.content_len);
        // What is lost is left a hole.
        for stretch in report.map.stretches.iter().filter(|it| it.condition == Condition::Lost) {
            let lost = &content[stretch.start as usize..stretch.end as usize];
            assert!(lost.iter().all(|&byte| byte == 0), "{stretch:?} has something");
        }
    }
    if report.is_complete() { Fate::Good } else { Fate::Damaged }
}

fn known_refusal(error: &Error) -> ErrorKind {
    const KNOWN: [ErrorKind; 5] = [
        ErrorKind::NotAContainer,
        ErrorKind::Unsupported,
        ErrorKind::Damaged,
        ErrorKind::OutOfRange,
        ErrorKind::Cancelled,
    ];
    assert!(KNOWN.contains(&error.kind()), "{:?}: {error}", error.kind());
    error.kind()
}

fn list(disk: &MemoryDisk) -> ringpack::Result<foreign::Listing> {
    foreign::list(disk, Path::new(IN), &Cancel::new())
}

fn options() -> ForeignOptions {
    ForeignOptions { threads: Some(1), ..ForeignOptions::default() }
}

/// A range of the content, and how it ended; not much more than [`CONTENT_MAX`].
fn range(disk: &MemoryDisk, from: u64, to: Option<u64>) -> (Vec<u8>, ringpack::Result<()>) {
    let mut given = Vec::new();
    let cancel = Cancel::new();
    let sink = &mut |piece: &[u8]| {
        given.extend_from_slice(piece);
        match given.len() > CONTENT_MAX {
            true => Err(Error::new(ErrorKind::Cancelled, "enough")),
            false => Ok(()),
        }
    };
    let read = foreign::read_range(disk, Path::new(IN), (from, to), &options(), &cancel, sink);
    (given, read)
}

fn ranges(disk: &MemoryDisk, restored: &[u8], seed: u64) {
    let mut random = Random(seed);
    let size = restored.len() as u64;
    for _ in 0..3 {
        let start = random.below(size + 1);
        let end = start + random.below(size - start + 1);
        let (given, read) = range(disk, start, Some(end));
        if read.is_ok() {
            assert!(given == restored[start as usize..end as usize], "{start} to {end}");
        }
    }
    for beyond in [size + 1, 1 << 63, u64::MAX] {
        let (given, read) = range(disk, beyond - 1, Some(beyond));
        assert!(given.is_empty() && read.is_err(), "byte {beyond} of {size}");
    }
}

fn from_a_pipe(bytes: &[u8]) -> ringpack::Result<Vec<u8>> {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let disk = MemoryDisk::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Whoever refuses the beginning reads no more.
            let _ = writer.write_all(bytes);
        });
        let stream = std::fs::File::from(std::os::fd::OwnedFd::from(reader));
        disk.unpack_stream(Input::Stream(stream, "a pipe".to_owned()), &options())
    })
}

/// What libzstd restores, [`CONTENT_MAX`] at most, and whether it came to the end.
fn by_libzstd(bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut restored = Vec::new();
    let Ok(mut decoder) = zstd::stream::read::Decoder::new(bytes) else {
        return (restored, false);
    };
    decoder.window_log_max(31).expect("libzstd allows as much");
    let mut piece = vec![0; 64 << 10];
    while restored.len() <= CONTENT_MAX {
        match decoder.read(&mut piece) {
            Ok(0) => return (restored, true),
            Ok(got) => restored.extend(&piece[..got]),
            Err(_) => return (restored, false),
        }
    }
    (restored, false)
}
