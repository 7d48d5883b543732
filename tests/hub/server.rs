//! A hub on this machine: answers as the real one does, or fails as asked.
#![allow(dead_code, reason = "each test program uses a part of it")]

use sha2::Digest;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The one commit of every repository here.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong with the next bytes of a large file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends after so many bytes of the answer's body.
    Cut(usize),
    /// The range is ignored: everything comes, from the beginning.
    NoRange,
    /// Other bytes of the same number.
    Damage,
    /// This status instead.
    Status(u16),
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct State {
    repository: String,
    files: BTreeMap<String, Vec<u8>>,
    faults: VecDeque<Fault>,
    /// Refuse everything about the repository: status and `X-Error-Code`.
    refuse: Option<(u16, &'static str)>,
    /// The host that large files are redirected to; itself if there is none.
    storage: Option<String>,
    log: Vec<Request>,
}

/// A running hub; its threads end with the process.
#[derive(Clone, Debug)]
pub struct Server {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// A hub with one repository.
    pub fn start(repository: &str, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State { repository: repository.to_owned(), files: files.into_iter().collect(), ..State::default() };
        let server = Server { url, state: Arc::new(Mutex::new(state)) };
        let own = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                // A client that hangs up is part of the tests.
                std::thread::spawn(move || own.answer(stream));
            }
        });
        server
    }

    /// What goes wrong next, in order, a fault for each answer with bytes of a large file.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().faults = faults.into_iter().collect();
    }

    pub fn refuse(&self, status: u16, code: &'static str) {
        self.state.lock().unwrap().refuse = Some((status, code));
    }

    /// Large files come from another hub's storage.
    pub fn store_at(&self, other: &Server) {
        self.state.lock().unwrap().storage = Some(other.url.clone());
    }

    /// Requests so far.
    pub fn log(&self) -> Vec<Request> {
        self.state.lock().unwrap().log.clone()
    }

    /// `Range` headers of the requests for bytes of large files; "" where there was none.
    pub fn ranges(&self) -> Vec<String> {
        let bytes = |r: &&Request| r.method == "GET" && r.path.starts_with("/storage/");
        self.log().iter().filter(bytes).map(|r| r.headers.get("range").cloned().unwrap_or_default()).collect()
    }

    fn answer(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let request = Request { method, path, headers };
        let (head, body, cut) = self.reply(&request);
        self.state.lock().unwrap().log.push(request.clone());
        let mut stream = stream;
        let announced = if head.contains("content-length") { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        write!(stream, "HTTP/1.1 {head}{announced}connection: close\r\n\r\n").ok()?;
        if request.method != "HEAD" {
            stream.write_all(&body[..cut.min(body.len())]).ok()?;
        }
        stream.flush().ok()?;
        stream.shutdown(std::net::Shutdown::Write).ok()?;
        // Until the client has hung up: a reset would take bytes away that it has not read yet.
        reader.read_to_end(&mut Vec::new()).ok()?;
        Some(())
    }

    /// Status line and headers, body, and how much of it is sent.
    fn reply(&self, request: &Request) -> (String, Vec<u8>, usize) {
        let mut state = self.state.lock().unwrap();
        let whole = usize::MAX;
        let error = |status: u16, code: &str| {
            let code = if code.is_empty() { String::new() } else { format!("x-error-code: {code}\r\n") };
            (format!("{status} Refused\r\n{code}"), b"no".to_vec(), whole)
        };
        if let Some(file) = request.path.strip_prefix("/small/") {
            let Some(bytes) = state.files.get(file).cloned() else { return error(404, "EntryNotFound") };
            return (format!("200 OK\r\netag: \"{}\"\r\n", git_blob(&bytes)), bytes, whole);
        }
        if let Some(file) = request.path.strip_prefix("/storage/") {
            let Some(mut bytes) = state.files.get(file).cloned() else { return error(404, "") };
            let fault = if request.method == "GET" { state.faults.pop_front() } else { None };
            match fault {
                Some(Fault::Status(status)) => return error(status, ""),
                Some(Fault::Damage) => bytes.iter_mut().for_each(|b| *b ^= 1),
                _ => {}
            }
            let range = request.headers.get("range").filter(|_| fault != Some(Fault::NoRange));
            let start = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
            let cut = if let Some(Fault::Cut(at)) = fault { at } else { whole };
            return match start {
                Some(start) => {
                    let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                    (format!("206 Partial Content\r\ncontent-range: {range}\r\n"), bytes[start..].to_vec(), cut)
                }
                None => ("200 OK\r\n".into(), bytes, cut),
            };
        }
        if let Some((status, code)) = state.refuse {
            return error(status, code);
        }
        let Some(rest) = request.path.strip_prefix(&format!("/{}/resolve/", state.repository)) else { return error(401, "RepoNotFound") };
        let Some((revision, file)) = rest.split_once('/') else { return error(404, "") };
        if !["main", "v1", COMMIT].contains(&revision) {
            return error(404, "RevisionNotFound");
        }
        let Some(bytes) = state.files.get(file) else { return error(404, "EntryNotFound") };
        let commit = format!("x-repo-commit: {COMMIT}\r\n");
        if file.ends_with(".safetensors") {
            let storage = state.storage.clone().unwrap_or_else(|| self.url.clone());
            let linked = format!("x-linked-etag: \"{}\"\r\nx-linked-size: {}\r\n", sha256(bytes), bytes.len());
            (format!("302 Found\r\n{commit}{linked}location: {storage}/storage/{file}\r\n"), b"elsewhere".to_vec(), whole)
        } else {
            (format!("307 Temporary Redirect\r\n{commit}location: /small/{file}\r\n"), Vec::new(), whole)
        }
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

pub fn git_blob(bytes: &[u8]) -> String {
    let all = [format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat();
    sha1::Sha1::digest(&all).iter().map(|b| format!("{b:02x}")).collect()
}
