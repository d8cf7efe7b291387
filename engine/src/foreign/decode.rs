//! Decoding a frame of another program: whole where its length is known and small, else piece by
//! piece with bounded memory.

use std::hash::Hasher;

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

use super::feed::Feed;
use super::measure::{Place, cut_short};
use crate::codec;
use crate::error::{ErrorKind, Result};
use crate::format::zstd::ContentFront;

/// Content given out at a time: what libzstd recommends, one block.
const PIECE_BYTES: usize = 128 << 10;

/// Decodes frames, one after the other.
pub(super) struct FrameDecoder {
    context: DCtx<'static>,
    window_max: u64,
    piece: Vec<u8>,
}

/// What a frame turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Decoded {
    /// Length of the frame.
    pub(super) len: u64,
    /// Length of its content.
    pub(super) content_size: u64,
    /// Low half of the XXH64 of the content.
    pub(super) xxh64_low: u32,
}

impl FrameDecoder {
    /// A decoder that remembers at most `window_max` bytes.
    pub(super) fn new(window_max: u64) -> Result<Self> {
        let mut context = DCtx::try_create().ok_or_else(codec::out_of_memory)?;
        let log = log2_ceil(window_max).clamp(10, 31);
        context.set_parameter(DParameter::WindowLogMax(log)).map_err(codec::failed)?;
        Ok(Self { context, window_max, piece: Vec::new() })
    }

    /// Decodes the frame that `bytes` are, which has to hold `content_size` bytes.
    pub(super) fn whole(
        &mut self,
        place: Place,
        bytes: &[u8],
        content_size: usize,
    ) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        if content.try_reserve_exact(content_size).is_err() {
            return Err(place.error(ErrorKind::OutOfMemory, "there is no memory for its content"));
        }
        content.resize(content_size, 0);
        match self.context.decompress(&mut content[..], bytes) {
            Ok(len) if len == content_size => Ok(content),
            Ok(_) => Err(place.damaged("it holds less than is stated of it")),
            Err(code) => Err(place.damaged(get_error_name(code))),
        }
    }

    /// Decodes the frame at `place`, which `feed` has come to, giving its content to `sink`. What
    /// was read is released.
    pub(super) fn streamed(
        &mut self,
        feed: &mut Feed<'_>,
        place: Place,
        front: &ContentFront,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Decoded> {
        if front.window > self.window_max {
            let (window, most) = (front.window.div_ceil(1 << 20), self.window_max >> 20);
            let what = format!("it needs a window of {window} MiB, where {most} MiB are allowed");
            let log = log2_ceil(front.window);
            let hint = match log {
                ..=31 => format!("allow it with --long={log} or --memory={window}MiB"),
                _ => "no decoder has as much".to_owned(),
            };
            return Err(place.error(ErrorKind::Unsupported, &what).hint(hint));
        }
        let broken = |code| place.damaged(get_error_name(code));
        self.context.reset(ResetDirective::SessionOnly).map_err(broken)?;
        self.piece.resize(PIECE_BYTES, 0);
        let mut hash = twox_hash::XxHash64::with_seed(0);
        let mut at = place.offset;
        let mut content_size = 0;
        loop {
            let bytes = feed.ahead(at)?;
            let ended = bytes.is_empty();
            let mut input = InBuffer::around(bytes);
            let mut output = OutBuffer::around(&mut self.piece[..]);
            let left = self.context.decompress_stream(&mut output, &mut input).map_err(broken)?;
            let got = output.pos();
            at += input.pos() as u64;
            feed.release(at);
            let piece = &self.piece[..got];
            hash.write(piece);
            content_size += got as u64;
            if got > 0 {
                sink(piece)?;
            }
            if left == 0 {
                break;
            }
            if ended && got == 0 {
                return Err(cut_short(place));
            }
        }
        if front.content_size.is_some_and(|stated| stated != content_size) {
            return Err(place.damaged("it holds another amount than it states"));
        }
        let len = at - place.offset;
        Ok(Decoded { len, content_size, xxh64_low: hash.finish() as u32 })
    }
}

/// The logarithm of the least power of two that is no less than `bytes`, which may be one that 64
/// bits can't hold.
fn log2_ceil(bytes: u64) -> u32 {
    u64::BITS - bytes.saturating_sub(1).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithm_of_any_size() {
        for (bytes, log) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 2),
            (1 << 27, 27),
            ((1 << 27) + 1, 28),
            (1 << 63, 63),
            ((1 << 63) + 1, 64),
            (u64::MAX, 64),
        ] {
            assert_eq!(log2_ceil(bytes), log, "{bytes}");
        }
    }
}
