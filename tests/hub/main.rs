//! Fetching models, against a hub on this machine that behaves, and one that does not.
#![cfg(feature = "hub")]

mod server;

use lancet::Result;
use lancet::hub::{Hub, Progress, Snapshot, Source};
use server::{COMMIT, Fault, Server, git_blob, sha256};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const REPOSITORY: &str = "timm/vit_base_patch16_clip_224.openai";
const WEIGHTS: &str = "open_clip_model.safetensors";

/// More than one read's worth.
fn weights() -> Vec<u8> {
    (0..700_000u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 16).to_le_bytes()).collect()
}

fn files() -> Vec<(String, Vec<u8>)> {
    vec![
        (WEIGHTS.into(), weights()),
        ("open_clip_config.json".into(), b"{\"model_cfg\": {}}".to_vec()),
        ("tokenizer.json".into(), b"{}".to_vec()),
    ]
}

struct Bench {
    server: Server,
    cache: TempDir,
    hub: Hub,
    source: Source,
}

fn bench() -> Bench {
    let server = Server::start(REPOSITORY, files());
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::new(cache.path()).endpoint(&server.url, None).unwrap();
    Bench { server, hub, cache, source: Source::parse("ViT-B/16").unwrap() }
}

impl Bench {
    fn fetch(&self) -> Result<Snapshot> {
        self.hub.get(&self.source, &mut |_| ())
    }

    fn error(&self) -> String {
        self.fetch().unwrap_err().to_string()
    }

    fn folder(&self) -> std::path::PathBuf {
        self.cache.path().join("models--timm--vit_base_patch16_clip_224.openai")
    }

    fn partial(&self) -> std::path::PathBuf {
        self.folder().join("blobs").join(format!("{}.incomplete", sha256(&weights())))
    }
}

#[track_caller]
fn says(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "\"{word}\" is not in: {error}");
    }
}

fn is_right(snapshot: &Snapshot) {
    assert!(fs::read(&snapshot.weights).unwrap() == weights(), "the weights differ");
}

