//! HTTP over the control socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::http::request;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use relay_control::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::error::RelayctlError;

/// How long the daemon may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The most octets of an answer, or of one line of a list.
const LONGEST: usize = 64 << 20;

/// Sends requests to the daemon at one socket.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RelayctlError> {
        whole(self.ask(Method::GET, path).await?, Some(ANSWER_TIMEOUT)).await
    }

    /// Sends a request and waits without a time limit, because the daemon may need long for the
    /// answer.
    pub(crate) async fn get_slowly<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<T, RelayctlError> {
        let request = Request::builder().method(Method::GET);
        let answer = self.send(request, path, String::new(), None).await?;
        whole(answer, None).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, RelayctlError> {
        whole(self.ask(Method::POST, path).await?, Some(ANSWER_TIMEOUT)).await
    }

    /// Sends a body and waits without a time limit. The daemon stops its work if this program ends.
    pub(crate) async fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, RelayctlError> {
        let body = serde_json::to_string(body).expect("every key is the name of a field");
        let request = Request::builder()
            .method(Method::POST)
            .header("content-type", "application/json");
        whole(self.send(request, path, body, None).await?, None).await
    }

    pub(crate) async fn put<T: DeserializeOwned>(&self, path: &str) -> Result<T, RelayctlError> {
        whole(self.ask(Method::PUT, path).await?, Some(ANSWER_TIMEOUT)).await
    }

    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, RelayctlError> {
        whole(self.ask(Method::DELETE, path).await?, Some(ANSWER_TIMEOUT)).await
    }

    /// Returns a long answer line by line.
    pub(crate) async fn lines(&self, path: &str) -> Result<Lines, RelayctlError> {
        let answer = self.ask(Method::GET, path).await?;
        Ok(Lines {
            body: answer.into_body(),
            read: BytesMut::new(),
            line: BytesMut::new(),
        })
    }

    /// Returns a long answer in pieces.
    pub(crate) async fn octets(&self, path: &str) -> Result<Octets, RelayctlError> {
        let answer = self.ask(Method::GET, path).await?;
        Ok(Octets(answer.into_body()))
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Response<Incoming>, RelayctlError> {
        let request = Request::builder().method(method);
        self.send(request, path, String::new(), Some(ANSWER_TIMEOUT))
            .await
    }

    /// Sends a request. `limit` is how long to wait for the beginning of the answer.
    async fn send(
        &self,
        request: request::Builder,
        path: &str,
        body: String,
        limit: Option<Duration>,
    ) -> Result<Response<Incoming>, RelayctlError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|reason| self.unreachable(reason))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(RelayctlError::answer)?;
        // The task ends with the answer, and its errors appear there.
        tokio::spawn(connection);
        let request = request
            .uri(path)
            .header("host", "relayd")
            .body(Full::new(Bytes::from(body)))
            .map_err(RelayctlError::answer)?;
        let answer = in_time(limit, sender.send_request(request)).await?;
        let answer = answer.map_err(RelayctlError::answer)?;
        if answer.status().is_success() {
            Ok(answer)
        } else {
            Err(problem(answer).await)
        }
    }

    fn unreachable(&self, reason: io::Error) -> RelayctlError {
        let socket = self.socket.clone();
        match reason.kind() {
            io::ErrorKind::PermissionDenied => RelayctlError::NotAllowed { socket },
            _ => RelayctlError::NoDaemon { socket, reason },
        }
    }
}

async fn problem(answer: Response<Incoming>) -> RelayctlError {
    let status = answer.status();
    let reason = match whole::<Problem>(answer, Some(ANSWER_TIMEOUT)).await {
        Ok(problem) => problem.error,
        Err(_) => format!("the daemon answered {status}"),
    };
    if status.is_server_error() {
        RelayctlError::Unavailable(reason)
    } else {
        RelayctlError::Refused(reason)
    }
}

async fn whole<T: DeserializeOwned>(
    answer: Response<Incoming>,
    limit: Option<Duration>,
) -> Result<T, RelayctlError> {
    let body = Limited::new(answer.into_body(), LONGEST).collect();
    let body = in_time(limit, body).await?.map_err(RelayctlError::answer)?;
    serde_json::from_slice(&body.to_bytes()).map_err(RelayctlError::answer)
}

/// Waits for a result for at most `limit`. Without it, there is no limit while the daemon runs.
async fn in_time<T>(
    limit: Option<Duration>,
    work: impl Future<Output = T>,
) -> Result<T, RelayctlError> {
    match limit {
        Some(limit) => timeout(limit, work)
            .await
            .map_err(|_| RelayctlError::answer("no answer in time")),
        None => Ok(work.await),
    }
}

/// The pieces of a long answer.
#[derive(Debug)]
pub(crate) struct Octets(Incoming);

impl Octets {
    /// Returns the next piece; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, RelayctlError> {
        let frame = timeout(ANSWER_TIMEOUT, self.0.frame()).await;
        match frame.map_err(|_| RelayctlError::answer("no answer in time"))? {
            Some(frame) => {
                let frame = frame.map_err(RelayctlError::answer)?;
                Ok(Some(frame.into_data().unwrap_or_default()))
            }
            None => Ok(None),
        }
    }
}

/// The lines of a long answer.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    /// Octets that were read but not returned yet.
    read: BytesMut,
    line: BytesMut,
}

impl Lines {
    /// Returns the next line without its end; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<&[u8]>, RelayctlError> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.read[searched..].iter().position(|&b| b == b'\n') {
                self.line = self.read.split_to(searched + end + 1);
                return Ok(Some(&self.line[..searched + end]));
            }
            searched = self.read.len();
            if searched > LONGEST {
                return Err(RelayctlError::answer("a line that is too long"));
            }
            match in_time(Some(ANSWER_TIMEOUT), self.body.frame()).await? {
                Some(frame) => {
                    let frame = frame.map_err(RelayctlError::answer)?;
                    self.read
                        .extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                }
                None if self.read.is_empty() => return Ok(None),
                None => {
                    self.line = self.read.split();
                    return Ok(Some(&self.line));
                }
            }
        }
    }
}

/// Encodes the query of a request, such as `from=a%40b.test&to=…`.
pub(crate) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().collect();
    serde_html_form::to_string(pairs).expect("every pair of texts can be encoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_can_add_a_pair_to_the_query() {
        assert_eq!(query([]), "");
        let pairs = [("from", "a@b".to_owned()), ("to", "<>".to_owned())];
        assert_eq!(query(pairs), "from=a%40b&to=%3C%3E");
        let value = |text: &str| query([("v", text.to_owned())]);
        assert_eq!(value("a.b-c_d~1@x"), "v=a.b-c_d%7E1%40x");
        assert_eq!(value("a&to=b c+d#\u{e9}"), "v=a%26to%3Db+c%2Bd%23%C3%A9");
    }
}
