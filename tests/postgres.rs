//! A real PostgreSQL, dumped by `--from-command`: a dump that breaks off is never published, one
//! that is published restores to an equal database.
//!
//! The server is Debian's, run by its own user in a temporary folder, on a socket in there alone.
//! `RINGPACK_POSTGRES_SCALE` is pgbench's scale, of about 15 MiB each; 1 unless set.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::{User, chown};
use support::codes::REFUSED;
use support::processes::{Running, until};
use support::{assert_same, is_root, names, ringpack, run, skip, succeed};

const PARTIAL: &str = "dump.zst.ringpack-partial";

/// Where Debian keeps the programs of the newest version there is.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|it| it.ok().map(|it| it.path())).max_by_key(number)?;
    let programs = newest.join("bin");
    programs.join("initdb").exists().then_some(programs)
}

/// A server that ends with the test.
struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
    user: Option<User>,
}

impl Server {
    /// A server with a database `bench`, or why there can't be one.
    fn start() -> Result<Self, &'static str> {
        let programs = programs().ok_or("PostgreSQL isn't installed")?;
        // It refuses to run as root.
        let user = match is_root() {
            true => Some(User::from_name("postgres").ok().flatten().ok_or("no user postgres")?),
            false => None,
        };
        let folder = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp");
        let folder = folder.map_err(|_| "there is no /tmp, and a socket's path must be short")?;
        let server = Self { folder, programs, user };
        fs::set_permissions(server.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["data", "socket"] {
            fs::create_dir(server.path(name)).unwrap();
            if let Some(user) = &server.user {
                chown(&server.path(name), Some(user.uid), Some(user.gid)).unwrap();
            }
        }
        let (data, socket) = (server.path("data"), server.path("socket"));
        let init = ["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8", "-D"];
        succeed(server.program("initdb").args(init).arg(&data));
        let options = format!("-c listen_addresses= -c fsync=off -k {}", socket.display());
        let mut start = server.program("pg_ctl");
        start.args(["start", "--wait", "-o", &options, "-D"]).arg(&data);
        // The server keeps whatever it is started with open.
        start.arg("-l").arg(data.join("log")).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(start.status().unwrap().success(), "{:?}", fs::read_to_string(data.join("log")));
        succeed(server.client("createdb").arg("bench"));
        let scale = std::env::var("RINGPACK_POSTGRES_SCALE").unwrap_or_else(|_| "1".to_owned());
        succeed(server.client("pgbench").args(["-i", "-q", "-s", &scale, "bench"]));
        Ok(server)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program of the server's side, run as its user.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = match &self.user {
            Some(user) => {
                let mut command = Command::new("setpriv");
                let (user, group) = (user.uid.to_string(), user.gid.to_string());
                command.args(["--reuid", &user, "--regid", &group, "--clear-groups", "--"]);
                command.arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// A program that asks it, run as the test is.
    fn client(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        self.is_meant(&mut command);
        command
    }

    fn is_meant(&self, command: &mut Command) {
        command.env("PGHOST", self.path("socket")).env("PGUSER", "postgres");
        command.current_dir(self.folder.path()).stdin(Stdio::null());
    }

    /// What a query answers.
    fn ask(&self, query: &str) -> String {
        let answer = succeed(self.client("psql").args(["-XAtq", "-d", "bench", "-c", query]));
        String::from_utf8(answer).unwrap().trim().to_owned()
    }

    fn dump(&self, database: &str) -> Vec<u8> {
        without_key(&succeed(self.client("pg_dump").arg(database)))
    }

    /// The command under test: dumps `bench` into `dump.zst`.
    fn packing(&self, args: &[&str]) -> Command {
        let mut command = ringpack(["pack", "-o", "dump.zst"]);
        command.args(args).args(["--from-command", "--"]).arg(self.programs.join("pg_dump"));
        command.arg("bench");
        self.is_meant(&mut command);
        command
    }

    /// That command in the middle of its largest table's rows, and stopped there. It packs slowly
    /// and reads little ahead, so most of them are still to come.
    fn midway(&self, args: &[&str]) -> Midway {
        let slowly = ["-19", "--chunk-size", "64K", "--placement", "slots", "--threads=1"];
        let mut command = self.packing(&[&slowly, args].concat());
        let mut running = Running::start(&mut command);
        let partial = self.path(PARTIAL);
        until("the dump has begun", || {
            partial.exists() && !self.dumping().is_empty() || has_ended(&mut running)
        });
        running.signal(Signal::SIGSTOP);
        let backend = self.dumping();
        assert!(!backend.is_empty() && !has_ended(&mut running), "it was caught midway");
        Midway { running, backend }
    }

    /// The number of the server's process that dumps rows.
    fn dumping(&self) -> String {
        self.ask(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'pg_dump' \
             AND state = 'active' AND query LIKE 'COPY public.pgbench_accounts%'",
        )
    }

    /// Nothing was published, and nothing dumps any more.
    fn check_nothing(&self, what: &str) {
        let left = names(self.folder.path());
        assert_eq!(left, ["data", "socket"], "{what}: left behind");
        until("the server has no dump", || {
            let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump'";
            self.ask(count) == "0"
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = self.program("pg_ctl");
        let _ = run(stop.args(["stop", "--mode=immediate", "-D"]).arg(self.path("data")));
    }
}

/// A dump caught in the rows of its largest table, `ringpack` stopped.
struct Midway {
    running: Running,
    backend: String,
}

fn has_ended(running: &mut Running) -> bool {
    running.child().try_wait().unwrap().is_some()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The process that a `ringpack` started.
fn producer_of(running: &mut Running) -> i32 {
    let ringpack = running.child().id();
    let tasks = fs::read_dir(format!("/proc/{ringpack}/task")).unwrap();
    let children = tasks
        .map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default())
        .collect::<String>();
    children.trim().parse().unwrap_or_else(|_| panic!("one child: {children:?}"))
}

#[test]
fn a_dump_is_published_whole_or_not_at_all() {
    let server = match Server::start() {
        Ok(server) => server,
        Err(why) => return skip("a_dump_is_published_whole_or_not_at_all", why),
    };
    dumps_that_break_off(&server);
    a_dump_that_ends_well(&server);
}

fn dumps_that_break_off(server: &Server) {
    // The server's side of the dump dies: pg_dump says so, and its words are passed on.
    let Midway { mut running, backend } = server.midway(&["--no-checkpoint"]);
    assert_eq!(server.ask(&format!("SELECT pg_terminate_backend({backend})")), "t");
    running.signal(Signal::SIGCONT);
    let output = running.end();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(REFUSED), "{said}");
    assert!(said.contains("pg_dump: ended with exit code 1"), "{said}");
    assert!(said.matches("pg_dump: error: ").count() == 2, "passed on, and repeated: {said}");
    server.check_nothing("the server's side died");

    // pg_dump dies.
    let Midway { mut running, .. } = server.midway(&["--no-checkpoint"]);
    let producer = producer_of(&mut running);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(producer), Signal::SIGKILL).unwrap();
    running.signal(Signal::SIGCONT);
    let output = running.end();
    assert_eq!(output.status.code(), Some(REFUSED), "{}", stderr(&output));
    assert!(stderr(&output).contains("was killed by SIGKILL"), "{}", stderr(&output));
    server.check_nothing("pg_dump died");

    // ringpack is told to stop, by a person and by the system.
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let Midway { mut running, .. } = server.midway(&["--no-checkpoint"]);
        running.signal(signal);
        running.signal(Signal::SIGCONT);
        let output = running.end();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        server.check_nothing(&format!("{signal}"));
    }

    // ringpack dies. What it leaves is taken over by whoever comes next.
    let Midway { mut running, .. } = server.midway(&[]);
    running.signal(Signal::SIGKILL);
    assert_eq!(running.end().status.code(), None);
    assert!(!server.path("dump.zst").exists() && server.path(PARTIAL).exists());
}

fn a_dump_that_ends_well(server: &Server) {
    let output = run(&mut server.packing(&["--digest", "blake3"]));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(names(server.folder.path()), ["data", "dump.zst", "socket"]);
    let dump = server.path("dump.zst");
    let original = server.dump("bench");
    let unpacked = without_key(&succeed(ringpack(["unpack", "-c"]).arg(&dump)));
    assert_same(&unpacked, &original, "the dump");
    succeed(server.client("createdb").arg("restored"));
    restore(server, &dump, "restored");
    assert_same(&server.dump("restored"), &original, "the restored database's dump");
}

/// A dump without the two lines that bear a key, random for each: since 2025 they keep psql from
/// taking commands out of what is restored.
fn without_key(dump: &[u8]) -> Vec<u8> {
    let is_kept =
        |line: &&[u8]| !line.starts_with(b"\\restrict ") && !line.starts_with(b"\\unrestrict ");
    dump.split_inclusive(|&byte| byte == b'\n').filter(is_kept).flatten().copied().collect()
}

/// `ringpack unpack -c DUMP | psql DATABASE`
fn restore(server: &Server, dump: &Path, database: &str) {
    let mut unpack = ringpack(["unpack", "-c"]);
    let mut unpacking = unpack.arg(dump).stdout(Stdio::piped()).spawn().unwrap();
    let content = unpacking.stdout.take().unwrap();
    let mut psql = server.client("psql");
    psql.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-d", database]).stdin(content);
    succeed(&mut psql);
    assert!(unpacking.wait().unwrap().success());
}
