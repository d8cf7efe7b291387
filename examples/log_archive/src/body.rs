//! A response's body: a line of text, or a part of the content as it is decoded.

use std::io::{self, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use ringpack::ContainerReader;
use ringpack::aio::AsyncContentReader;
use tokio::io::{AsyncBufRead, AsyncSeek};

/// Most bytes that are given to the connection at once.
const PIECE_BYTES: usize = 64 << 10;

/// What is sent.
#[derive(Debug)]
pub(crate) enum Sent {
    /// A line, or nothing.
    Line(&'static str),
    /// What is left of a part of the content.
    Content(Content),
}

/// A part of the content.
#[derive(Debug)]
pub(crate) struct Content {
    reader: AsyncContentReader,
    left: u64,
}

impl Content {
    /// The bytes of `range`, which the content has. Its first chunk is read now, so that damage
    /// there can be told before anything is promised.
    pub(crate) async fn begin(container: &ContainerReader, range: Range<u64>) -> io::Result<Self> {
        let mut reader = AsyncContentReader::new(container.clone());
        Pin::new(&mut reader).start_seek(SeekFrom::Start(range.start))?;
        std::future::poll_fn(|context| Pin::new(&mut reader).poll_fill_buf(context).map_ok(|_| ()))
            .await?;
        Ok(Self { reader, left: range.end - range.start })
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let held = ready!(Pin::new(&mut self.reader).poll_fill_buf(context))?;
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let piece = Bytes::copy_from_slice(&held[..held.len().min(most)]);
        Pin::new(&mut self.reader).consume(piece.len());
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(piece)))
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    /// A chunk that turns out damaged ends the connection: what was sent is then shorter than it
    /// was said to be, and the client knows.
    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Line("") => Poll::Ready(None),
            Self::Line(line) => {
                let all = Bytes::from_static(std::mem::take(line).as_bytes());
                Poll::Ready(Some(Ok(Frame::data(all))))
            }
            Self::Content(content) => {
                content.poll_piece(context).map(|piece| piece.map(|it| it.map(Frame::data)))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Line(line) => line.len() as u64,
            Self::Content(content) => content.left,
        })
    }
}
