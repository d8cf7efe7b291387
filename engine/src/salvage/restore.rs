//! Writing what was placed: each frame read and decoded once more, and nothing else.

use std::sync::Arc;

use super::place::Plan;
use super::survey::{Found, Survey};
use super::window::Window;
use crate::checksum::crc32c;
use crate::codec::{Decoder, is_zero};
use crate::error::{Error, ErrorKind, Result};
use crate::ring::file::File;
use crate::ring::whole::write_all;

/// Writes the content as far as there is any. What is lost stays a hole, and so do chunks of zeros.
pub(super) fn restore(
    window: &mut Window<'_>,
    survey: &Survey,
    plan: &Plan,
    output: &Arc<dyn File>,
) -> Result<()> {
    let mut decoder = Decoder::new()?;
    let mut chunk = Vec::new();
    let failed = |what| move |error| Error::from_io(ErrorKind::Output, what, error);
    let mut held = None;
    for (&start, piece) in &plan.pieces {
        let found = &survey.frames[piece.frame];
        // One frame may be several chunks: what is alike is stored alike.
        if held != Some(piece.frame) {
            decode(window, &mut decoder, found, &mut chunk)?;
            held = Some(piece.frame);
        }
        if !is_zero(&chunk) {
            write_all(output.as_ref(), &chunk, start)
                .map_err(|error| failed("cannot write")(error).offset(start))?;
        }
    }
    output.set_len(plan.content_len).map_err(failed("cannot set the file's length"))
}

fn decode(
    window: &mut Window<'_>,
    decoder: &mut Decoder,
    found: &Found,
    chunk: &mut Vec<u8>,
) -> Result<()> {
    chunk.resize(found.raw_len as usize, 0);
    let bytes = window.get(found.offset, found.len as usize)?;
    let changed = || {
        let what = "a frame isn't what it was when it was looked at first";
        Error::new(ErrorKind::InputChanged, what).offset(found.offset)
    };
    if crc32c(bytes) != found.crc32c {
        return Err(changed());
    }
    decoder.decode(bytes, chunk).map_err(|_| changed())
}
