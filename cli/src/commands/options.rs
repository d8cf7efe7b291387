//! Options as typed become the engine's.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use ringpack::Digest;
use ringpack::commit::Cadence;
use ringpack::limits;
use ringpack::pack::{Codec, Expected};
use ringpack::pipeline::IoMode;

use crate::args;
use crate::exit::Failure;
use crate::job::Share;
use crate::producer::Producer;
use crate::quoting::{quoted, quoted_word};
use crate::signals::Signals;

impl args::Io {
    pub(super) fn threads(&self) -> Option<usize> {
        Some(self.threads).filter(|&threads| threads > 0)
    }

    /// The same for a job that has only so much of the machine.
    pub(super) fn threads_of(&self, share: Share) -> Option<usize> {
        match share {
            Share::All => self.threads(),
            Share::Core => Some(1),
        }
    }

    /// How a job that has only so much of the machine is to read and write: of one read and one
    /// write nothing is batched, and a ring takes longer to set up than they do.
    pub(super) fn mode_of(&self, share: Share) -> IoMode {
        match (share, self.mode()) {
            (Share::Core, IoMode::Auto) => IoMode::Pwrite,
            (_, mode) => mode,
        }
    }

    pub(super) fn mode(&self) -> IoMode {
        match self.mode {
            args::IoMode::Auto => IoMode::Auto,
            args::IoMode::Uring => IoMode::Uring,
            args::IoMode::Pwrite => IoMode::Pwrite,
        }
    }
}

impl args::Encoding {
    pub(super) fn codec(&self) -> Result<Codec, Failure> {
        let level = self.level.unwrap_or(limits::LEVEL_DEFAULT);
        if self.store {
            Ok(Codec::Store)
        } else if level > limits::LEVEL_COMMON_MAX && !self.ultra {
            Err(Failure::Usage(format!("level {level} takes much memory: allow it with --ultra")))
        } else {
            Ok(Codec::Zstd(level))
        }
    }
}

impl args::Checkpoints {
    /// When they are taken. What was asked for is done whatever it costs.
    pub(super) fn cadence(&self) -> Option<Cadence> {
        let Self { no_checkpoint, checkpoint_size, checkpoint_seconds, .. } = *self;
        let (bytes, interval) = match (checkpoint_size, checkpoint_seconds) {
            _ if no_checkpoint => return None,
            (None, None) => return Some(Cadence::default()),
            (bytes, seconds) => (bytes, seconds.map(Duration::from_secs)),
        };
        Some(Cadence {
            bytes: bytes.unwrap_or(u64::MAX),
            interval: interval.unwrap_or(Duration::MAX),
            percent_max: 100,
        })
    }

    /// Has signals leave a checkpoint where that is wanted.
    pub(super) fn tell(&self, signals: &Signals) {
        if self.keep_partial {
            signals.keep_on_interrupt();
        }
    }
}

impl args::Guards {
    /// What must hold of the content, of `producer`'s if it is one's.
    pub(super) fn expected(&self, producer: Option<&Producer<'_>>, keep: bool) -> Expected {
        Expected {
            size: self.expect_size,
            blake3: self.expect_blake3,
            confirm: producer.map(Producer::confirm).unwrap_or_default(),
            keep,
        }
    }

    /// The command that goes on with a job, for people to copy. `input` is what the arguments name
    /// as it.
    pub(super) fn resume_command(
        &self,
        target: &Path,
        from_stdin: bool,
        input: &[OsString],
    ) -> String {
        let mut command = format!("ringpack resume {}", quoted(target));
        if let Some(size) = self.expect_size {
            command += &format!(" --expect-size {size}");
        }
        if let Some(digits) = self.expect_blake3.and_then(|it| Digest::Blake3(it).hex()) {
            command += &format!(" --expect-blake3 {digits}");
        }
        if self.from_command {
            let words: Vec<String> = input.iter().map(|word| quoted_word(word, "")).collect();
            command += &format!(" --from-command -- {}", words.join(" "));
        }
        if from_stdin { format!("PRODUCER | {command}") } else { command }
    }
}
