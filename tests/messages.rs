//! What programs are told: an object a line with `--json`, valid by the schemas in `docs/schema`;
//! metrics; logs; and what the environment says.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;
use support::processes::{Running, until};
use support::schema::messages;
use support::{content, names, ringpack, run, skip, succeed};

/// A folder with a file `in` and a container of it, `in.zst`; another, `bad.zst`, is damaged.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("in"), content(9 << 20, 1)).unwrap();
    succeed(ringpack(["pack", "-1"]).arg(path("in")));
    let mut bytes = fs::read(path("in.zst")).unwrap();
    bytes[5000] ^= 1;
    fs::write(path("bad.zst"), bytes).unwrap();
    folder
}

/// Runs the program; its code, and its messages, which come on standard error if `aside`.
fn told(folder: &Path, args: &str, aside: bool) -> (Option<i32>, Vec<Value>) {
    let output = run(ringpack(args.split(' ')).arg("--json").current_dir(folder));
    let (said, silent) = match aside {
        true => (&output.stderr, None),
        false => (&output.stdout, Some(&output.stderr)),
    };
    assert_eq!(silent.map_or("", |text| std::str::from_utf8(text).unwrap()), "", "{args}");
    (output.status.code(), messages(said))
}

/// The types of messages, and of summaries the command.
fn types(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["message_type"].as_str().unwrap()).collect()
}

#[test]
fn every_command_reports_as_its_schema_says() {
    let folder = folder();
    let folder = folder.path();
    let table = [
        ("pack -f in", false, "pack"),
        ("pack -c in", true, "pack"),
        ("pack -f --digest blake3 --io pwrite in", false, "pack"),
        ("unpack -f in.zst", false, "unpack"),
        ("unpack -c in.zst", true, "unpack"),
        ("verify in.zst", false, "verify"),
        ("verify --decode -q in.zst", false, "verify"),
        ("info in.zst", false, "info"),
        ("clean .", false, "clean"),
        ("bench --size 8M --rounds 1", false, "bench"),
        ("salvage in.zst -o salvaged", false, "salvage"),
        ("doctor .", false, "doctor"),
        ("pack tree", false, "pack"),
        ("info tree.tar.zst", false, "info"),
        ("unpack -x tree.tar.zst -o restored", false, "unpack"),
        ("unpack other.zst", false, "unpack"),
        ("verify other.zst", false, "verify"),
        ("info other.zst", false, "info"),
    ];
    fs::create_dir(folder.join("tree")).unwrap();
    fs::copy(folder.join("in"), folder.join("tree/in")).unwrap();
    succeed(Command::new("zstd").args(["-q", "in", "-o", "other.zst"]).current_dir(folder));
    for (args, aside, command) in table {
        let (code, found) = told(folder, args, aside);
        assert_eq!((code, types(&found)), (Some(0), vec!["summary"]), "{args}: {found:?}");
        assert_eq!(found[0]["command"], command, "{args}");
        if ["pack", "unpack", "verify", "info"].contains(&command) {
            let content = found[0]["content_size"].as_u64().unwrap();
            let archive = 9 << 20..(9 << 20) + 20_000;
            let is_tree = args.contains("tree");
            assert!(content == 9 << 20 || is_tree && archive.contains(&content), "{args}");
        }
        // What rings have no part in has no stages.
        if ["pack", "unpack", "verify"].contains(&command) && !found[0]["tier"].is_null() {
            assert!(!found[0]["bottleneck"].is_null(), "{args}: {}", found[0]);
        }
    }
}

#[test]
fn members_are_messages_and_what_is_said_of_them_stands_aside() {
    let folder = folder();
    let folder = folder.path();
    fs::create_dir(folder.join("tree")).unwrap();
    fs::copy(folder.join("in"), folder.join("tree/in")).unwrap();
    succeed(ringpack(["pack", "tree"]).current_dir(folder));
    // Of a tar that was packed as a stream, there is no index.
    let tar = succeed(ringpack(["unpack", "-c", "tree.tar.zst"]).current_dir(folder));
    fs::write(folder.join("tar"), tar).unwrap();
    succeed(ringpack(["pack", "tar"]).current_dir(folder));
    for (container, warned) in [("tree.tar.zst", 0), ("tar.zst", 1)] {
        let output = run(ringpack(["ls", "--json", container]).current_dir(folder));
        let found = messages(&output.stdout);
        assert_eq!(types(&found), ["member", "member"], "{container}");
        assert_eq!((&found[1]["path"], &found[1]["size"]), (&"tree/in".into(), &(9 << 20).into()));
        assert_eq!(types(&messages(&output.stderr)), vec!["warning"; warned], "{container}");
    }
}

