//! The laboratory itself is proved: a toy engine that is right shows nothing, and each mistake
//! planted in it is caught.

mod environment;

use std::fs;
use std::process::Command;

use environment::seed;
use ringpack_lab::record::{Options, record};
use ringpack_lab::survey::survey;
use ringpack_lab::toy::{self, Manner};
use ringpack_lab::{Base, Flavour, Lab, Log, tool};

/// States shown of each manner.
const STATES: usize = 150;

fn log(base: &Base<'_>, manner: Manner, seed: u64) -> Log {
    let (log, output) = record(base, &Options::new(seed), |folder, ctl| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_toy-writer"));
        tool::finish(command.arg(manner.name()).arg(folder).arg(ctl))
    });
    assert!(output.status.success(), "{manner:?}: {}", String::from_utf8_lossy(&output.stderr));
    log
}

/// Whether a file system shows a manner to be wrong. ext4 by default begins to write a file that is
/// renamed over another: there it depends on the moment whether anything comes of having forgotten
/// to sync it.
fn shows(flavour: Flavour, manner: Manner) -> Option<bool> {
    match (flavour, manner) {
        (Flavour::Ext4, Manner::NoSyncBeforeRename) => None,
        _ => Some(!manner.is_right()),
    }
}

fn check(test: &str, flavour: Flavour) {
    let Some(lab) = Lab::new(test) else { return };
    let (old, new) = (toy::old(), toy::new());
    let prepare = |folder: &std::path::Path| fs::write(folder.join(toy::TARGET), &old).unwrap();
    let Some(base) = Base::new(&lab, flavour, 2 * toy::LEN as u64, prepare) else { return };
    let seed = seed();
    for manner in Manner::ALL {
        let log = log(&base, manner, seed);
        let findings = survey(&base, &log, seed, STATES, |folder, claims| {
            toy::check(folder, claims, &old, &new)
        });
        println!("{manner:?}: {findings}");
        // What can't be mounted is the file system's own failing, and hides no mistake of the
        // toy's: it is printed. Where nothing is wrong, nothing may be.
        assert!(!manner.is_right() || findings.unmountable.is_empty(), "{manner:?}: {findings}");
        if let Some(shows) = shows(flavour, manner) {
            assert_eq!(!findings.broken.is_empty(), shows, "{manner:?}: {findings}");
        }
    }
}

#[test]
fn ext4_catches_the_toys_mistakes() {
    check("ext4_catches_the_toys_mistakes", Flavour::Ext4);
}

#[test]
fn strict_ext4_catches_the_toys_mistakes() {
    check("strict_ext4_catches_the_toys_mistakes", Flavour::Ext4Strict);
}

#[test]
fn xfs_catches_the_toys_mistakes() {
    check("xfs_catches_the_toys_mistakes", Flavour::Xfs);
}

#[test]
fn btrfs_catches_the_toys_mistakes() {
    check("btrfs_catches_the_toys_mistakes", Flavour::Btrfs);
}
