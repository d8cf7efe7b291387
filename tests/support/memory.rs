//! A container in memory, as the file of a disk: bytes can be changed at no cost between one look
//! at it and the next, and it may claim any length. Half a million damaged files are looked at this
//! way in the time that writing a few thousand would take.
//!
//! What is unpacked goes to a simulated disk beside it.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use ringpack::foreign::{self, ForeignOptions, ForeignReport};
use ringpack::pipeline::{IoMode, Schedule};
use ringpack::read::Container;
use ringpack::ring::file::{Attributes, Directory, Disk, File, FileKind, Status};
use ringpack::ring::pwrite::Pwrite;
use ringpack::ring::sim::{SimDisk, SimOptions};
use ringpack::ring::{Backend, BackendConfig, BackendKind};
use ringpack::salvage::{RepairMap, SalvageReport, repair_map, salvage};
use ringpack::unpack::{Output, UnpackOptions, unpack_scheduled};
use ringpack::verify::{VerifyOptions, VerifyReport, verify_scheduled};
use ringpack::{Cancel, Result};

/// Where the one file of the disk is.
pub const IN: &str = "/in";
/// Where what is unpacked goes.
pub const OUT: &str = "/out";

const EROFS: i32 = 30;

/// The disk.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    file: Arc<MemoryFile>,
    output: SimDisk,
}

#[derive(Debug)]
struct MemoryFile {
    bytes: RwLock<Vec<u8>>,
    /// A hole behind them, and what stands behind it.
    hole: Option<(u64, Vec<u8>)>,
}

impl MemoryDisk {
    /// A disk whose file has these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self::of(bytes, None)
    }

    /// A disk whose file has these bytes, a hole, and those of `end`, `len` in all.
    #[must_use]
    pub fn with_hole(bytes: Vec<u8>, len: u64, end: Vec<u8>) -> Self {
        let hole = len.saturating_sub((bytes.len() + end.len()) as u64);
        Self::of(bytes, Some((hole, end)))
    }

    fn of(bytes: Vec<u8>, hole: Option<(u64, Vec<u8>)>) -> Self {
        let file = Arc::new(MemoryFile { bytes: RwLock::new(bytes), hole });
        Self { file, output: SimDisk::new(0, SimOptions::default()) }
    }

    /// Changes the file's bytes.
    pub fn change(&self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.file.bytes.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// What verifying says.
    ///
    /// # Errors
    /// As verifying.
    pub fn verify(&self, decode: bool) -> Result<VerifyReport> {
        let options = VerifyOptions { decode, io: IoMode::Pwrite, ..VerifyOptions::default() };
        let schedule = Schedule::Inline(1);
        verify_scheduled(self, Path::new(IN), &options, &Cancel::new(), &schedule)
    }

    /// Unpacks into a file, and gives what it holds.
    ///
    /// # Errors
    /// As unpacking.
    ///
    /// # Panics
    /// Where a failure leaves anything behind.
    pub fn unpack(&self) -> Result<Vec<u8>> {
        self.unpack_traced().0
    }

    /// As [`Self::unpack`], with the changes that it made to the disk, in order.
    ///
    /// # Panics
    /// Where a failure leaves anything behind.
    pub fn unpack_traced(&self) -> (Result<Vec<u8>>, Vec<String>) {
        let output = SimDisk::new(0, SimOptions::default());
        let disk = Self { file: Arc::clone(&self.file), output };
        let options = UnpackOptions { io: IoMode::Pwrite, ..UnpackOptions::default() };
        let (to, schedule) = (Output::Path(OUT.into()), Schedule::Inline(1));
        let result =
            unpack_scheduled(&disk, Path::new(IN), to, &options, &Cancel::new(), &schedule);
        if let Err(error) = &result {
            assert!(disk.output.names("/").is_empty(), "left behind by a failure: {error}");
        }
        let restored = || disk.output.read_file(OUT).expect("unpacking succeeded");
        (result.map(|_| restored()), disk.output.trace())
    }

    /// Unpacks what another program wrote into a file, and gives what it holds.
    ///
    /// # Errors
    /// As unpacking.
    ///
    /// # Panics
    /// Where a failure leaves anything behind.
    pub fn unpack_foreign(&self) -> Result<Vec<u8>> {
        let options = ForeignOptions { threads: Some(1), ..ForeignOptions::default() };
        self.unpack_stream(foreign::Input::Path(IN.into()), &options)
    }

    /// The same of an input that is named or comes from elsewhere.
    ///
    /// # Errors
    /// As unpacking.
    ///
    /// # Panics
    /// Where a failure leaves anything behind.
    pub fn unpack_stream(&self, from: foreign::Input, options: &ForeignOptions) -> Result<Vec<u8>> {
        let output = SimDisk::new(0, SimOptions::default());
        let disk = Self { file: Arc::clone(&self.file), output };
        let to = foreign::Output::Path(OUT.into());
        let result = foreign::unpack(&disk, from, to, options, &Cancel::new());
        if let Err(error) = &result {
            assert!(disk.output.names("/").is_empty(), "left behind by a failure: {error}");
        }
        result.map(|_| disk.output.read_file(OUT).expect("unpacking succeeded"))
    }

    /// What verifying says of what another program wrote.
    ///
    /// # Errors
    /// As verifying.
    pub fn verify_foreign(&self) -> Result<ForeignReport> {
        let options = ForeignOptions { threads: Some(1), ..ForeignOptions::default() };
        foreign::verify(self, foreign::Input::Path(IN.into()), &options, &Cancel::new())
    }

    /// Salvages into a file, and gives what it holds, with the report and the map's text.
    ///
    /// # Errors
    /// As salvaging.
    ///
    /// # Panics
    /// Where a failure leaves anything behind.
    pub fn salvage(&self) -> Result<(SalvageReport, Vec<u8>, String)> {
        let output = SimDisk::new(0, SimOptions::default());
        let disk = Self { file: Arc::clone(&self.file), output };
        let result = salvage(&disk, Path::new(IN), Path::new(OUT), false, &Cancel::new());
        if let Err(error) = &result {
            assert!(disk.output.names("/").is_empty(), "left behind by a failure: {error}");
        }
        let report = result?;
        let restored = disk.output.read_file(OUT).expect("salvaging succeeded");
        let map = disk.output.read_file(&report.map_path).expect("no content without its map");
        Ok((report, restored, String::from_utf8(map).expect("a map is text")))
    }

    /// As [`Self::salvage`], but the content only if it has no more than `len_max` bytes.
    ///
    /// # Errors
    /// As salvaging.
    ///
    /// # Panics
    /// As [`Self::salvage`].
    pub fn salvage_within(&self, len_max: u64) -> Result<(SalvageReport, Option<Vec<u8>>)> {
        let output = SimDisk::new(0, SimOptions::default());
        let disk = Self { file: Arc::clone(&self.file), output };
        let result = salvage(&disk, Path::new(IN), Path::new(OUT), false, &Cancel::new());
        if let Err(error) = &result {
            assert!(disk.output.names("/").is_empty(), "left behind by a failure: {error}");
        }
        let report = result?;
        let is_short = report.content_len <= len_max;
        Ok((report, is_short.then(|| disk.output.read_file(OUT).expect("salvaging succeeded"))))
    }

    /// Maps what is damaged of the container.
    ///
    /// # Errors
    /// As mapping it.
    pub fn repair_map(&self) -> Result<RepairMap> {
        let output = SimDisk::new(0, SimOptions::default());
        let disk = Self { file: Arc::clone(&self.file), output };
        repair_map(&disk, Path::new(IN), Path::new(OUT), false, &Cancel::new())
    }

    /// Opens the container.
    ///
    /// # Errors
    /// As opening.
    pub fn open(&self) -> Result<Container> {
        Container::open(self, Path::new(IN), false)
    }

    /// What a range of the content reads as: what was given out, and how it ended.
    pub fn cat(&self, container: &Container, range: Range<u64>) -> (Vec<u8>, Result<()>) {
        let mut given = Vec::new();
        let result = container.read_range(range, &mut |bytes| {
            given.extend_from_slice(bytes);
            Ok(())
        });
        (given, result)
    }
}

