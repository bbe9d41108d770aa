//! HTTP/1.1 on a connection that stays open, with as little CPU as it takes: the client shares the cores with what it measures.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Outcome;

/// How long a connection may take to be accepted.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// A connection to the gateway.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    request: Vec<u8>,
    authority: String,
    key: String,
}

/// An answer.
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a str,
}

impl Connection {
    /// Connects to `authority`, such as 127.0.0.1:4711, as the holder of an API key.
    pub async fn open(authority: &str, key: &str) -> Outcome<Connection> {
        let stream = timeout(CONNECT_WITHIN, TcpStream::connect(authority)).await??;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            received: Vec::with_capacity(8_192),
            request: Vec::with_capacity(1_024),
            authority: authority.to_owned(),
            key: key.to_owned(),
        })
    }

    /// Sends a request about a subject, or about none, and reads its answer.
    pub async fn ask(&mut self, method: &str, path: &str, subject: Option<u64>, body: &str) -> Outcome<Answer<'_>> {
        use std::io::Write;
        self.request.clear();
        let (authority, key) = (&self.authority, &self.key);
        write!(
            self.request,
            "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {key}\r\n"
        )?;
        if let Some(subject) = subject {
            write!(self.request, "X-Billable-Entity-Id: {subject}\r\n")?;
        }
        if method != "GET" {
            write!(
                self.request,
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            )?;
        }
        write!(self.request, "\r\n{body}")?;
        self.stream.write_all(&self.request).await?;
        self.received.clear();
        let (mut head, mut whole) = (0, usize::MAX);
        let mut status = 0;
        while self.received.len() < whole {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err("the gateway closed a connection".into());
            }
            if head == 0
                && let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n")
            {
                head = end + 4;
                let length;
                (status, length) = read_head(std::str::from_utf8(&self.received[..end])?)?;
                whole = head + length;
                self.received.reserve(length);
            }
        }
        Ok(Answer {
            status,
            body: std::str::from_utf8(&self.received[head..])?,
        })
    }

    /// Sends a GET whose answer does not end, and hands the stream over.
    pub async fn listen(mut self, path: &str) -> Outcome<TcpStream> {
        let (authority, key) = (&self.authority, &self.key);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {key}\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        Ok(self.stream)
    }
}

/// Status and length of the body.
fn read_head(head: &str) -> Outcome<(u16, usize)> {
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    match (status, length) {
        (Some(status), Some(length)) => Ok((status, length)),
        _ => Err(format!("an answer without a status or a length: {head}").into()),
    }
}
