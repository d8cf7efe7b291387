//! Peak memory: whether it grows with the content, and whether it stays within its bound.

use std::io;

use crate::outcome::{Bound, Outcome, Unit};
use crate::setting::{IN, Setting};

const MIB: f64 = 1_048_576.0;

/// How much longer the longer content is.
const TIMES: u64 = 4;

/// Memory that a job may take whatever it does, and beside that a core, in MiB.
const MEBIBYTES: (usize, usize) = (64, 32);

/// Against the same job on less content, and against the bound.
pub(crate) fn peak(setting: &Setting) -> io::Result<Vec<Outcome>> {
    let most = (MEBIBYTES.0 + MEBIBYTES.1 * setting.cores) as f64;
    let mut outcomes = Vec::new();
    setting.place.fill("short", (setting.size / TIMES) & !0xFFF, Some(&setting.place.path(IN)))?;
    for (name, flag) in [("-1", "-1"), ("-3", "-3"), ("--store", "--store"), ("unpack", "")] {
        let job = match flag {
            "" => "memory, unpack".to_owned(),
            _ => format!("memory, pack {name}"),
        };
        let shorter = format!("1/{TIMES} of the content");
        let mut flat = Outcome::new(&job, shorter, Bound::AtMost(1.1), Unit::Size);
        let mut bound = Outcome::new(&job, "its bound", Bound::AtMost(1.0), Unit::Size);
        let (mut long, mut short) = (IN, "short");
        if flag.is_empty() {
            setting.ringpack(&["pack", "-q"], IN, "long.zst")?;
            setting.ringpack(&["pack", "-q"], "short", "short.zst")?;
            (long, short) = ("long.zst", "short.zst");
        }
        for _ in setting.rounds(&job) {
            let args = match flag {
                "" => vec!["unpack", "-q"],
                flag => vec!["pack", "-q", flag],
            };
            let ours = setting.ringpack(&args, long, "out")?.peak as f64 / MIB;
            let shorter = setting.ringpack(&args, short, "out")?.peak as f64 / MIB;
            flat.pair(ours, shorter);
            bound.pair(ours, most);
        }
        outcomes.extend([flat, bound]);
    }
    setting.place.remove(&["short", "long.zst", "short.zst", "out"])?;
    Ok(outcomes)
}