#[test]
fn errors_are_messages_too() {
    let folder = folder();
    let folder = folder.path();
    let before = names(folder);
    let table = [
        ("pack in", 7, "target_exists"),
        ("pack missing", 3, "input"),
        ("pack --rm in -o -", 2, "usage"),
        ("pack --level 99 in", 2, "usage"),
        ("unpack in", 2, "usage"),
        ("unpack -o out in", 4, "not_a_container"),
        ("unpack bad.zst", 6, "damaged"),
        ("resume nothing", 13, "not_resumable"),
        ("verify missing", 3, "input"),
        ("info missing", 3, "input"),
        ("clean missing", 1, "output"),
    ];
    for (args, expected, kind) in table {
        let aside = args.ends_with("-o -");
        let (code, found) = told(folder, args, aside);
        let errors: Vec<_> =
            found.iter().filter(|message| message["message_type"] == "error").collect();
        let [error] = errors[..] else { panic!("{args}: {found:?}") };
        assert_eq!((code, &error["kind"]), (Some(expected), &Value::from(kind)), "{args}");
        assert_eq!(error["exit_code"], expected, "{args}");
        assert_eq!(names(folder), before, "{args}");
    }
    let (_, found) = told(folder, "pack in", false);
    assert!(found[0]["hint"].as_str().unwrap().contains("--force"), "{}", found[0]);
}

#[test]
fn a_damage_is_named_and_the_summary_counts_it() {
    let folder = folder();
    let (code, found) = told(folder.path(), "verify in.zst bad.zst missing", false);
    assert_eq!(code, Some(6));
    assert_eq!(types(&found), ["summary", "error", "summary", "error"], "{found:?}");
    assert_eq!((&found[0]["intact"], &found[2]["intact"]), (&true.into(), &false.into()));
    assert_eq!((&found[1]["chunk"], &found[1]["path"]), (&0.into(), &"bad.zst".into()));
    assert_eq!(found[2]["damage_count"], 1);
    assert_eq!(found[3]["exit_code"], 3);
}

#[test]
fn checkpoints_warnings_and_logs_are_messages() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("out.ringpack-partial"), b"left by somebody").unwrap();
    let mut command = ringpack(["pack", "--json", "--checkpoint-size", "4M", "in", "-o", "out"]);
    let output = run(command.env("RINGPACK_LOG", "debug").current_dir(folder));
    let found = messages(&output.stdout);
    for kind in ["checkpoint", "warning", "log", "summary"] {
        assert!(types(&found).contains(&kind), "no {kind}: {found:?}");
    }
    let count = |kind| types(&found).iter().filter(|found| **found == kind).count();
    let summary = found.last().unwrap();
    assert_eq!(summary["checkpoints"], count("checkpoint"));
    let logged = |message: &&Value| message["message"] == "a checkpoint is durable";
    let logged: Vec<_> = found.iter().filter(logged).collect();
    assert_eq!(logged.len(), count("checkpoint"));
    assert_eq!((&logged[0]["level"], &logged[0]["spans"][0]), (&"debug".into(), &"job".into()));
    assert!(output.stderr.is_empty());
}

/// Stopped with a checkpoint: the message says how to go on, and going on says what was kept.
#[test]
fn a_stopped_job_says_how_it_goes_on() {
    let folder = folder();
    let folder = folder.path();
    let bytes = content(24 << 20, 4);
    let args = ["pack", "--json", "--store", "--checkpoint-size", "4M", "-", "-o", "out"];
    let (said, metrics) = (folder.join("said"), folder.join("m.prom"));
    let mut command = ringpack(args);
    command.arg("--metrics-file").arg(&metrics).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(fs::File::create(&said).unwrap());
    let mut running = Running::start(&mut command);
    running.child().stdin.as_mut().unwrap().write_all(&bytes[..16 << 20]).unwrap();
    until("a checkpoint is told of", || fs::read_to_string(&said).unwrap().contains("checkpoint"));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().status.code(), Some(75));
    let found = messages(&fs::read(&said).unwrap());
    let error = found.last().unwrap();
    assert_eq!((&error["kind"], &error["exit_code"]), (&"suspended".into(), &75.into()));
    let kept = error["resumable_bytes"].as_u64().unwrap();
    assert!(kept >= 4 << 20, "{error}");
    assert_eq!(error["resume_command"], "PRODUCER | ringpack resume out");
    let text = fs::read_to_string(&metrics).unwrap();
    assert_eq!(metric(&text, "ringpack_exit_code", "out"), Some(75.0));
    assert_eq!(metric(&text, "ringpack_last_success_timestamp_seconds", "out"), None);

    let mut command = ringpack(["resume", "--json", "out"]);
    let output = support::run_with_input(command.current_dir(folder), &bytes);
    let found = messages(&output.stdout);
    let summary = found.last().unwrap();
    assert_eq!((&summary["command"], &summary["resumed_bytes"]), (&"resume".into(), &kept.into()));
    assert_eq!(summary["content_size"], 24 << 20);
}

