//! `ringpack cat`.

use std::process::ExitCode;

use ringpack::foreign::read_range;
use ringpack::read::Container;
use ringpack::ring::os::OsDisk;
use ringpack::ring::stream::PipeEnd;
use ringpack::{Cancel, Error, ErrorKind};

use super::{foreign, standard_output};
use crate::args;
use crate::exit::Failure;

pub(crate) fn run(args: &args::Cat, cancel: &Cancel) -> Result<ExitCode, Failure> {
    let failed =
        |error| Error::from_io(ErrorKind::Output, "cannot write", error).at("standard output");
    let output = PipeEnd::for_writing(standard_output(args.force)?, cancel).map_err(failed)?;
    let mut sink = |bytes: &[u8]| {
        if output.write_full(bytes).map_err(failed)? {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"))
        }
    };
    let container = match Container::open(&OsDisk, &args.input, false) {
        Err(error) if foreign::may_be(&error) => {
            let end = args.length.map(|length| args.offset.saturating_add(length));
            let (range, options) = ((args.offset, end), args.foreign.options(None));
            read_range(&OsDisk, &args.input, range, &options, cancel, &mut sink)?;
            return Ok(ExitCode::SUCCESS);
        }
        container => container?,
    };
    let size = container.header().content_size;
    let length = args.length.unwrap_or_else(|| size.saturating_sub(args.offset));
    let end = args.offset.checked_add(length).ok_or_else(|| {
        Failure::Usage(
            "--offset and --length together pass the largest file there can be: give less".into(),
        )
    })?;
    container.read_range(args.offset..end, &mut sink)?;
    Ok(ExitCode::SUCCESS)
}
