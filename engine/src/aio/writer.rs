//! Writing a container in an ordinary tokio program.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};

use super::blocking;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Checkpoint;
use crate::ring::file::Attributes;
use crate::write::{ContainerWriter, ReopenOptions, WriteOptions, WriteReport};

/// Writes a container chunk by chunk, as [`ContainerWriter`] does, without ever blocking a thread
/// of the runtime: chunks are encoded on threads that may block.
///
/// Clones are the same writer. It is finalized through the last of them; dropped instead, it
/// aborts.
///
/// ```
/// use ringpack::aio::AsyncContainerWriter;
/// use ringpack::write::WriteOptions;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> ringpack::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data.zst");
/// let writer = AsyncContainerWriter::create(&path, &WriteOptions::default()).await?;
/// let other = writer.clone();
/// let task = tokio::spawn(async move { other.write_chunk(1, b"the end".to_vec()).await });
/// writer.write_chunk(0, vec![7; 1 << 20]).await?;
/// task.await.expect("it doesn't panic")?;
/// let report = writer.finalize(None).await?;
/// assert_eq!(report.header.chunk_count, 2);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncContainerWriter {
    writer: Shared,
    activity: Arc<Activity>,
}

/// The writer, whose end blocks for a moment: where it is dropped on a thread of a runtime, that is
/// done elsewhere.
#[derive(Clone, Debug)]
struct Shared(Option<Arc<ContainerWriter>>);

impl Drop for Shared {
    fn drop(&mut self) {
        let writer = self.0.take().and_then(Arc::into_inner);
        if let (Some(writer), Ok(runtime)) = (writer, tokio::runtime::Handle::try_current()) {
            runtime.spawn_blocking(move || drop(writer));
        }
    }
}

/// The calls that are under way, also those that nobody waits for any more.
#[derive(Debug, Default)]
struct Activity {
    calls: AtomicUsize,
    idle: Notify,
}