#[test]
fn a_right_file_lies_where_python_looks_for_it_and_is_not_fetched_twice() {
    let b = bench();
    let mut seen = Vec::new();
    let snapshot = b
        .hub
        .get(&b.source, &mut |p| {
            if let Progress::Bytes { file: WEIGHTS, done, total } = p {
                seen.push((done, total));
            }
        })
        .unwrap();
    is_right(&snapshot);
    let all = weights().len() as u64;
    assert!(seen.is_sorted() && seen.first() == Some(&(0, all)) && seen.last() == Some(&(all, all)), "{seen:?}");
    let folder = b.folder();
    assert_eq!(fs::read_to_string(folder.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(snapshot.weights, folder.join("snapshots").join(COMMIT).join(WEIGHTS));
    for (name, bytes) in files() {
        let hash = if name == WEIGHTS { sha256(&bytes) } else { git_blob(&bytes) };
        assert!(fs::read(folder.join("blobs").join(&hash)).unwrap() == bytes, "{name}");
        #[cfg(unix)]
        assert_eq!(fs::read_link(folder.join("snapshots").join(COMMIT).join(&name)).unwrap(), Path::new("../../blobs").join(hash));
    }
    assert_eq!(snapshot.bytes, files().iter().map(|f| f.1.len() as u64).sum::<u64>());
    let requests = b.server.log().len();
    is_right(&b.fetch().unwrap());
    assert_eq!(b.server.log().len(), requests, "the cache answers alone");
    // Asked to look again, it finds nothing new and fetches no bytes.
    b.hub.fetch(&b.source, &mut |_| ()).unwrap();
    assert_eq!(b.server.ranges().len(), 1);
}

#[test]
fn a_damaged_file_is_deleted_and_named() {
    let b = bench();
    b.server.fail([Fault::Damage]);
    let damaged: Vec<u8> = weights().iter().map(|b| b ^ 1).collect();
    says(&b.error(), &[WEIGHTS, "damaged", &sha256(&weights()), &sha256(&damaged)]);
    assert!(!b.partial().exists() && b.hub.cached(&b.source).is_none());
    is_right(&b.fetch().unwrap());
}

#[test]
fn a_cut_is_mended_in_the_same_run() {
    let b = bench();
    b.server.fail([Fault::Cut(1_000_000), Fault::Cut(1)]);
    is_right(&b.fetch().unwrap());
    assert_eq!(b.server.ranges(), ["", "bytes=1000000-", "bytes=1000001-"]);
}

#[test]
fn what_came_before_a_failure_is_resumed_by_the_next_run() {
    let b = bench();
    b.server.fail([Fault::Cut(1_400_000), Fault::Status(503)]);
    says(&b.error(), &[WEIGHTS, "503", "try again"]);
    assert_eq!(fs::metadata(b.partial()).unwrap().len(), 1_400_000);
    let mut first = None;
    let snapshot = b.hub.get(&b.source, &mut |p| {
        if let Progress::Bytes { file: WEIGHTS, done, .. } = p {
            first.get_or_insert(done);
        }
    });
    is_right(&snapshot.unwrap());
    assert_eq!(first, Some(1_400_000));
    assert_eq!(b.server.ranges().last().unwrap(), "bytes=1400000-");
    assert!(!b.partial().exists());
}

#[test]
fn a_server_that_only_cuts_is_given_up_and_what_came_is_kept() {
    let b = bench();
    b.server.fail([Fault::Cut(10), Fault::Cut(0)]);
    says(&b.error(), &["cut off at 10 of 2800000 bytes", "run again to resume"]);
    assert_eq!(fs::metadata(b.partial()).unwrap().len(), 10);
}

#[test]
fn a_server_without_ranges_starts_over() {
    let b = bench();
    b.server.fail([Fault::Cut(1_400_000), Fault::NoRange]);
    is_right(&b.fetch().unwrap());
    assert_eq!(b.server.ranges(), ["", "bytes=1400000-"]);
}

#[test]
fn leftovers_of_any_kind_do_no_harm() {
    let b = bench();
    fs::create_dir_all(b.folder().join("blobs")).unwrap();
    // Longer than the file; then complete, but of other bytes; then complete and right.
    fs::write(b.partial(), vec![0; 3_000_000]).unwrap();
    is_right(&b.fetch().unwrap());
    b.hub.remove(&b.source).unwrap();
    fs::create_dir_all(b.folder().join("blobs")).unwrap();
    fs::write(b.partial(), vec![0; 2_800_000]).unwrap();
    says(&b.error(), &["damaged"]);
    fs::write(b.partial(), weights()).unwrap();
    let before = b.server.ranges().len();
    is_right(&b.fetch().unwrap());
    assert_eq!(b.server.ranges().len(), before, "nothing was left to fetch");
}

#[test]
fn what_is_not_there_is_named() {
    let b = bench();
    says(&Source::parse("ViT-B-17").unwrap_err().to_string(), &["ViT-B-17", "ViT-B-16"]);
    let ask = |text: &str| b.hub.get(&Source::parse(text).unwrap(), &mut |_| ()).unwrap_err().to_string();
    says(&ask("hf:nobody/nothing"), &["nobody/nothing", "no such repository", "HF_TOKEN"]);
    says(&ask("ViT-B-16@v9"), &[REPOSITORY, "no revision \"v9\""]);
    let bare = Server::start(REPOSITORY, [("README.md".to_owned(), Vec::new())]);
    let hub = Hub::new(b.cache.path()).endpoint(&bare.url, None).unwrap();
    says(&hub.get(&b.source, &mut |_| ()).unwrap_err().to_string(), &[REPOSITORY, "holds no open_clip_model", "ViT-L-14", "RN50"]);
    assert!(!b.folder().join("refs").exists());
}

#[test]
fn no_access_points_to_the_token() {
    for (status, code) in [(401, ""), (403, "GatedRepo")] {
        let b = bench();
        b.server.refuse(status, code);
        says(&b.error(), &[REPOSITORY, "no access", "set HF_TOKEN"]);
        let hub = b.hub.clone().endpoint(&b.server.url, Some("hf_secret".into())).unwrap();
        let error = hub.get(&b.source, &mut |_| ()).unwrap_err().to_string();
        says(&error, &["the token in use has no access"]);
        assert!(!error.contains("hf_secret"));
    }
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_its_storage() {
    let b = bench();
    let storage = Server::start("none/none", files());
    b.server.store_at(&storage);
    let hub = b.hub.clone().endpoint(&b.server.url, Some("hf_secret".into())).unwrap();
    is_right(&hub.get(&b.source, &mut |_| ()).unwrap());
    let authorized = |server: &Server| server.log().iter().map(|r| r.headers.contains_key("authorization")).collect::<Vec<_>>();
    assert!(authorized(&b.server).iter().all(|&a| a));
    assert_eq!(authorized(&storage), [false]);
}

#[test]
fn offline() {
    let b = bench();
    let hub = b.hub.clone().offline(true);
    says(&hub.get(&b.source, &mut |_| ()).unwrap_err().to_string(), &["not in the cache", "--offline"]);
    assert!(b.server.log().is_empty());
    b.fetch().unwrap();
    is_right(&hub.get(&b.source, &mut |_| ()).unwrap());
}

#[test]
fn no_hub_at_all() {
    let b = bench();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hub = b.hub.clone().endpoint(&format!("http://{free}"), None).unwrap();
    says(&hub.get(&b.source, &mut |_| ()).unwrap_err().to_string(), &[&free.to_string(), "cannot be reached", "HF_ENDPOINT"]);
    // A web server that is none: no commit, no hash.
    let hub = b.hub.clone().endpoint(&format!("{}/small", b.server.url), None).unwrap();
    assert!(hub.get(&b.source, &mut |_| ()).is_err());
    assert!(Hub::new("x").endpoint("ftp://somewhere", None).is_err());
    assert!(Hub::new("x").endpoint("https://", None).is_err());
    assert!(Hub::new("x").endpoint("https://somewhere", Some("two words".into())).is_err());
}

#[test]
fn two_at_once_fetch_each_byte_once() {
    let b = bench();
    for round in 0..8 {
        let together = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            let fetch = || {
                together.wait();
                b.fetch().unwrap()
            };
            let runs: Vec<_> = (0..8).map(|_| scope.spawn(fetch)).collect();
            runs.into_iter().for_each(|run| is_right(&run.join().unwrap()));
        });
        // The reference is written anew each time; the bytes came once.
        assert_eq!(b.server.ranges(), [""], "round {round}");
    }
}

#[test]
fn revisions_are_kept_apart_and_share_their_files() {
    let b = bench();
    b.fetch().unwrap();
    let pinned = Source::parse("ViT-B-16@v1").unwrap();
    is_right(&b.hub.get(&pinned, &mut |_| ()).unwrap());
    assert_eq!(b.server.ranges().len(), 1, "the same commit");
    let commit = Source::parse(&format!("ViT-B-16@{COMMIT}")).unwrap();
    is_right(&b.hub.clone().offline(true).get(&commit, &mut |_| ()).unwrap());
}

/// As `huggingface_hub` leaves it: here without the tokenizer, as `open_clip` does.
#[cfg(unix)]
fn as_python(b: &Bench, names: &[&str]) {
    let snapshot = b.folder().join("snapshots").join(COMMIT);
    for folder in [snapshot.clone(), b.folder().join("blobs"), b.folder().join("refs")] {
        fs::create_dir_all(folder).unwrap();
    }
    for (name, bytes) in files().into_iter().filter(|f| names.contains(&f.0.as_str())) {
        let hash = if name == WEIGHTS { sha256(&bytes) } else { git_blob(&bytes) };
        fs::write(b.folder().join("blobs").join(&hash), bytes).unwrap();
        std::os::unix::fs::symlink(Path::new("../../blobs").join(hash), snapshot.join(name)).unwrap();
    }
    fs::write(b.folder().join("refs/main"), COMMIT).unwrap();
}

#[cfg(unix)]
#[test]
fn what_python_fetched_is_used() {
    let b = bench();
    as_python(&b, &[WEIGHTS, "open_clip_config.json", "tokenizer.json"]);
    let snapshot = b.fetch().unwrap();
    is_right(&snapshot);
    assert!(b.server.log().is_empty() && snapshot.note.is_none());
    // Without the tokenizer it is asked for; where nobody answers, the rest is used and that is said.
    let b = bench();
    as_python(&b, &[WEIGHTS, "open_clip_config.json"]);
    let snapshot = b.hub.clone().offline(true).get(&b.source, &mut |_| ()).unwrap();
    says(&snapshot.note.unwrap(), &["without tokenizer.json", "offline"]);
    b.fetch().unwrap();
    assert!(b.server.ranges().is_empty() && b.folder().join("snapshots").join(COMMIT).join("tokenizer.json").is_file());
}

#[test]
fn any_repository_in_either_layout() {
    let cache = tempfile::tempdir().unwrap();
    let files = [("model.safetensors", weights()), ("config.json", b"{}".to_vec()), ("tokenizer.json", b"{}".to_vec())];
    let server = Server::start("some/clip", files.map(|(n, b)| (n.to_owned(), b)));
    let hub = Hub::new(cache.path()).endpoint(&server.url, None).unwrap();
    let source = Source::parse("hf:some/clip").unwrap();
    is_right(&hub.get(&source, &mut |_| ()).unwrap());
    // That there is no preprocessor_config.json is remembered, too.
    let requests = server.log().len();
    hub.get(&source, &mut |_| ()).unwrap();
    assert_eq!(server.log().len(), requests);
    let bare = Server::start("some/other", [("model.safetensors".to_owned(), weights())]);
    let hub = Hub::new(cache.path()).endpoint(&bare.url, None).unwrap();
    let error = hub.get(&Source::parse("hf:some/other").unwrap(), &mut |_| ()).unwrap_err().to_string();
    says(&error, &["some/other", "config.json", "is it a CLIP?"]);
}

#[test]
fn removing_takes_what_is_the_models_own_and_nothing_else() {
    let b = bench();
    b.fetch().unwrap();
    let other = b.cache.path().join("models--some--other/blobs");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("x"), "x").unwrap();
    // Another commit that uses the same weights.
    let second = b.folder().join("snapshots").join("f".repeat(40));
    fs::create_dir_all(&second).unwrap();
    let blob = b.folder().join("blobs").join(sha256(&weights()));
    #[cfg(unix)]
    std::os::unix::fs::symlink(&blob, second.join(WEIGHTS)).unwrap();
    let gone = b.hub.remove(&b.source).unwrap();
    assert!(b.hub.cached(&b.source).is_none() && other.join("x").exists());
    #[cfg(unix)]
    assert!(blob.exists() && gone.len() == 2, "{gone:?}");
    fs::remove_dir_all(second).unwrap();
    fs::remove_file(blob).unwrap();
    let gone = b.fetch().and_then(|_| b.hub.remove(&b.source)).unwrap();
    assert_eq!(gone.iter().map(|g| g.0).sum::<u64>(), files().iter().map(|f| f.1.len() as u64).sum::<u64>());
    assert!(!b.folder().exists() && b.hub.remove(&b.source).unwrap().is_empty());
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let b = bench();
    let file = b.cache.path().join("file");
    fs::write(&file, "no folder").unwrap();
    let hub = Hub::new(file.join("below")).endpoint(&b.server.url, None).unwrap();
    says(&hub.get(&b.source, &mut |_| ()).unwrap_err().to_string(), &["file/below"]);
}
