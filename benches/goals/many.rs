//! Many small files: what starting a process and publishing a file cost.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ringpack::pack::{Input, Output, PackOptions, pack};
use ringpack::{Cancel, OsDisk};
use ringpack_benches::content;

use crate::outcome::{Bound, Outcome, Unit};
use crate::setting::Setting;

/// Bytes of each.
const LEN: usize = 64 << 10;
/// Where they are, and where their containers go.
const MANY: (&str, &str) = ("many", "packed");

/// One process a file, and one for all, by the library one file after another and by the program;
/// against `zstd` for all and a sync of each.
pub(crate) fn many(setting: &Setting) -> io::Result<Vec<Outcome>> {
    let files = setting.files;
    let of = |job: &str, bound| {
        let against = "zstd for all, and a sync of each";
        Outcome::new(format!("{files} files of 64 KiB, {job}"), against, bound, Unit::Seconds)
    };
    let mut each = of("a process each", Bound::Known);
    let mut one = of("the library, one after another", Bound::Known);
    let mut all = of("one process", Bound::AtMost(1.0));
    let mut start =
        Outcome::new("a file, a process each", "in one process", Bound::Known, Unit::Millis);
    make(setting)?;
    let zstd = setting.has("zstd");
    for _ in setting.rounds("small files") {
        let by_processes = timed(setting, |input, output| {
            let mut process = std::process::Command::new(&setting.ringpack);
            let status = process.args(["pack", "-q"]).arg(input).arg("-o").arg(output).status()?;
            match status.success() {
                true => Ok(()),
                false => Err(io::Error::other(format!("ringpack: {status}"))),
            }
        })?;
        let by_one = timed(setting, by_library)?;
        let by_all = by_program(setting, &[])?;
        let count = f64::from(files);
        start.pair(by_processes * 1e3 / count, by_one * 1e3 / count);
        if zstd {
            let line = format!(
                "mkdir {1} && zstd -q --filelist list --output-dir-flat {1} && \
                 sed 's,^{0},{1},;s,$,.zst,' list | xargs sync && sync {1}",
                MANY.0, MANY.1
            );
            let theirs = setting.place.shell(&[], &[MANY.1], &line)?.wall;
            for (outcome, ours) in
                [(&mut each, by_processes), (&mut one, by_one), (&mut all, by_all)]
            {
                outcome.pair(ours, theirs);
            }
        }
    }
    remove(setting)?;
    Ok(vec![each, one, all, start])
}

/// Makes the files, no two alike, and a list of them.
pub(crate) fn make(setting: &Setting) -> io::Result<()> {
    let bytes = content(LEN * 1024);
    let folder = setting.place.path(MANY.0);
    fs::create_dir(&folder)?;
    let mut list = io::BufWriter::new(fs::File::create(setting.place.path("list"))?);
    for number in 0..setting.files {
        let at = number as usize % 1023 * LEN + number as usize / 1023 * 512 % LEN;
        fs::write(folder.join(number.to_string()), &bytes[at..at + LEN])?;
        writeln!(list, "{}/{number}", MANY.0)?;
    }
    list.flush()
}

/// Removes them, and what became of them.
pub(crate) fn remove(setting: &Setting) -> io::Result<()> {
    setting.place.remove(&[MANY.0, MANY.1, "list"])
}

/// Seconds that packing each file takes, one after another.
fn timed(setting: &Setting, pack: impl Fn(PathBuf, PathBuf) -> io::Result<()>) -> io::Result<f64> {
    setting.place.settle(&[], &[MANY.1])?;
    let (from, to) = (setting.place.path(MANY.0), setting.place.path(MANY.1));
    fs::create_dir(&to)?;
    let name = |number: u32, folder: &Path| folder.join(number.to_string());
    let start = Instant::now();
    for number in 0..setting.files {
        setting.place.check()?;
        pack(name(number, &from), name(number, &to).with_extension("zst"))?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Seconds that the program takes for all by these options; the containers stand beside the files.
pub(crate) fn by_program(setting: &Setting, options: &[&str]) -> io::Result<f64> {
    let (program, options) = (setting.ringpack.display(), options.join(" "));
    let line = format!("'{program}' pack -q {options} {}/*", MANY.0);
    let spent = setting.place.shell(&[], &[MANY.1], &line)?;
    let folder = setting.place.path(MANY.0);
    for number in 0..setting.files {
        fs::remove_file(folder.join(format!("{number}.zst")))?;
    }
    Ok(spent.wall)
}

fn by_library(input: PathBuf, output: PathBuf) -> io::Result<()> {
    let (from, to) = (Input::Path(input), Output::Path(output));
    let packed = pack(&OsDisk, from, to, &PackOptions::default(), &Cancel::new());
    packed.map(drop).map_err(io::Error::other)
}
