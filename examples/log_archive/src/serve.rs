//! Connections and the answers to their requests.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    IF_RANGE, RANGE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::archive::Archive;
use crate::body::{Content, Sent};
use crate::range::{Asked, asked};

/// How long accepting rests after it failed: most often for want of descriptors.
const REST: Duration = Duration::from_millis(100);

/// Serves the archive to whoever connects, until the process ends.
pub(crate) async fn forever(listener: TcpListener, archive: Archive) -> Result<(), Box<dyn Error>> {
    let archive = Arc::new(archive);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                eprintln!("log-archive: cannot accept: {error}");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let archive = Arc::clone(&archive);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let archive = Arc::clone(&archive);
                async move { Ok::<_, Infallible>(answer(&archive, &request).await) }
            });
            // The timer bounds how long a client may take to send its headers.
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                // The client went away, or a chunk turned out damaged.
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                eprintln!("log-archive: a connection failed: {error}{cause}");
            }
        });
    }
}

async fn answer<B>(archive: &Archive, request: &Request<B>) -> Response<Sent> {
    if request.uri().path() != "/" {
        return line(StatusCode::NOT_FOUND, "there is only /\n");
    }
    let result = match *request.method() {
        Method::GET => part(archive, request.headers()).await,
        Method::HEAD => Ok(whole(archive, Sent::Line(""))),
        _ => {
            let refused = line(StatusCode::METHOD_NOT_ALLOWED, "it can only be read\n");
            return with(refused, &[(ALLOW, "GET, HEAD")]);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("log-archive: {error}");
        line(StatusCode::INTERNAL_SERVER_ERROR, "the container can't be read there\n")
    })
}

async fn part(archive: &Archive, headers: &HeaderMap) -> io::Result<Response<Sent>> {
    let len = archive.container.len();
    let value = headers.get(RANGE).and_then(|value| value.to_str().ok());
    // A client that has a part of another content wants the whole of this one.
    let is_same = headers.get(IF_RANGE).is_none_or(|stated| {
        archive.etag.as_ref().is_some_and(|etag| etag.as_bytes() == stated.as_bytes())
    });
    let asked = value.filter(|_| is_same).map_or(Asked::Whole, |value| asked(value, len));
    Ok(match asked {
        Asked::Whole => {
            let content = Content::begin(&archive.container, 0..len).await?;
            whole(archive, Sent::Content(content))
        }
        Asked::Part(range) => {
            let stated = format!("bytes {}-{}/{len}", range.start, range.end - 1);
            let content = Content::begin(&archive.container, range).await?;
            let mut response = of_content(archive, Sent::Content(content));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            with(response, &[(CONTENT_RANGE, &stated)])
        }
        Asked::Unsatisfiable => {
            let refused = line(StatusCode::RANGE_NOT_SATISFIABLE, "there is nothing there\n");
            with(refused, &[(CONTENT_RANGE, &format!("bytes */{len}"))])
        }
    })
}

fn whole(archive: &Archive, body: Sent) -> Response<Sent> {
    let len = archive.container.len().to_string();
    with(of_content(archive, body), &[(CONTENT_LENGTH, &len)])
}

fn of_content(archive: &Archive, body: Sent) -> Response<Sent> {
    let mut response = with(Response::new(body), &[(CONTENT_TYPE, "text/plain")]);
    if let Some(etag) = &archive.etag {
        response = with(response, &[(ETAG, etag)]);
    }
    with(response, &[(ACCEPT_RANGES, "bytes")])
}

fn line(status: StatusCode, text: &'static str) -> Response<Sent> {
    let mut response = Response::new(Sent::Line(text));
    *response.status_mut() = status;
    with(response, &[(CONTENT_TYPE, "text/plain")])
}

fn with(mut response: Response<Sent>, headers: &[(HeaderName, &str)]) -> Response<Sent> {
    for (name, value) in headers {
        let value = value.parse().expect("digits, letters and punctuation");
        response.headers_mut().insert(name, value);
    }
    response
}
