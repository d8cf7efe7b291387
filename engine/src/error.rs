//! The one public error: what kind it is, where it happened, and what to do next.
//!
//! The kind is for programs (the command line maps it to an exit code), the context and the hint
//! are for people. A programmer's mistake is an assertion, not an `Error`; a torn tail of a journal
//! is data, not an `Error`.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};

use crate::escape::{Tamed, shown};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for programs to tell apart.
///
/// ```
/// use ringpack::{ContainerReader, ErrorKind};
///
/// let refused = ContainerReader::from_source(b"no container at all".to_vec());
/// match refused.map_err(|error| error.kind()) {
///     Err(ErrorKind::NotAContainer) => println!("something else"),
///     Err(ErrorKind::Damaged) => println!("a container once"),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ErrorKind {
    /// Options that contradict each other or lie outside their range.
    InvalidOptions,
    /// The input can't be opened or read.
    Input,
    /// The input changed while it was read: it shrank, grew or was written to.
    InputChanged,
    /// Who was asked whether the content is whole, its producer say, denied it.
    Refused,
    /// The content has another length or digest than was expected.
    Unexpected,
    /// The content of a container differs from the source that it was compared with.
    Differs,
    /// The input is no ringpack container.
    NotAContainer,
    /// A container of a version, or with a feature, that this build doesn't know.
    Unsupported,
    /// A container that is truncated, or whose bytes don't match their checksums.
    Damaged,
    /// The target exists and replacing it was not asked for.
    TargetExists,
    /// Another process is writing the same target.
    Locked,
    /// The output can't be created or written.
    Output,
    /// The file system of the output, or the owner's quota, is full.
    NoSpace,
    /// The reader of the output went away.
    OutputClosed,
    /// io_uring was required and the system refuses it.
    NoUring,
    /// The job was cancelled by its owner.
    Cancelled,
    /// The job was stopped by its owner, and can be gone on with.
    Suspended,
    /// There is nothing to go on with, or it was made of another input or with other options.
    NotResumable,
    /// There is nothing to resume: the container is complete already.
    Complete,
    /// A range that lies outside the content.
    OutOfRange,
    /// A chunk that a program gave to a writer twice, too early, of the wrong length, or not at
    /// all.
    Sequence,
    /// The system has no memory to give, to the codec for one.
    OutOfMemory,
    /// A writer can't be ended through one of its clones while others are left.
    InUse,
    /// A defect of the engine itself: a thread of the job panicked.
    Internal,
}

/// An error with its place and its remedy.
///
/// ```
/// use ringpack::{ContainerReader, ErrorKind};
///
/// let error = ContainerReader::open("/no/such/file.zst").expect_err("there is none");
/// assert_eq!(error.kind(), ErrorKind::Input);
/// assert_eq!(error.path(), Some("/no/such/file.zst".as_ref()));
/// assert!(error.to_string().contains("No such file"));
/// ```
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    path: Option<PathBuf>,
    sequence: Option<u64>,
    offset: Option<u64>,
    hint: Option<Cow<'static, str>>,
    resumable: Option<u64>,
    complete: Option<PathBuf>,
    source: Option<io::Error>,
}

/// As a program's log would have it: what is known, and the message a person would read.
#[cfg(feature = "serde")]
impl serde::Serialize for Error {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let Inner { kind, path, sequence, offset, hint, .. } = &*self.0;
        let mut fields = serializer.serialize_struct("Error", 6)?;
        fields.serialize_field("kind", kind)?;
        fields.serialize_field("message", &self.to_string())?;
        fields.serialize_field("path", &path.as_ref().map(|path| path.to_string_lossy()))?;
        fields.serialize_field("chunk", sequence)?;
        fields.serialize_field("offset", offset)?;
        fields.serialize_field("hint", hint)?;
        fields.end()
    }
}

