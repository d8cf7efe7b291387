//! `ringpack info`.

use std::fmt::Write as _;
use std::process::ExitCode;

use ringpack::Cancel;
use ringpack::escape::shown;
use ringpack::format::header::{CodecKind, Header, PlacementKind};
use ringpack::read::Container;
use ringpack::ring::os::OsDisk;
use serde::Serialize;

use super::foreign;
use super::report::{json, part, print, sized};
use crate::args;
use crate::exit::Failure;
use crate::size::human;
use crate::streams::refuse_stdin;

/// What is known of a container without reading its content. Sizes are in bytes.
#[derive(Debug, Serialize)]
struct Summary {
    path: String,
    content_size: u64,
    file_size: u64,
    chunk_size: u64,
    chunk_count: u64,
    codec: &'static str,
    level: Option<i32>,
    zstd_version: String,
    placement: &'static str,
    extent_chunks: u16,
    content_crc32c: String,
    blake3: Option<String>,
    /// Members of the archive that it holds, if it has an index of them.
    members: Option<u64>,
}

pub(crate) fn run(args: &args::Info, cancel: &Cancel) -> Result<ExitCode, Failure> {
    refuse_stdin(&args.input)?;
    let container = match Container::open(&OsDisk, &args.input, false) {
        Err(error) if foreign::may_be(&error) => {
            let listing = ringpack::foreign::list(&OsDisk, &args.input, cancel)?;
            let summary = foreign::Summary::new(&args.input, &listing);
            return print(&if args.json { json("info", &summary)? } else { summary.human() });
        }
        container => container?,
    };
    let summary = Summary::new(args.input.to_string_lossy().into_owned(), container.header());
    let text = if args.json { json("info", &summary)? } else { summary.human() };
    print(&text)
}

impl Summary {
    fn new(path: String, header: &Header) -> Self {
        let version = header.zstd_version;
        Self {
            path,
            content_size: header.content_size,
            file_size: header.file_size,
            chunk_size: header.chunk_len(),
            chunk_count: header.chunk_count,
            codec: match header.codec {
                CodecKind::Store => "store",
                CodecKind::Zstd => "zstd",
            },
            level: Some(header.level).filter(|_| header.codec == CodecKind::Zstd),
            zstd_version: format!("{}.{}.{}", version / 10000, version / 100 % 100, version % 100),
            placement: match header.placement {
                PlacementKind::Dense => "dense",
                PlacementKind::Slots => "slots",
            },
            extent_chunks: header.extent_chunks,
            content_crc32c: format!("{:08x}", header.content_crc32c),
            blake3: header.digest.hex(),
            members: Some(header.member_count).filter(|&count| count > 0),
        }
    }

    fn human(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<10} {value}");
        };
        line("container", &shown(&self.path).to_string());
        line("content", &sized(self.content_size));
        line("file", &part(self.file_size, Some(self.content_size)));
        line("chunks", &format!("{} of {}", self.chunk_count, human(self.chunk_size)));
        let level = self.level.map_or_else(String::new, |level| format!(" level {level}"));
        line("codec", &format!("{}{level}, libzstd {}", self.codec, self.zstd_version));
        let extent = format!("{}, {} chunks an extent", self.placement, self.extent_chunks);
        line("placement", &extent);
        line("crc32c", &self.content_crc32c);
        line("blake3", self.blake3.as_deref().unwrap_or("none"));
        if let Some(members) = self.members {
            line("members", &format!("{members}, listed by ringpack ls"));
        }
        text
    }
}