impl Disk for MemoryDisk {
    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        self.output.directory(path)
    }

    fn open(&self, path: &Path, direct: bool) -> io::Result<Arc<dyn File>> {
        if path == Path::new(IN) {
            return Ok(Arc::clone(&self.file) as Arc<dyn File>);
        }
        self.output.open(path, direct)
    }

    fn run_id(&self) -> [u8; 16] {
        self.output.run_id()
    }

    fn backend(&self, _: BackendKind, config: BackendConfig<'_>) -> io::Result<Box<dyn Backend>> {
        Ok(Box::new(Pwrite::new(config.files)))
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::from_raw_os_error(EROFS))
}

impl File for MemoryFile {
    fn descriptor(&self) -> i32 {
        -1
    }

    fn status(&self) -> io::Result<Status> {
        let held = self.bytes.read().unwrap_or_else(PoisonError::into_inner).len() as u64;
        Ok(Status {
            kind: FileKind::Regular,
            len: held + self.hole.as_ref().map_or(0, |(hole, end)| hole + end.len() as u64),
            allocated: held,
            mode: 0o600,
            uid: 0,
            gid: 0,
            modified: SystemTime::UNIX_EPOCH,
            identity: (u64::MAX, 1),
            links: 1,
            changed: SystemTime::UNIX_EPOCH,
        })
    }

    fn born(&self) -> io::Result<Option<SystemTime>> {
        Ok(None)
    }

    fn is_direct(&self) -> bool {
        false
    }

    fn leave_direct(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
        let held = bytes.len() as u64;
        let none = (0, Vec::new());
        let (hole, end) = self.hole.as_ref().unwrap_or(&none);
        let end_start = held + hole;
        let len = end_start + end.len() as u64;
        let count = len.saturating_sub(offset).min(out.len() as u64) as usize;
        let out = &mut out[..count];
        out.fill(0);
        for (start, part) in [(0, &bytes[..]), (end_start, &end[..])] {
            let from = offset.max(start);
            let to = (offset + count as u64).min(start + part.len() as u64);
            if from < to {
                let part = &part[(from - start) as usize..(to - start) as usize];
                out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(part);
            }
        }
        Ok(count)
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        refused()
    }

    fn next_data(&self, _: u64) -> io::Result<Option<(u64, u64)>> {
        refused()
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        refused()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        refused()
    }

    fn punch_hole(&self, _: u64, _: u64) -> io::Result<()> {
        refused()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn sync_all(&self) -> io::Result<()> {
        refused()
    }

    fn sync_data(&self) -> io::Result<()> {
        refused()
    }

    fn set_attributes(&self, _: &Attributes) -> io::Result<()> {
        refused()
    }

    fn try_lock(&self) -> io::Result<bool> {
        refused()
    }
}

/// Runs `work` for each number below `count` on every core, each with what `make` made for it.
pub fn share<S>(count: usize, make: impl Fn() -> S + Sync, work: impl Fn(&mut S, usize) + Sync) {
    const AT_ONCE: usize = 64;
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = make();
                loop {
                    let from = next.fetch_add(AT_ONCE, Relaxed);
                    if from >= count {
                        break;
                    }
                    (from..count.min(from + AT_ONCE)).for_each(|number| work(&mut own, number));
                }
            });
        }
    });
}
