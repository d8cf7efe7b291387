//! The container that is served, made of a log where there is none yet.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ringpack::format::header::Digest;
use ringpack::pack::{Input, Output, PackOptions, pack};
use ringpack::ring::os::OsDisk;
use ringpack::{Cancel, ContainerReader, Error, ErrorKind, Result};

/// What is served.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) container: ContainerReader,
    /// Names the content in a header, where the container has a digest of it.
    pub(crate) etag: Option<String>,
}

/// Opens the container at `path`, or packs the log there and opens what became of it.
pub(crate) fn open(path: &Path) -> Result<Archive> {
    let container = match ContainerReader::open(path) {
        Err(error) if error.kind() == ErrorKind::NotAContainer => {
            ContainerReader::open(packed(path)?)?
        }
        opened => opened?,
    };
    // That the digest is of this content: each chunk is compared with its part of it when read.
    container.container().check_sums()?;
    let etag = match container.header().digest {
        Digest::Blake3(digest) => {
            let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            Some(format!("\"{digits}\""))
        }
        Digest::None => None,
    };
    Ok(Archive { container, etag })
}

fn packed(log: &Path) -> Result<PathBuf> {
    let mut name = OsString::from(log);
    name.push(".zst");
    let target = PathBuf::from(name);
    // Parts of it are read: no more than a MiB is decoded for any.
    let options = PackOptions { blake3: true, chunk_log2: Some(20), ..PackOptions::default() };
    let (from, to) = (Input::Path(log.to_owned()), Output::Path(target.clone()));
    match pack(&OsDisk, from, to, &options, &Cancel::new()) {
        Ok(_) => Ok(target),
        Err(error) if error.kind() == ErrorKind::TargetExists => {
            let error = Error::new(ErrorKind::TargetExists, "exists already").at(target);
            Err(error.hint("if it is this log's container, name it instead"))
        }
        Err(error) => Err(error),
    }
}