/// The value of a metric for a job on a file of that name.
fn metric(text: &str, name: &str, file: &str) -> Option<f64> {
    let line = text.lines().find(|line| {
        line.starts_with(&format!("{name}{{")) && line.contains(&format!("/{file}\"}}"))
    })?;
    Some(line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

#[test]
fn metrics_tell_of_success_and_of_failure() {
    let folder = folder();
    let folder = folder.path();
    let file = folder.join("ringpack.prom");
    let with_metrics = |args: &str, code: i32| {
        let mut command = ringpack(args.split(' '));
        let output = run(command.arg("--metrics-file").arg(&file).current_dir(folder));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args}: {stderr}");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.ends_with("# EOF\n"), "{text}");
        text
    };
    let good = with_metrics("pack in -o out", 0);
    assert_eq!(metric(&good, "ringpack_success", "out"), Some(1.0));
    assert_eq!(metric(&good, "ringpack_exit_code", "out"), Some(0.0));
    assert_eq!(metric(&good, "ringpack_content_bytes", "out"), Some(f64::from(9 << 20)));
    let size = fs::metadata(folder.join("out")).unwrap().len();
    assert_eq!(metric(&good, "ringpack_container_bytes", "out"), Some(size as f64));
    let last = metric(&good, "ringpack_last_success_timestamp_seconds", "out");
    let ended = metric(&good, "ringpack_end_timestamp_seconds", "out");
    assert!(last.is_some() && last == ended, "{good}");

    // The name is taken: it fails, and the time of the last success stays.
    let bad = with_metrics("pack in -o out", 7);
    assert_eq!(metric(&bad, "ringpack_success", "out"), Some(0.0));
    assert_eq!(metric(&bad, "ringpack_exit_code", "out"), Some(7.0));
    assert_eq!(metric(&bad, "ringpack_last_success_timestamp_seconds", "out"), last);
    // Nothing was begun, but the job is no success.
    let bad = with_metrics("pack - --rm -o other", 2);
    assert_eq!(metric(&bad, "ringpack_success", "other"), Some(0.0));
}

#[test]
fn metrics_of_several_containers_are_each_ones_own() {
    let folder = folder();
    let folder = folder.path();
    let args = ["verify", "in.zst", "bad.zst", "missing", "--metrics-file", "m.prom"];
    assert_eq!(run(ringpack(args).current_dir(folder)).status.code(), Some(6));
    let text = fs::read_to_string(folder.join("m.prom")).unwrap();
    for (file, code, damages) in
        [("in.zst", 0.0, Some(0.0)), ("bad.zst", 6.0, Some(1.0)), ("missing", 3.0, None)]
    {
        assert_eq!(metric(&text, "ringpack_exit_code", file), Some(code), "{text}");
        assert_eq!(metric(&text, "ringpack_damages", file), damages, "{text}");
    }
    check_by_parsers(&text);
}

#[test]
fn metrics_of_an_input_that_failed_beside_others_say_so() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("small"), b"content").unwrap();
    for (args, ends) in [
        ("pack missing in small", [("missing.zst", 3.0), ("in.zst", 7.0), ("small.zst", 0.0)]),
        // Short ones run side by side.
        (
            "unpack -f bad.zst in.zst small.zst",
            [("bad.zst", 6.0), ("in.zst", 0.0), ("small.zst", 0.0)],
        ),
    ] {
        let words = args.split(' ').chain(["--metrics-file", "m.prom"]);
        let found = run(ringpack(words).current_dir(folder)).status.code();
        assert_eq!(found, ends.iter().map(|(_, code)| *code as i32).max(), "{args}");
        let text = fs::read_to_string(folder.join("m.prom")).unwrap();
        for (file, code) in ends {
            assert_eq!(metric(&text, "ringpack_exit_code", file), Some(code), "{file}: {text}");
            let success = f64::from(u8::from(code == 0.0));
            assert_eq!(metric(&text, "ringpack_success", file), Some(success), "{file}: {text}");
        }
    }
}

