//! The examples, run as anyone would: whole, killed midway, called again, called wrongly.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::processes::until;
use support::{binary, names};

/// An example's program. `just build` makes them; without that this fails.
fn example(name: &str) -> Command {
    let path = binary().with_file_name("examples").join(name);
    assert!(path.exists(), "{}: build the examples first (just build)", path.display());
    Command::new(path)
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.zst");
    (folder, path)
}

fn says(command: &mut Command, expected: &str) {
    let said = String::from_utf8(support::succeed(command)).unwrap();
    assert!(said.contains(expected), "{said}");
}

/// Kills it once a checkpoint stands, and calls it again.
fn killed_and_called_again(name: &str) {
    let (folder, path) = folder();
    // A checkpoint stands after a GiB, or ten seconds.
    let count = "1300";
    let mut child = example(name).arg(&path).arg(count).stdout(Stdio::null()).spawn().unwrap();
    until("a checkpoint stands, or all is done", || {
        let names = names(folder.path());
        names.iter().any(|name| name.ends_with("-journal")) || names == ["out.zst"]
    });
    child.kill().unwrap();
    child.wait().unwrap();
    if path.exists() {
        // It was faster than the looking.
        std::fs::remove_file(&path).unwrap();
    }
    says(example(name).arg(&path).arg(count), "1300 chunks read back as they were given");
    assert_eq!(names(folder.path()), ["out.zst"]);
}

#[test]
fn chunks_in_random_order_survive_a_kill() {
    killed_and_called_again("random_order");
}

#[test]
fn chunks_in_random_order_on_tokio_uring_survive_a_kill() {
    killed_and_called_again("random_order_uring");
}

#[test]
fn a_download_fetches_only_what_is_missing() {
    let (folder, path) = folder();
    let died = example("parallel_download").arg(&path).arg("25").output().unwrap();
    assert!(!died.status.success() && !path.exists());
    let again = support::succeed(example("parallel_download").arg(&path));
    let again = String::from_utf8(again).unwrap();
    let there: u64 = again.split(' ').next().and_then(|count| count.parse().ok()).unwrap();
    assert!((25..=40).contains(&there), "{again}");
    assert!(again.contains("bytes are as they were served"), "{again}");
    assert_eq!(names(folder.path()), ["out.zst"]);
}

#[test]
fn a_database_that_changes_is_written_as_of_one_moment() {
    let (folder, path) = folder();
    says(example("database_snapshot").arg(&path), "8192 pages are those of one moment");
    assert_eq!(names(folder.path()), ["out.zst"]);
}

#[test]
fn a_model_s_checkpoint_is_replaced_all_at_once() {
    let (folder, path) = folder();
    let model = |args: &[&str]| {
        let mut command = example("model_checkpoint");
        command.arg(&path).args(args);
        command
    };
    says(&mut model(&["1"]), "step 1: 22 tensors as they were trained");
    let died = model(&["2", "--die"]).output().unwrap();
    assert!(!died.status.success());
    says(&mut model(&[]), "step 1: 22 tensors as they were trained");
    says(&mut model(&["3"]), "step 3: 22 tensors as they were trained");
    says(&mut model(&[]), "step 3");
    assert_eq!(names(folder.path()), ["out.zst"]);
}

#[test]
fn wrong_calls_are_told() {
    for name in ["parallel_download", "database_snapshot", "model_checkpoint"] {
        let wrong = example(name).output().unwrap();
        assert_eq!(wrong.status.code(), Some(1), "{name}");
        assert!(String::from_utf8_lossy(&wrong.stderr).contains("usage: "), "{name}");
    }
    let nowhere = Path::new("/no/such/folder/out.zst");
    for name in ["parallel_download", "database_snapshot"] {
        let refused = example(name).arg(nowhere).output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{name}");
    }
}