impl Activity {
    /// Waits until no call is under way.
    async fn ended(&self) {
        loop {
            let idle = self.idle.notified();
            if self.calls.load(SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// A call under way.
struct Call {
    writer: Option<Shared>,
    activity: Arc<Activity>,
}

impl Call {
    fn writer(&self) -> &ContainerWriter {
        self.writer.as_ref().and_then(|shared| shared.0.as_deref()).expect("only its drop takes it")
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // The writer first: whoever waits for the call then finds it free.
        self.writer = None;
        if self.activity.calls.fetch_sub(1, SeqCst) == 1 {
            self.activity.idle.notify_waiters();
        }
    }
}

impl AsyncContainerWriter {
    /// As [`ContainerWriter::create`].
    ///
    /// # Errors
    /// As there.
    pub async fn create(path: impl Into<PathBuf>, options: &WriteOptions) -> Result<Self> {
        let (path, options) = (path.into(), options.clone());
        blocking(move || ContainerWriter::create(path, &options)).await.map(Self::from)
    }

    /// As [`ContainerWriter::reopen_with`].
    ///
    /// # Errors
    /// As there.
    pub async fn reopen(path: impl Into<PathBuf>, options: &ReopenOptions) -> Result<Self> {
        let (path, options) = (path.into(), options.clone());
        blocking(move || ContainerWriter::reopen_with(path, &options)).await.map(Self::from)
    }

    /// As [`ContainerWriter::reopen_or_create`].
    ///
    /// # Errors
    /// As there.
    pub async fn reopen_or_create(
        path: impl Into<PathBuf>,
        options: &WriteOptions,
    ) -> Result<Self> {
        let (path, options) = (path.into(), options.clone());
        blocking(move || ContainerWriter::reopen_or_create(path, &options)).await.map(Self::from)
    }

    /// The writer itself: what it was given, and what it goes on from. Its own calls block.
    pub fn get_ref(&self) -> &ContainerWriter {
        self.writer.0.as_ref().expect("only its drop takes it")
    }

    fn call(&self) -> Call {
        self.activity.calls.fetch_add(1, SeqCst);
        Call { writer: Some(self.writer.clone()), activity: Arc::clone(&self.activity) }
    }

    /// As [`ContainerWriter::write_chunk`]. If it is dropped before it is done, the chunk is given
    /// all the same.
    ///
    /// # Errors
    /// As there.
    pub async fn write_chunk(
        &self,
        sequence: u64,
        bytes: impl AsRef<[u8]> + Send + 'static,
    ) -> Result<()> {
        let call = self.call();
        blocking(move || call.writer().write_chunk(sequence, bytes.as_ref())).await
    }

    /// As [`ContainerWriter::checkpoint`].
    ///
    /// # Errors
    /// As there.
    pub async fn checkpoint(&self) -> Result<Checkpoint> {
        let call = self.call();
        blocking(move || call.writer().checkpoint()).await
    }

    /// As [`ContainerWriter::finalize`], after all calls under way, also those that were given up.
    ///
    /// # Errors
    /// As there; `InUse` where a clone is left, through which the writer goes on.
    pub async fn finalize(self, attributes: impl Into<Option<Attributes>>) -> Result<WriteReport> {
        let (writer, attributes) = (self.into_inner().await?, attributes.into());
        blocking(move || writer.finalize(attributes)).await
    }

    /// As [`ContainerWriter::suspend`], after all calls under way.
    ///
    /// # Errors
    /// As there; `InUse` where a clone is left, through which the writer goes on.
    pub async fn suspend(self) -> Result<Checkpoint> {
        let writer = self.into_inner().await?;
        blocking(move || writer.suspend()).await
    }

    async fn into_inner(self) -> Result<ContainerWriter> {
        self.activity.ended().await;
        self.alone()
    }

    /// The writer, if there is no clone.
    fn alone(mut self) -> Result<ContainerWriter> {
        let writer = self.writer.0.take().expect("only its drop takes it");
        Arc::into_inner(writer).ok_or_else(|| {
            let what = "another clone of the writer is still in use";
            Error::new(ErrorKind::InUse, what).hint("end it through that one")
        })
    }
}

impl From<ContainerWriter> for AsyncContainerWriter {
    fn from(writer: ContainerWriter) -> Self {
        Self { writer: Shared(Some(Arc::new(writer))), activity: Arc::default() }
    }
}

/// Writes bytes in order: an [`AsyncWrite`] that cuts them into chunks.
///
/// Shutting it down writes the last chunk and finalizes the container; [`finish`](Self::finish)
/// does so and gives the report. Dropped before that it aborts. Flushing waits for the chunk that
/// is being given, and no more: only whole chunks can be.
///
/// ```
/// use ringpack::aio::{AsyncContainerWriter, AsyncStreamWriter};
/// use ringpack::write::WriteOptions;
/// use tokio::io::AsyncWriteExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("data.zst");
/// let writer = AsyncContainerWriter::create(&path, &WriteOptions::default()).await?;
/// let mut stream = AsyncStreamWriter::new(writer);
/// stream.write_all(b"any bytes").await?;
/// let report = stream.finish().await?;
/// assert_eq!(report.header.content_size, 9);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct AsyncStreamWriter {
    state: StreamState,
    chunk_len: usize,
    /// The chunk that is being filled.
    next: u64,
    filling: Vec<u8>,
}

#[derive(Debug)]
enum StreamState {
    /// Bytes are taken.
    Filling(AsyncContainerWriter),
    /// A chunk is given; its memory comes back.
    Giving(AsyncContainerWriter, JoinHandle<(Vec<u8>, Result<()>)>),
    /// The last chunk is given and the container finalized.
    Finishing(JoinHandle<Result<WriteReport>>),
    Finished(Box<WriteReport>),
    Failed,
}

impl AsyncStreamWriter {
    /// Writes to `writer`, from chunk 0 on. Chunks that were given before it was reopened are
    /// passed over, not compared: the bytes are to be sent again from the start.
    #[must_use]
    pub fn new(writer: AsyncContainerWriter) -> Self {
        let chunk_len = writer.get_ref().chunk_len();
        let state = StreamState::Filling(writer);
        Self { state, chunk_len, next: 0, filling: Vec::new() }
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        let given = match self.state {
            StreamState::Giving(..) => self.chunk_len,
            _ => self.filling.len(),
        };
        self.next * self.chunk_len as u64 + given as u64
    }

    /// Writes the last chunk and finalizes.
    ///
    /// # Errors
    /// As of [`ContainerWriter::finalize`].
    pub async fn finish(mut self) -> Result<WriteReport> {
        let finished = std::future::poll_fn(|context| self.poll_finish(context)).await;
        finished.map_err(unwrapped)?;
        match self.state {
            StreamState::Finished(report) => Ok(*report),
            _ => Err(Error::new(ErrorKind::Internal, "the stream was shut down before")),
        }
    }

    /// Until no chunk is being given.
    fn poll_given(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let StreamState::Giving(_, giving) = &mut self.state else { return Poll::Ready(Ok(())) };
        let given = ready!(Pin::new(giving).poll(context));
        let StreamState::Giving(writer, _) =
            std::mem::replace(&mut self.state, StreamState::Failed)
        else {
            unreachable!("it was looked at above")
        };
        let (mut memory, given) = given.map_err(|_| panicked())?;
        given?;
        memory.clear();
        self.filling = memory;
        self.next += 1;
        self.state = StreamState::Filling(writer);
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_given(context))?;
        loop {
            match std::mem::replace(&mut self.state, StreamState::Failed) {
                StreamState::Filling(writer) => {
                    let (next, last) = (self.next, std::mem::take(&mut self.filling));
                    let is_last = !last.is_empty() || next == 0;
                    self.state = StreamState::Finishing(spawn_blocking(move || {
                        let writer = writer.alone()?;
                        if is_last && !writer.is_given(next) {
                            writer.write_chunk(next, &last)?;
                        }
                        writer.finalize(None)
                    }));
                }
                StreamState::Finishing(mut finishing) => {
                    let Poll::Ready(finished) = Pin::new(&mut finishing).poll(context) else {
                        self.state = StreamState::Finishing(finishing);
                        return Poll::Pending;
                    };
                    self.state =
                        StreamState::Finished(Box::new(finished.map_err(|_| panicked())??));
                }
                StreamState::Finished(report) => {
                    self.state = StreamState::Finished(report);
                    return Poll::Ready(Ok(()));
                }
                StreamState::Giving(..) => unreachable!("nothing is being given any more"),
                StreamState::Failed => return Poll::Ready(Err(failed_before())),
            }
        }
    }
}

impl AsyncWrite for AsyncStreamWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_given(context))?;
        if !matches!(self.state, StreamState::Filling(_)) {
            return Poll::Ready(Err(failed_before()));
        }
        let taken = bytes.len().min(self.chunk_len - self.filling.len());
        self.filling.extend(&bytes[..taken]);
        if self.filling.len() == self.chunk_len {
            let (next, filled) = (self.next, std::mem::take(&mut self.filling));
            if let StreamState::Filling(writer) =
                std::mem::replace(&mut self.state, StreamState::Failed)
            {
                let call = writer.call();
                let give = move || {
                    let writer = call.writer();
                    let is_given = writer.is_given(next);
                    let given = if is_given { Ok(()) } else { writer.write_chunk(next, &filled) };
                    (filled, given)
                };
                self.state = StreamState::Giving(writer, spawn_blocking(give));
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_given(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_finish(context)
    }
}

fn panicked() -> io::Error {
    Error::new(ErrorKind::Internal, "a blocking thread panicked").into()
}

fn failed_before() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the stream has ended or failed before")
}

/// The engine's own error in an [`io::Error`] that was made of one.
fn unwrapped(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(other) => Error::from_io(ErrorKind::Output, "cannot write", other),
    }
}