impl Error {
    /// An error of `kind`, saying `message`: what was being done or found, in lower case and
    /// without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            path: None,
            sequence: None,
            offset: None,
            hint: None,
            resumable: None,
            complete: None,
            source: None,
        }))
    }

    /// An error made from the system's own: `kind`, unless the cause is a full disk or quota, which
    /// is [`ErrorKind::NoSpace`], or a closed pipe, which is [`ErrorKind::OutputClosed`].
    pub fn from_io(
        kind: ErrorKind,
        message: impl Into<Cow<'static, str>>,
        source: io::Error,
    ) -> Self {
        let kind = match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => ErrorKind::NoSpace,
            Some(libc::EPIPE) if kind == ErrorKind::Output => ErrorKind::OutputClosed,
            _ => kind,
        };
        let mut error = Self::new(kind, message);
        if kind == ErrorKind::NoSpace {
            error = error.hint("free some space there, or write to another file system");
        }
        error.0.source = Some(source);
        error
    }

    /// Names the file, unless a deeper layer named it already.
    #[must_use]
    pub fn at(mut self, path: impl AsRef<Path>) -> Self {
        self.0.path.get_or_insert_with(|| path.as_ref().to_owned());
        self
    }

    /// Whether it is for want of memory.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.0.source.as_ref().is_some_and(|source| source.kind() == io::ErrorKind::OutOfMemory)
    }

    /// Names the chunk.
    #[must_use]
    pub fn sequence(mut self, sequence: u64) -> Self {
        self.0.sequence.get_or_insert(sequence);
        self
    }

    /// Names the place in the file, in bytes.
    #[must_use]
    pub fn offset(mut self, offset: u64) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Says that what was done before it is kept: a checkpoint covers `bytes` of the content.
    #[must_use]
    pub fn resumable(mut self, bytes: u64) -> Self {
        self.0.resumable = Some(bytes);
        self
    }

    /// Bytes of the content that a checkpoint covers, where the job can be gone on with.
    #[must_use]
    pub fn resumable_bytes(&self) -> Option<u64> {
        self.0.resumable
    }

    /// Says that the output is complete, and stands at `path` because it couldn't be given its
    /// name.
    #[must_use]
    pub fn complete(mut self, path: PathBuf) -> Self {
        self.0.complete.get_or_insert(path);
        self
    }

    /// Where the output stands, whole and durable, if all that failed was to give it its name.
    /// Renaming that file to [`Self::path`] publishes it.
    #[must_use]
    pub fn complete_file(&self) -> Option<&Path> {
        self.0.complete.as_deref()
    }

    /// The same error once more, for another who has to hear of it. The cause keeps its number and
    /// its text.
    #[must_use]
    pub fn again(&self) -> Self {
        let inner = &self.0;
        let source = inner.source.as_ref().map(|source| match source.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::new(source.kind(), source.to_string()),
        });
        Self(Box::new(Inner {
            kind: inner.kind,
            message: inner.message.clone(),
            path: inner.path.clone(),
            sequence: inner.sequence,
            offset: inner.offset,
            hint: inner.hint.clone(),
            resumable: inner.resumable,
            complete: inner.complete.clone(),
            source,
        }))
    }

    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file concerned, where there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The chunk concerned, where there is one.
    #[must_use]
    pub fn chunk(&self) -> Option<u64> {
        self.0.sequence
    }

    /// The error number of the system call behind this, where there is one.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.source.as_ref().and_then(io::Error::raw_os_error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (inner, mut f) = (&self.0, Tamed(f));
        if let Some(path) = &inner.path {
            write!(f, "{}: ", shown(path))?;
        }
        match (inner.sequence, inner.offset) {
            (Some(sequence), Some(offset)) => write!(f, "chunk {sequence} at byte {offset}: ")?,
            (Some(sequence), None) => write!(f, "chunk {sequence}: ")?,
            (None, Some(offset)) => write!(f, "at byte {offset}: ")?,
            (None, None) => {}
        }
        f.write_str(&inner.message)?;
        if let Some(source) = &inner.source {
            write!(f, ": {source}")?;
        }
        if let Some(hint) = &inner.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl From<Error> for io::Error {
    /// Wraps the error: as `InvalidData` what is damaged, as `StorageFull` a full disk, as `Other`
    /// anything else.
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Damaged => io::ErrorKind::InvalidData,
            ErrorKind::NoSpace => io::ErrorKind::StorageFull,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_file_place_cause_and_remedy() {
        let error = Error::from_io(
            ErrorKind::Output,
            "cannot write",
            io::Error::from_raw_os_error(libc::EIO),
        )
        .at("/backup/db.zst")
        .sequence(7)
        .offset(4096)
        .hint("check the device");
        assert_eq!(
            error.to_string(),
            "/backup/db.zst: chunk 7 at byte 4096: cannot write: Input/output error (os error 5); \
             check the device"
        );
        assert_eq!(error.kind(), ErrorKind::Output);
        let again = error.again();
        assert_eq!(again.to_string(), error.to_string());
        assert_eq!((again.kind(), again.raw_os_error()), (error.kind(), Some(libc::EIO)));
    }

    #[test]
    fn a_full_disk_and_a_closed_pipe_are_kinds_of_their_own() {
        let kind = |errno| {
            let source = io::Error::from_raw_os_error(errno);
            Error::from_io(ErrorKind::Output, "cannot write", source).kind()
        };
        assert_eq!(kind(libc::ENOSPC), ErrorKind::NoSpace);
        assert_eq!(kind(libc::EDQUOT), ErrorKind::NoSpace);
        assert_eq!(kind(libc::EPIPE), ErrorKind::OutputClosed);
        assert_eq!(kind(libc::EIO), ErrorKind::Output);
    }

    #[test]
    fn no_name_makes_a_line_of_its_own() {
        let error = Error::new(ErrorKind::Damaged, "torn \u{1b}").at("a\nringpack: b\u{202e}");
        assert_eq!(error.to_string(), r"a\nringpack: b\u{202e}: torn \x1b");
    }

    #[test]
    fn the_deepest_layer_names_the_place() {
        let error = Error::new(ErrorKind::Damaged, "torn").at("a").at("b");
        assert_eq!(error.path(), Some(Path::new("a")));
    }
}