/// What reads metrics elsewhere reads these: the Prometheus format and OpenMetrics.
fn check_by_parsers(text: &str) {
    let test = "metrics_of_several_containers_are_each_ones_own";
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop-venv/bin/python");
    let program = "
import sys
from prometheus_client.parser import text_string_to_metric_families as prometheus
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
text = sys.stdin.read()
samples = [sorted((s.name, sorted(s.labels.items()), s.value) for f in parse(text) for s in f.samples)
           for parse in (prometheus, openmetrics)]
assert samples[0] == samples[1] and len(samples[0]) > 20, samples
";
    let has = Command::new(&python).args(["-c", "import prometheus_client"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        return skip(test, "prometheus_client is not in the tests' Python");
    }
    let mut command = Command::new(&python);
    let output = support::run_with_input(command.args(["-c", program]), text.as_bytes());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}: {text}");
}

#[test]
fn metrics_that_cannot_be_written_are_refused_before_any_work() {
    let folder = folder();
    let folder = folder.path();
    let args = ["pack", "in", "-o", "out", "--metrics-file", "no/such/m.prom"];
    let output = run(ringpack(args).current_dir(folder));
    assert_eq!(output.status.code(), Some(8));
    assert!(!folder.join("out").exists());
}

#[test]
fn logs_are_as_many_as_asked_for() {
    let folder = folder();
    let folder = folder.path();
    let logged = |more: &[&str], variable: &str| {
        let mut command = ringpack(["pack", "-f", "--checkpoint-size", "4M", "in", "-o", "out"]);
        let output = run(command.args(more).env("RINGPACK_LOG", variable).current_dir(folder));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let (job, checkpoint) = ("job{kind=\"pack\"", "a checkpoint is durable");
    let table: [(&[&str], &str, bool, bool); 7] = [
        (&[], "", false, false),
        (&["-v"], "", false, false),
        (&["-vv"], "", true, false),
        (&["-vvv"], "", true, true),
        (&[], "debug", true, true),
        (&["-q"], "ringpack=info", true, false),
        (&["-vvv"], "off", false, false),
    ];
    for (args, variable, has_job, has_checkpoint) in table {
        let text = logged(args, variable);
        let found = (text.contains(job), text.contains(checkpoint));
        assert_eq!(found, (has_job, has_checkpoint), "{args:?} {variable}: {text}");
        assert!(!text.contains('\x1b'), "no colours in a file: {text}");
    }
    let mut command = ringpack(["pack", "-f", "in", "-o", "out"]);
    let output = run(command.env("RINGPACK_LOG", "ringpack=loudly").current_dir(folder));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_environment_stands_in_for_options() {
    let folder = folder();
    let folder = folder.path();
    let packed = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = ringpack(["pack", "-f", "--json", "in", "-o", "out"]);
        command.args(args).envs(variables.iter().copied()).current_dir(folder);
        let output = run(&mut command);
        let summary = messages(&output.stdout).pop().unwrap();
        assert_eq!(output.status.code(), Some(0), "{summary}");
        let info = succeed(ringpack(["info", "--json", "out"]).current_dir(folder));
        let info: Value = serde_json::from_slice(&info).unwrap();
        let level = info["level"].as_u64();
        (level, summary["threads"].clone(), summary["tier"]["kind"].clone())
    };
    let (seven, one) = (("RINGPACK_LEVEL", "7"), ("RINGPACK_THREADS", "1"));
    let found = packed(&[], &[seven, one, ("RINGPACK_IO", "pwrite")]);
    assert_eq!(found, (Some(7), 1.into(), "pwrite".into()));
    // What is typed counts more, and a default contradicts nothing.
    assert_eq!(packed(&["-2", "-T2"], &[seven, one]).0, Some(2));
    assert_eq!(packed(&["-2", "-T2"], &[seven, one]).1, 2);
    assert_eq!(packed(&["--store"], &[seven]).0, None);
    let mut wrong = ringpack(["pack", "-f", "in"]);
    let wrong = run(wrong.env("RINGPACK_LEVEL", "99").current_dir(folder));
    assert_eq!(wrong.status.code(), Some(2));
    for (variable, value) in [("RINGPACK_LEVEL", "high"), ("RINGPACK_THREADS", "many")] {
        let mut wrong = ringpack(["pack", "-f", "in"]);
        let wrong = run(wrong.env(variable, value).current_dir(folder));
        let said = String::from_utf8(wrong.stderr).unwrap();
        assert_eq!(wrong.status.code(), Some(2), "{said}");
        assert!(said.contains(value) && said.contains(variable), "{said}");
    }
    let file: PathBuf = folder.join("m.prom");
    let mut verify = ringpack(["verify", "in.zst"]);
    succeed(verify.env("RINGPACK_METRICS_FILE", &file).current_dir(folder));
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(metric(&text, "ringpack_success", "in.zst"), Some(1.0));
}
