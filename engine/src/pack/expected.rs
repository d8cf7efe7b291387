//! What must hold of the content before anything is published.
//!
//! The end of a stream looks the same whether its producer was done or died, so somebody else has
//! to know: the length or the digest that the content is to have, or a [`Confirm`] who is asked.
//!
//! ```text
//! last byte read ─► confirmed? ─► size? ─► last extent written ─► digest? ─► tail, publish
//! ```
//!
//! All is settled before the tail is begun. Of a stream, all but the digest is settled before the
//! last portion is even handed to the cores: that portion may end in the middle of what the
//! producer meant to send, and a checkpoint that covered such a piece could not be gone on with. In
//! numbers: a producer dies after 9.5 chunks; nine are covered, and when it sends the same content
//! again, all nine are found in it. A tenth of half the length would not be.
//!
//! # Invariants
//! - CF1: whoever is to confirm is asked once, after the last byte was read, unless the job failed
//!   before.
//! - CF2: of content that is refused or not as expected, no tail is written and nothing published.
//! - CF3: of a stream that is refused, no checkpoint covers a chunk that it broke off in.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::Digest;
use crate::planted::{self, Bug};

/// What the content must be, or nothing is published; by default anything.
///
/// ```
/// use ringpack::pack::{Expected, Input, Output, PackOptions, pack};
/// use ringpack::{Cancel, ErrorKind, OsDisk};
///
/// # let dir = tempfile::tempdir().unwrap();
/// # let (input, target) = (dir.path().join("data"), dir.path().join("data.zst"));
/// # std::fs::write(&input, b"something to keep").unwrap();
/// let expected = Expected { size: Some(18), ..Expected::default() };
/// let options = PackOptions { expected, ..PackOptions::default() };
/// let (from, to) = (Input::Path(input), Output::Path(target.clone()));
/// let refused = pack(&OsDisk, from, to, &options, &Cancel::new());
/// assert_eq!(refused.map_err(|error| error.kind()).err(), Some(ErrorKind::Unexpected));
/// assert!(!target.exists());
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Expected {
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Its BLAKE3 digest, which the container then must keep.
    pub blake3: Option<[u8; 32]>,
    /// Who is asked whether it is whole.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub confirm: Confirm,
    /// Whether what was packed of content that is refused is kept, with a checkpoint, to be gone on
    /// with. What an earlier run left is kept anyway.
    pub keep: bool,
}

/// Who is asked, once, after the last byte of the content was read, whether that is all of it. Two
/// are equal if they are clones of one another.
///
/// The call may wait for what it has to know; meanwhile it should look at [`End::is_stopped`].
///
/// ```
/// use std::process::{Command, Stdio};
/// use std::sync::Mutex;
/// use ringpack::pack::{Confirm, Expected, Input, Output, PackOptions, pack};
/// use ringpack::{Cancel, ErrorKind, OsDisk};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let target = dir.path().join("data.zst");
/// let mut producer =
///     Command::new("sh").args(["-c", "echo a beginning; exit 3"]).stdout(Stdio::piped()).spawn()?;
/// let stdout = producer.stdout.take().expect("it is piped");
/// let producer = Mutex::new(producer);
/// let confirm = Confirm::new(move |_| match producer.lock().unwrap().wait() {
///     Ok(status) if status.success() => Ok(()),
///     Ok(status) => Err(format!("the producer failed: {status}").into()),
///     Err(error) => Err(error.to_string().into()),
/// });
/// let expected = Expected { confirm, ..Expected::default() };
/// let options = PackOptions { expected, ..PackOptions::default() };
/// let stdout = std::fs::File::from(std::os::fd::OwnedFd::from(stdout));
/// let from = Input::Stream(stdout, "the producer's output".to_owned());
/// let refused = pack(&OsDisk, from, Output::Path(target.clone()), &options, &Cancel::new());
/// assert_eq!(refused.map_err(|error| error.kind()).err(), Some(ErrorKind::Refused));
/// assert!(!target.exists());
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Confirm(Option<Call>);

/// What a refusal says: why, in lower case and without a full stop.
type Verdict = std::result::Result<(), Cow<'static, str>>;
type Call = Arc<dyn Fn(&End<'_>) -> Verdict + Send + Sync>;

impl Confirm {
    /// Has `call` asked. What it returns as an error is why the content is refused: the job then
    /// ends with [`ErrorKind::Refused`] and that message.
    pub fn new(call: impl Fn(&End<'_>) -> Verdict + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(call)))
    }
}

impl PartialEq for Confirm {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        }
    }
}

impl Eq for Confirm {}

impl fmt::Debug for Confirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Confirm(..)" } else { "Confirm(none)" })
    }
}

/// The end of the content, as a [`Confirm`] is shown it.
///
/// ```
/// use ringpack::pack::Confirm;
///
/// let confirm = Confirm::new(|end| match end.size() {
///     0 => Err("there is nothing in it".into()),
///     _ => Ok(()),
/// });
/// # let _ = confirm;
/// ```
#[derive(Debug)]
pub struct End<'a> {
    size: u64,
    stop: &'a Cancel,
}

