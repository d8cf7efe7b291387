//! What the device can do, by fio: large direct reads and writes, as many at once as the engine
//! has in flight.

use std::fs;
use std::io;

use ringpack::limits;
use serde::Deserialize;

use crate::setting::Setting;

/// What fio does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way<'a> {
    /// Reads the file.
    Read(&'a str),
    /// Writes a file of so many bytes, and syncs it.
    Write(u64),
    /// Both at once, and as much.
    Both(&'a str),
}

/// What fio reports, as far as it is needed.
#[derive(Deserialize)]
struct Told {
    jobs: Vec<ToldJob>,
}

#[derive(Deserialize)]
struct ToldJob {
    /// Milliseconds, the final sync included.
    job_runtime: u64,
}

/// Bytes a second by fio's own clock, which leaves out its start; `None` where it isn't here.
pub(crate) fn rate(setting: &Setting, way: Way<'_>) -> io::Result<Option<f64>> {
    if !setting.has("fio") {
        return Ok(None);
    }
    let (input, size) = match way {
        Way::Read(input) | Way::Both(input) => (Some(input), setting.place.len(input)?),
        Way::Write(size) => (None, size),
    };
    let mut line = format!(
        "fio --output-format=json --output=told --ioengine=io_uring --direct=1 --bs={} \
         --iodepth={} --size={size}",
        limits::EXTENT_RAW_BYTES,
        setting.depth
    );
    if let Some(input) = input {
        line += &format!(" --name=read --rw=read --filename={input}");
    }
    if !matches!(way, Way::Read(_)) {
        line += " --name=write --rw=write --filename=other --end_fsync=1";
    }
    let inputs: Vec<&str> = input.into_iter().collect();
    setting.place.shell(&inputs, &["other", "told"], &line)?;
    let told: Told = serde_json::from_slice(&fs::read(setting.place.path("told"))?)?;
    let millis = told.jobs.iter().map(|job| job.job_runtime).max().unwrap_or(0).max(1);
    setting.place.remove(&["other", "told"])?;
    Ok(Some(size as f64 * 1000.0 / millis as f64))
}
