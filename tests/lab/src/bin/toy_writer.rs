//! The toy writer: replaces a file as [`ringpack_lab::toy`] describes, in the manner asked for.
//!
//! `toy-writer MANNER FOLDER CTL`

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use ringpack_lab::claims::START;
use ringpack_lab::toy::{self, COMMITTED, HALF, LEN, Manner, PARTIAL, TARGET};

const THREADS: usize = 4;
const PIECE_LEN: usize = 64 << 10;
const ALIGN: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [manner, folder, ctl] = args.as_slice() else {
        return Err("usage: toy-writer MANNER FOLDER CTL".into());
    };
    let manner = Manner::ALL.into_iter().find(|known| known.name() == manner);
    write(manner.ok_or("no such manner")?, Path::new(folder), Path::new(ctl))
}

fn write(manner: Manner, folder: &Path, ctl: &Path) -> Result<(), Box<dyn Error>> {
    let mark = |text: &str| fs::write(ctl, text);
    let content = toy::new();
    mark(START)?;
    let buffered = matches!(manner, Manner::RightBuffered | Manner::NoSyncBeforeRename);
    let flags = if buffered { OFlag::empty() } else { OFlag::O_DIRECT };
    let mut options = OpenOptions::new();
    let partial = folder.join(PARTIAL);
    let file = options.write(true).create_new(true).custom_flags(flags.bits()).open(&partial)?;
    let directory = File::open(folder)?;
    if !buffered {
        fallocate(&file, FallocateFlags::empty(), 0, LEN as i64)?;
    }
    let sync = || if manner == Manner::NoSyncBeforeRename { Ok(()) } else { file.sync_data() };
    if manner != Manner::NoSyncBeforeRename {
        directory.sync_all()?;
    }

    let half = LEN / 2;
    match manner {
        Manner::SyncOverWrites => write_pieces(&file, &content, 0..half, &sync)?,
        Manner::ClaimBeforeSync => {
            write_pieces(&file, &content, 0..half, &|| Ok(()))?;
            mark(HALF)?;
            sync()?;
        }
        _ => {
            write_pieces(&file, &content, 0..half, &|| Ok(()))?;
            sync()?;
        }
    }
    if !matches!(manner, Manner::NoSyncBeforeRename | Manner::ClaimBeforeSync) {
        mark(HALF)?;
    }
    write_pieces(&file, &content, half..LEN, &|| Ok(()))?;
    sync()?;
    fs::rename(&partial, folder.join(TARGET))?;
    if manner != Manner::NoSyncOfDirectory {
        directory.sync_all()?;
    }
    Ok(mark(COMMITTED)?)
}

/// Writes a range from several threads, and returns when all of it is written. `midway` runs while
/// writes are in flight.
fn write_pieces(
    file: &File,
    content: &[u8],
    range: Range<usize>,
    midway: &dyn Fn() -> std::io::Result<()>,
) -> std::io::Result<()> {
    let next = AtomicUsize::new(range.start);
    let (begun, has_begun) = mpsc::channel();
    thread::scope(|scope| {
        let work = |begun: mpsc::Sender<()>| -> std::io::Result<()> {
            let mut room = vec![0; PIECE_LEN + ALIGN];
            let start = room.as_ptr().align_offset(ALIGN);
            let room = &mut room[start..start + PIECE_LEN];
            loop {
                let at = next.fetch_add(PIECE_LEN, Ordering::Relaxed);
                if at >= range.end {
                    return Ok(());
                }
                room.copy_from_slice(&content[at..at + PIECE_LEN]);
                // Whoever waits for the beginning may be content with one.
                let _ = begun.send(());
                file.write_all_at(room, at as u64)?;
            }
        };
        let threads = [(); THREADS].map(|()| {
            let begun = begun.clone();
            scope.spawn(move || work(begun))
        });
        drop(begun);
        has_begun.iter().take(THREADS).count();
        let synced = midway();
        for thread in threads {
            thread.join().expect("a writer doesn't panic")?;
        }
        synced
    })
}
