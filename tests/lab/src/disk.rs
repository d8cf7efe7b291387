//! The recording disk: a folder in user space with a file that is the disk, and one for marks.
//!
//! Three things make writes overlap as on a real device, and with one of them missing the disk has
//! one request in flight: the kernel is asked for asynchronous direct I/O, `disk` is opened without
//! bypassing the page cache by force, and the loop device on it is in direct mode. Completions are
//! put off by random times, so they come out of order too.
//!
//! A write is visible to reads from its issue on, unless it is to fail: then it never is.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nix::libc::{FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE};
use support::Random;

use crate::delay::Delays;
use crate::tape::{PAGE_LEN, Payload, Tape};

/// Longest write that the disk is handed, in bytes: what a program writes at once, up to a MiB and
/// more, comes in pieces that complete, and are lost, one by one.
const WRITE_LEN_MAX: u32 = 64 << 10;
/// The name of the file that is the disk.
pub(crate) const DISK: &str = "disk";
/// The name of the file that takes marks.
pub(crate) const CTL: &str = "ctl";

const DISK_NODE: INodeNo = INodeNo(2);
const CTL_NODE: INodeNo = INodeNo(3);
/// How long the kernel may believe an answer: nothing here ever changes.
const FOREVER: Duration = Duration::from_secs(1 << 30);
/// Most requests that the kernel may have in flight: more than a loop device ever has.
const IN_FLIGHT_MAX: u16 = 256;

/// What the disk holds and what happened to it, shared with those who answer later.
#[derive(Debug)]
pub(crate) struct Medium {
    /// The content as reads see it.
    image: File,
    len: u64,
    tape: Mutex<Tape>,
}

impl Medium {
    pub(crate) fn new(image: File, len: u64, tape: Tape) -> Self {
        Self { image, len, tape: Mutex::new(tape) }
    }

    /// The tape, for this one moment.
    pub(crate) fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a write in: its number, and whether it is to fail.
    fn write(&self, offset: u64, payload: Payload) -> std::io::Result<(usize, bool)> {
        // Under the lock, so that the content changes in the order of the tape.
        let mut tape = self.tape();
        let bytes = match &payload {
            Payload::Bytes(bytes) => bytes.clone(),
            Payload::Zeros(len) => vec![0; *len as usize].into(),
        };
        let (number, is_failed) = tape.issue(offset, payload);
        if !is_failed {
            self.image.write_all_at(&bytes, offset)?;
        }
        Ok((number, is_failed))
    }

    fn is_on_grid(&self, offset: u64, len: u64) -> bool {
        let page = PAGE_LEN as u64;
        let end = offset.saturating_add(len);
        len > 0 && end <= self.len && offset.is_multiple_of(page) && len.is_multiple_of(page)
    }
}

/// The file system in user space.
#[derive(Debug)]
pub(crate) struct RecordingDisk {
    medium: Arc<Medium>,
    delays: Delays,
    random: Mutex<Random>,
    delay_max: Duration,
}

impl RecordingDisk {
    /// A disk whose completions come after random times of up to `delay_max`.
    pub(crate) fn new(medium: Arc<Medium>, seed: u64, delay_max: Duration) -> Self {
        Self { medium, delays: Delays::new(), random: Mutex::new(Random(seed)), delay_max }
    }

    fn delay(&self) -> Duration {
        let micros = u64::try_from(self.delay_max.as_micros()).unwrap_or(u64::MAX);
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_micros(random.below(micros.saturating_add(1).max(1)))
    }

    fn attributes(&self, node: INodeNo) -> Option<FileAttr> {
        let (kind, size) = match node {
            INodeNo::ROOT => (FileType::Directory, 0),
            DISK_NODE => (FileType::RegularFile, self.medium.len),
            CTL_NODE => (FileType::RegularFile, 0),
            _ => return None,
        };
        let time = SystemTime::UNIX_EPOCH;
        Some(FileAttr {
            ino: node,
            size,
            blocks: size / 512,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm: if kind == FileType::Directory { 0o755 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn answer_attributes(&self, node: INodeNo, reply: ReplyAttr) {
        match self.attributes(node) {
            Some(attributes) => reply.attr(&FOREVER, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    /// Takes a write in and has it answered later.
    fn take(&self, offset: u64, payload: Payload, answer: impl FnOnce(bool) + Send + 'static) {
        let Ok((number, is_failed)) = self.medium.write(offset, payload) else {
            // Memory ran out: this is no disk any more.
            return answer(true);
        };
        let medium = Arc::clone(&self.medium);
        self.delays.after(self.delay(), move || {
            medium.tape().complete(number, is_failed);
            answer(is_failed);
        });
    }
}

impl Filesystem for RecordingDisk {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        config
            .add_capabilities(InitFlags::FUSE_ASYNC_DIO)
            .map_err(|_| std::io::Error::other("the kernel has no FUSE_ASYNC_DIO"))?;
        config.set_max_background(IN_FLIGHT_MAX).expect("more than none");
        config.set_max_write(WRITE_LEN_MAX).expect("less than the longest");
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let node = match name.to_str() {
            Some(DISK) if parent == INodeNo::ROOT => DISK_NODE,
            Some(CTL) if parent == INodeNo::ROOT => CTL_NODE,
            _ => return reply.error(Errno::ENOENT),
        };
        let attributes = self.attributes(node).expect("both files have attributes");
        reply.entry(&FOREVER, &attributes, Generation(0));
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.answer_attributes(node, reply);
    }

    // Whoever opens `ctl` may ask for it to be cut to nothing, which it is; times are not kept.
    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.answer_attributes(node, reply);
    }

    fn open(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = match node {
            CTL_NODE => FopenFlags::FOPEN_DIRECT_IO,
            _ => FopenFlags::empty(),
        };
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if node != DISK_NODE || offset >= self.medium.len {
            return reply.data(&[]);
        }
        let len = u64::from(size).min(self.medium.len - offset);
        let mut bytes = vec![0; len as usize];
        match self.medium.image.read_exact_at(&mut bytes, offset) {
            Ok(()) => reply.data(&bytes),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let len = u32::try_from(data.len()).expect("the kernel's requests are short");
        if node == CTL_NODE {
            let Ok(text) = std::str::from_utf8(data) else {
                return reply.error(Errno::EINVAL);
            };
            self.medium.tape().mark(text.trim_end());
            return reply.written(len);
        }
        if !self.medium.is_on_grid(offset, u64::from(len)) {
            return reply.error(Errno::EINVAL);
        }
        self.take(offset, Payload::Bytes(data.into()), move |is_failed| {
            if is_failed { reply.error(Errno::EIO) } else { reply.written(len) }
        });
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let zeroes = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) != 0;
        if !zeroes || !self.medium.is_on_grid(offset, len) {
            return reply.error(Errno::EOPNOTSUPP);
        }
        self.take(offset, Payload::Zeros(len), move |is_failed| {
            if is_failed { reply.error(Errno::EIO) } else { reply.ok() }
        });
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let (number, is_failed) = self.medium.tape().issue_flush();
        let medium = Arc::clone(&self.medium);
        self.delays.after(self.delay(), move || {
            medium.tape().complete_flush(number, is_failed);
            if is_failed { reply.error(Errno::EIO) } else { reply.ok() }
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}
