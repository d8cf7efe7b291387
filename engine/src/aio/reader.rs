//! A container's content as tokio knows files: read from a position that moves.
//!
//! ```text
//!          poll: another chunk is needed
//!   Idle ───────────────────────────────► Busy    the chunk that is held goes along
//!    ▲                                      │
//!    └──────────────────────────────────────┘
//!          poll: the thread is done
//! ```
//!
//! Reading a chunk from the source and decoding it is one task of [`tokio::task::spawn_blocking`];
//! copying out of a chunk that is held is done in place. A seek moves the position and touches
//! nothing else: which chunk is needed is asked anew at each poll, and a chunk that nobody needs
//! any more when it is done is just not copied from.
//!
//! # Invariants
//! - AR1: the position moves only with bytes that were given out, or by a seek. A read that is
//!   dropped while it waits loses nothing.
//! - AR2: an error is given to a read of the chunk that it is about, never to one of another.

use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, ReadBuf};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::error::Result;
use crate::read::ContainerReader;
use crate::read::content::{io_error, sought};
use crate::read::held::Held;

/// Reads the content of a container from a position on, on a tokio runtime; the asynchronous
/// [`ContentReader`](crate::read::ContentReader).
///
/// It holds one chunk, decoded and verified. Any number of them can read one container at once,
/// each with a position of its own; each has at most one chunk read for it at a time, by
/// [`tokio::task::spawn_blocking`]. A read or a seek may be dropped at any point and another begun.
/// Dropped itself, it leaves behind at most the chunk that is being decoded, whose thread ends by
/// itself.
///
/// # Errors
/// Reading fails with an [`io::Error`] that wraps an [`Error`](crate::Error) of the engine: of kind
/// [`io::ErrorKind::InvalidData`] where a chunk is damaged. The position then stays, so that the
/// next read finds the same, and one past the damage can be sought. It also fails where it is
/// polled outside a tokio runtime, or on one that shuts down.
///
/// ```
/// use std::io::SeekFrom;
///
/// use ringpack::ContainerReader;
/// use ringpack::aio::AsyncContentReader;
/// use tokio::io::{AsyncReadExt, AsyncSeekExt};
///
/// async fn end(container: ContainerReader) -> std::io::Result<String> {
///     let mut reader = AsyncContentReader::new(container);
///     reader.seek(SeekFrom::End(-4)).await?;
///     let mut end = String::new();
///     reader.read_to_string(&mut end).await?;
///     Ok(end)
/// }
/// # use ringpack::pack::{Input, Output, PackOptions, pack};
/// # use ringpack::{Cancel, ring::os::OsDisk};
/// # let dir = tempfile::tempdir()?;
/// # let (input, output) = (dir.path().join("data"), dir.path().join("data.zst"));
/// # std::fs::write(&input, b"something to keep")?;
/// # let to = Output::Path(output.clone());
/// # pack(&OsDisk, Input::Path(input), to, &PackOptions::default(), &Cancel::new())?;
/// let container = ContainerReader::open(&output)?;
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// assert_eq!(runtime.block_on(end(container))?, "keep");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AsyncContentReader {
    container: ContainerReader,
    state: State,
    position: u64,
}

#[derive(Debug)]
enum State {
    /// Nothing is being read; nothing is held before the first chunk was, nor after a task failed.
    Idle(Option<Held>),
    /// A thread reads a chunk.
    Busy(Fetch),
}

/// A chunk that is being read.
#[derive(Debug)]
struct Fetch {
    sequence: u64,
    task: JoinHandle<Result<Fetched>>,
}

/// What held the chunk before and holds the new one, unless that went wrong.
type Fetched = (Held, Result<()>);

impl AsyncContentReader {
    /// A reader at the start of the content.
    #[must_use]
    pub fn new(container: ContainerReader) -> Self {
        Self { container, state: State::Idle(None), position: 0 }
    }

    /// The container it reads.
    #[must_use]
    pub fn container(&self) -> &ContainerReader {
        &self.container
    }

    /// Gets the chunk that the position lies in, which the content has, and gives what of it lies
    /// behind the position.
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let chunk_len = self.container.header().chunk_len();
        let (sequence, at) = (self.position / chunk_len, self.position % chunk_len);
        loop {
            match &mut self.state {
                State::Idle(Some(held)) if held.get(sequence).is_some() => break,
                State::Idle(held) => {
                    let held = held.take();
                    self.state = State::Busy(Fetch::begin(&self.container, held, sequence)?);
                }
                State::Busy(fetch) => {
                    let about = fetch.sequence;
                    let done = ready!(Pin::new(&mut fetch.task).poll(context));
                    // A task that panicked, or that the runtime didn't run, gives nothing back.
                    let (held, failed) = match done {
                        Ok(Ok((held, result))) => (Some(held), result.err().map(io_error)),
                        Ok(Err(error)) => (None, Some(io_error(error))),
                        Err(error) => (None, Some(io::Error::other(error))),
                    };
                    self.state = State::Idle(held);
                    // AR2: what the position has left behind is no concern of this read's.
                    if let Some(error) = failed.filter(|_| about == sequence) {
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
        let State::Idle(Some(held)) = &self.state else { unreachable!("the chunk is held") };
        Poll::Ready(Ok(&held.get(sequence).expect("the chunk is held")[at as usize..]))
    }
}

impl Fetch {
    fn begin(container: &ContainerReader, held: Option<Held>, sequence: u64) -> io::Result<Self> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let container = container.clone();
        let task = runtime.spawn_blocking(move || {
            let mut held = held.map_or_else(Held::new, Ok)?;
            let result = held.chunk(container.container(), sequence).map(|_| ());
            Ok((held, result))
        });
        Ok(Self { sequence, task })
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        // A chunk that waits for a thread needs none any more; one that has it is finished.
        self.task.abort();
    }
}

impl AsyncBufRead for AsyncContentReader {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.position >= this.container.len() {
            return Poll::Ready(Ok(&[]));
        }
        this.poll_rest(context)
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let this = self.get_mut();
        this.position = this.position.saturating_add(amount as u64);
    }
}

impl AsyncRead for AsyncContentReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let rest = ready!(self.as_mut().poll_fill_buf(context))?;
        let step = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..step]);
        // AR1: with the bytes, and only now.
        self.consume(step);
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for AsyncContentReader {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let this = self.get_mut();
        this.position = sought(to, this.position, this.container.len())?;
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}
