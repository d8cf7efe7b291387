//! A log archive: packs a log and serves it over HTTP, whole or by range, out of the container.
//!
//! ```sh
//! cargo run -p log-archive -- /var/log/syslog.1 127.0.0.1:8080
//! curl -r -4096 http://127.0.0.1:8080/      # its last 4 KiB
//! ```
//!
//! What is named is packed into a container beside it, unless it is a container already. Of each
//! request only the chunks that its range lies in are decoded, one at a time, on the threads that
//! tokio keeps for blocking work: memory is bounded by the number of connections, not by what they
//! ask for, and not a byte is sent that wasn't verified.
//!
//! Connections are neither counted nor encrypted: a proxy in front of it does both.

mod archive;
mod body;
mod range;
mod serve;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::net::TcpListener;
use tokio::runtime::Builder;

const USAGE: &str = "usage: log-archive LOG-OR-CONTAINER [ADDRESS:PORT]";
/// Any free port of this machine alone.
const ADDRESS: &str = "127.0.0.1:0";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("log-archive: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let path = PathBuf::from(args.next().ok_or(USAGE)?);
    let address = match args.next() {
        Some(address) => address.into_string().map_err(|_| USAGE)?,
        None => ADDRESS.to_owned(),
    };
    if args.next().is_some() {
        return Err(USAGE.into());
    }
    let archive = archive::open(&path)?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(&address).await?;
        println!("http://{}/", listener.local_addr()?);
        serve::forever(listener, archive).await
    })
}