impl End<'_> {
    /// Bytes of the content.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether the job was stopped or failed meanwhile: what is answered then matters no more.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }
}

impl Expected {
    /// Holds the length of content that is known before it is read against what is expected.
    ///
    /// # Errors
    /// `Unexpected` where it is another.
    pub(super) fn check_size(&self, size: u64) -> Result<()> {
        match self.size {
            Some(expected) if size != expected => {
                Err(unexpected(format!("has {size} bytes where {expected} are expected")))
            }
            _ => Ok(()),
        }
    }

    /// Holds what was read of a stream so far against what is expected; `ended` if that is all.
    /// `stop` is the job's.
    ///
    /// # Errors
    /// `Unexpected` for a longer stream, and as [`Self::check_end`] where it ended.
    pub(super) fn check_read(&self, size: u64, ended: bool, stop: &Cancel) -> Result<()> {
        if ended {
            return self.check_end(size, stop);
        }
        match self.size {
            Some(expected) if size > expected => {
                Err(unexpected(format!("goes on after {size} bytes where {expected} are expected")))
            }
            _ => Ok(()),
        }
    }

    /// Asks whether content of `size` bytes is whole. `stop` is the job's.
    ///
    /// # Errors
    /// `Refused` where it isn't, `Unexpected` where it has another length, `Cancelled` where the
    /// job was stopped meanwhile.
    pub(super) fn check_end(&self, size: u64, stop: &Cancel) -> Result<()> {
        // CF1: the one place where it is asked.
        let verdict = self.confirm.0.as_ref().map_or(Ok(()), |call| call(&End { size, stop }));
        if planted::is(Bug::RefusalIgnored) {
            return Ok(());
        }
        match verdict {
            Err(_) if stop.is_cancelled() => {
                Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"))
            }
            Err(why) => Err(Error::new(ErrorKind::Refused, why)),
            Ok(()) => self.check_size(size),
        }
    }

    /// Holds the digest of the content, where one was made, against the one expected.
    ///
    /// # Errors
    /// `Unexpected` where it is another, or none.
    pub(super) fn check_digest(&self, digest: &Digest) -> Result<()> {
        let Some(expected) = self.blake3.map(Digest::Blake3) else { return Ok(()) };
        if *digest == expected {
            return Ok(());
        }
        let hex = |digest: &Digest| digest.hex().unwrap_or_else(|| "none".to_owned());
        let (found, expected) = (hex(digest), hex(&expected));
        Err(unexpected(format!("has the BLAKE3 digest {found} where {expected} is expected")))
    }
}

fn unexpected(what: String) -> Error {
    Error::new(ErrorKind::Unexpected, what)
        .hint("see whether the input is whole, or mend what is expected of it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    fn kind(result: Result<()>) -> Option<ErrorKind> {
        result.map_err(|error| error.kind()).err()
    }

    #[test]
    fn nothing_expected_is_anything() {
        let (expected, stop) = (Expected::default(), Cancel::new());
        assert_eq!(kind(expected.check_size(7)), None);
        assert_eq!(kind(expected.check_read(7, false, &stop)), None);
        assert_eq!(kind(expected.check_read(7, true, &stop)), None);
        assert_eq!(kind(expected.check_digest(&Digest::None)), None);
    }

    #[test]
    fn cf1_who_confirms_is_asked_at_the_end_alone_and_heard_before_the_size() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let confirm = Confirm::new(move |end| {
            count.fetch_add(1, SeqCst);
            if end.size() == 5 { Ok(()) } else { Err("it broke off".into()) }
        });
        let expected = Expected { size: Some(6), confirm, ..Expected::default() };
        let stop = Cancel::new();
        assert_eq!(kind(expected.check_read(4, false, &stop)), None);
        assert_eq!(kind(expected.check_read(7, false, &stop)), Some(ErrorKind::Unexpected));
        assert_eq!(asked.load(SeqCst), 0);
        let refused = expected.check_read(4, true, &stop).unwrap_err();
        assert_eq!(
            (refused.kind(), refused.to_string()),
            (ErrorKind::Refused, "it broke off".into())
        );
        assert_eq!(kind(expected.check_read(5, true, &stop)), Some(ErrorKind::Unexpected));
        assert_eq!(asked.load(SeqCst), 2);
        stop.cancel();
        assert_eq!(kind(expected.check_read(4, true, &stop)), Some(ErrorKind::Cancelled));
    }

    #[test]
    fn both_digests_are_said() {
        let expected = Expected { blake3: Some([0xAB; 32]), ..Expected::default() };
        assert_eq!(kind(expected.check_digest(&Digest::Blake3([0xAB; 32]))), None);
        let error = expected.check_digest(&Digest::Blake3([1; 32])).unwrap_err().to_string();
        assert!(error.contains(&"01".repeat(32)) && error.contains(&"ab".repeat(32)), "{error}");
        assert_eq!(kind(expected.check_digest(&Digest::None)), Some(ErrorKind::Unexpected));
    }
}
