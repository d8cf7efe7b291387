//! The folder that is measured in, and the state in which each run finds it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::signal::{SigSet, Signal};
use tempfile::TempDir;

use crate::content;
use crate::run::{Spent, run};

/// Bytes that made-up content repeats after: no window of a codec reaches from one to the next.
const REPEATS: u64 = 64 << 20;

/// A folder of its own below the user's, gone when it is dropped.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    /// Whether runs find their input in the page cache.
    warm: bool,
    stopped: Arc<AtomicBool>,
}

impl Place {
    /// Makes it. From then on Ctrl-C ends the next run with an error, so that what is there is
    /// removed.
    ///
    /// # Errors
    /// Where the folder can't be written.
    pub fn new(below: &Path, warm: bool) -> io::Result<Self> {
        let mut stopping = SigSet::empty();
        stopping.add(Signal::SIGINT);
        stopping.add(Signal::SIGTERM);
        stopping.thread_block()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopped);
        std::thread::spawn(move || {
            if stopping.wait().is_ok() {
                told.store(true, Ordering::Relaxed);
            }
        });
        let folder = tempfile::Builder::new().prefix("ringpack-measures.").tempdir_in(below)?;
        Ok(Self { folder, warm, stopped })
    }

    /// Where the file of that name is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Length of the file of that name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn len(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name))?.len())
    }

    /// Fills the file of that name with the first `size` bytes of `from`, or with as many that are
    /// made up.
    ///
    /// # Errors
    /// Where that can't be read, is shorter, or the file can't be written.
    pub fn fill(&self, name: &str, size: u64, from: Option<&Path>) -> io::Result<()> {
        let path = self.path(name);
        let mut file = File::create(&path)?;
        match from {
            None => write_content(&mut file, size)?,
            Some(from) => {
                let copied = io::copy(&mut File::open(from)?.take(size), &mut file)?;
                if copied < size {
                    return Err(io::Error::other(format!("{} has {copied} bytes", from.display())));
                }
            }
        }
        file.sync_all()
    }

    /// Removes what has these names, if anything has.
    ///
    /// # Errors
    /// Where it can't be removed.
    pub fn remove(&self, names: &[&str]) -> io::Result<()> {
        for name in names {
            let path = self.path(name);
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes the folder what every run is to find: no `outputs`, nothing that waits to be written,
    /// and the `inputs` on the device only, or in the page cache.
    ///
    /// # Errors
    /// Where one of it fails, and where Ctrl-C came.
    pub fn settle(&self, inputs: &[&str], outputs: &[&str]) -> io::Result<()> {
        self.check()?;
        self.remove(outputs)?;
        nix::unistd::syncfs(File::open(self.folder.path())?)?;
        for name in inputs {
            let mut file = File::open(self.path(name))?;
            match self.warm {
                true => drop(io::copy(&mut file, &mut io::sink())?),
                false => posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?,
            }
        }
        Ok(())
    }

    /// Settles, and runs a program in the folder.
    ///
    /// # Errors
    /// As settling, and as running.
    pub fn run(
        &self,
        inputs: &[&str],
        outputs: &[&str],
        program: &Path,
        args: &[&str],
    ) -> io::Result<Spent> {
        self.settle(inputs, outputs)?;
        let spent = run(Command::new(program).args(args).current_dir(self.folder.path()))?;
        self.check()?;
        Ok(spent)
    }

    /// The same of a line for the shell.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn shell(&self, inputs: &[&str], outputs: &[&str], line: &str) -> io::Result<Spent> {
        self.run(inputs, outputs, Path::new("sh"), &["-c", line])
    }

    /// An error once Ctrl-C came.
    ///
    /// # Errors
    /// Then.
    pub fn check(&self) -> io::Result<()> {
        match self.stopped.load(Ordering::Relaxed) {
            true => Err(io::Error::new(io::ErrorKind::Interrupted, "stopped")),
            false => Ok(()),
        }
    }
}

/// Writes `size` bytes of made-up content, the same each time.
///
/// # Errors
/// Where they can't be written.
pub fn write_content(out: &mut impl Write, size: u64) -> io::Result<()> {
    let piece = content(size.min(REPEATS) as usize);
    let mut left = size;
    while left > 0 {
        let len = left.min(REPEATS) as usize;
        out.write_all(&piece[..len])?;
        left -= len as u64;
    }
    out.flush()
}
