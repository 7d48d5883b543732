//! The hub's side: what a file is, and its bytes. Redirects are followed here and not by the HTTP client, because the first
//! answer carries the file's hash, and because the token must not travel to the storage behind the hub.

use crate::error::{Error, Result};
use crate::hub::source::Source;
use std::time::Duration;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

/// A hub as programs reach it.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

/// What the hub says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The commit it is of.
    pub commit: String,
    /// Its name in the cache; the sha256 of a large file, the git blob id of a small one.
    pub etag: String,
    /// Bytes.
    pub size: u64,
}

/// How an answer was reached.
struct Reached {
    response: Response<Body>,
    commit: Option<String>,
    linked_etag: Option<String>,
    linked_size: Option<u64>,
}

impl Remote {
    pub fn new(endpoint: &str, token: Option<String>) -> Remote {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            // A connection that says nothing for so long is dead; the file is resumed on a new one.
            .timeout_per_read(Some(Duration::from_secs(30)))
            .user_agent(concat!("lancet/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity");
        Remote { agent: config.build().new_agent(), endpoint: endpoint.trim_end_matches('/').to_owned(), token }
    }

    fn url(&self, source: &Source, revision: &str, file: &str) -> String {
        format!("{}/{}/resolve/{}/{file}", self.endpoint, source.repository, revision.replace('/', "%2F"))
    }

    /// What a file is; `None`: the repository has no such file.
    ///
    /// # Errors
    /// No such repository or revision, no access, no answer, an answer that is not a hub's.
    pub fn meta(&self, source: &Source, revision: &str, file: &str) -> Result<Option<Meta>> {
        let url = self.url(source, revision, file);
        let reached = self.follow(&url, None, true)?;
        let header = |name: &str| header(&reached.response, name);
        let status = reached.response.status();
        if status == StatusCode::NOT_FOUND && matches!(header("x-error-code").as_deref(), None | Some("EntryNotFound")) {
            return Ok(None);
        }
        if !status.is_success() && !status.is_redirection() {
            return Err(self.refused(source, file, &reached.response));
        }
        let size = reached.linked_size.or_else(|| header("content-length")?.parse().ok().filter(|_| status.is_success()));
        let etag = reached.linked_etag.or_else(|| header("etag")).map(|e| e.trim_start_matches("W/").trim_matches('"').to_owned());
        match (reached.commit, etag, size) {
            // Both become names of files here.
            (Some(commit), Some(etag), Some(size)) if is_hex(&commit, 40) && (is_hex(&etag, 64) || is_hex(&etag, 40)) => {
                Ok(Some(Meta { commit, etag, size }))
            }
            (commit, etag, size) => Err(Error::Hub {
                what: format!(
                    "{url}: expected a hub's answer with X-Repo-Commit, a hash as ETag and a size, got {commit:?}, {etag:?}, {size:?}; is HF_ENDPOINT a hub?"
                ),
            }),
        }
    }

    /// The bytes of a file from `start` on, and where they really start: a server may ignore the range.
    ///
    /// # Errors
    /// As [`Remote::meta`].
    pub fn open(&self, source: &Source, meta: &Meta, file: &str, start: u64) -> Result<(Response<Body>, u64)> {
        let response = self.follow(&self.url(source, &meta.commit, file), (start > 0).then_some(start), false)?.response;
        match response.status() {
            StatusCode::OK => Ok((response, 0)),
            StatusCode::PARTIAL_CONTENT => {
                let range = header(&response, "content-range").unwrap_or_default();
                if range.strip_prefix("bytes ").and_then(|r| r.split_once('-')?.0.parse().ok()) != Some(start) {
                    let what = format!("{}: {file}: asked for the bytes from {start} on, got \"{range}\"", source.repository);
                    return Err(Error::Hub { what });
                }
                Ok((response, start))
            }
            _ => Err(self.refused(source, file, &response)),
        }
    }

    /// Sends a request and follows where it leads; a `head` stops as soon as everything is known.
    fn follow(&self, url: &str, start: Option<u64>, head: bool) -> Result<Reached> {
        let (mut url, mut commit, mut linked_etag, mut linked_size) = (url.to_owned(), None, None, None);
        for _ in 0..10 {
            let mut request = if head { self.agent.head(&url) } else { self.agent.get(&url) };
            if let Some(token) = self.token.as_ref().filter(|_| origin(&url) == origin(&self.endpoint)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            if let Some(start) = start {
                request = request.header("range", format!("bytes={start}-"));
            }
            let response = request.call().map_err(|e| self.unreachable(&url, &e))?;
            commit = commit.or_else(|| header(&response, "x-repo-commit"));
            linked_etag = linked_etag.or_else(|| header(&response, "x-linked-etag"));
            linked_size = linked_size.or_else(|| header(&response, "x-linked-size")?.parse().ok());
            let known = head && commit.is_some() && linked_etag.is_some() && linked_size.is_some();
            let location = header(&response, "location").filter(|_| response.status().is_redirection() && !known);
            let Some(location) = location else { return Ok(Reached { response, commit, linked_etag, linked_size }) };
            let next = join(&url, &location);
            if next.starts_with("http://") && !self.endpoint.starts_with("http://") {
                return Err(Error::Hub { what: format!("{url} leads to {next}, which is not encrypted; not followed") });
            }
            url = next;
        }
        Err(Error::Hub { what: format!("{url}: more than 10 redirects") })
    }

    fn unreachable(&self, url: &str, error: &ureq::Error) -> Error {
        let origin = origin(url);
        Error::Hub {
            what: format!(
                "{origin} cannot be reached: {error}; check the network (HTTPS_PROXY names a proxy, HF_ENDPOINT a mirror) or give a local file with --model PATH"
            ),
        }
    }

    fn refused(&self, source: &Source, file: &str, response: &Response<Body>) -> Error {
        let (status, Source { repository, revision, .. }) = (response.status(), source);
        let code = header(response, "x-error-code").unwrap_or_default();
        let token = match &self.token {
            Some(_) => "the token in use has no access to it: accept its terms on the hub's page, or use another HF_TOKEN",
            None => "if it is private or gated, accept its terms on the hub's page and set HF_TOKEN",
        };
        let why = match (status.as_u16(), code.as_str()) {
            (404, "RevisionNotFound") => format!("no revision \"{revision}\" in this repository; leave @{revision} away for the newest"),
            // The hub answers 401 for repositories that do not exist, so as not to give private ones away.
            (401 | 404, "RepoNotFound") => format!("no such repository ({status}); check its name; {token}"),
            (401 | 403, _) => format!("no access ({status}); {token}"),
            (404, _) => format!("not there ({status}); check the name"),
            (429, _) => "too many requests (429); wait a few minutes, or set HF_TOKEN".into(),
            _ => format!("the server answered {status}; try again later"),
        };
        Error::Hub { what: format!("{repository} at {}: {file}: {why}", self.endpoint) }
    }
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.trim().to_owned())
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find(['/', '?', '#']).map_or(url, |end| &url[..host + end])
}

/// Where a `Location` leads from `base`.
fn join(base: &str, location: &str) -> String {
    let origin = origin(base);
    if location.starts_with("http://") || location.starts_with("https://") {
        return location.to_owned();
    }
    if let Some(rest) = location.strip_prefix("//") {
        return format!("{}://{rest}", base.split("://").next().unwrap_or("https"));
    }
    if location.starts_with('/') {
        return format!("{origin}{location}");
    }
    let path = base.split(['?', '#']).next().unwrap_or(base);
    let folder = path.rfind('/').filter(|&at| at >= origin.len()).map_or(path, |at| &path[..at]);
    format!("{folder}/{location}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects() {
        let base = "https://hub.example:8/a/b?c=/d";
        assert_eq!(origin(base), "https://hub.example:8");
        assert_eq!(join(base, "/x"), "https://hub.example:8/x");
        assert_eq!(join(base, "x"), "https://hub.example:8/a/x");
        assert_eq!(join(base, "//cdn/x"), "https://cdn/x");
        assert_eq!(join(base, "http://cdn/x"), "http://cdn/x");
        assert_ne!(origin("https://hub.example"), origin("https://hub.example.evil"));
    }
}
