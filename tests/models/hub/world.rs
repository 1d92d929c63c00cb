//! A hub with one repository, a second host that holds the large files, and the program that fetches from them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::json;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::server::{Reply, Request, Server};
use crate::support::{Ran, Sandbox, repository};

pub const REPO: &str = "org/tiny";
pub const COMMIT: &str = "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ff";
pub const TOKEN: &str = "hf_VeryMuchSecret";
/// In every address of a large file; no message may show it.
const SIGNATURE: &str = "SignedAndSecret";
pub const WEIGHTS: &str = "model.safetensors";

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn git_id(bytes: &[u8]) -> String {
    hex(&Sha1::new().chain_update(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Files of a repository. Weights are in LFS, as on the hub.
#[derive(Clone, Default)]
pub struct Repo {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whether the listing says nothing of sizes and digests.
    pub terse: bool,
}

impl Repo {
    /// The tiny ESM-2 of the golden vectors.
    pub fn esm() -> Self {
        let golden = repository().join("tests/golden/esm");
        let mut repo = Self::default();
        repo.put("config.json", &fs::read(golden.join("config.json")).unwrap());
        repo.put(WEIGHTS, &fs::read(golden.join("esm2_tiny.safetensors")).unwrap());
        repo.put("vocab.txt", b"<cls>\n<pad>\n");
        repo.put("training_args.json", b"not needed");
        repo
    }

    /// An encoder of the embedded bundle.
    pub fn mini(part: &str) -> Self {
        let mut repo = Self::default();
        for entry in fs::read_dir(repository().join("bundles/untrained").join(part)).unwrap() {
            let path = entry.unwrap().path();
            repo.put(path.file_name().unwrap().to_str().unwrap(), &fs::read(&path).unwrap());
        }
        repo
    }

    pub fn put(&mut self, name: &str, content: &[u8]) {
        self.files.insert(name.to_owned(), content.to_owned());
    }

    fn in_lfs(name: &str) -> bool {
        name.ends_with(".safetensors") || name.ends_with(".bin")
    }

    /// Name of a file's blob in the cache.
    pub fn blob(&self, name: &str) -> String {
        let content = &self.files[name];
        if Self::in_lfs(name) { sha256(content) } else { git_id(content) }
    }

    fn listing(&self) -> Reply {
        let sibling = |(name, content): (&String, &Vec<u8>)| {
            let mut file = json!({"rfilename": name});
            if !self.terse {
                file["size"] = json!(content.len());
                file["blobId"] = json!(git_id(content));
                if Self::in_lfs(name) {
                    file["blobId"] = json!(git_id(b"a pointer"));
                    file["lfs"] = json!({"sha256": sha256(content), "size": content.len(), "pointerSize": 130});
                }
            }
            file
        };
        let siblings: Vec<_> = self.files.iter().map(sibling).collect();
        let body = json!({"id": REPO, "sha": COMMIT, "siblings": siblings, "private": false}).to_string();
        Reply::new(200, body).with("Content-Type", "application/json")
    }

    /// What the hub answers. Small files come after a redirect on the hub, large ones from `elsewhere`.
    fn answer(&self, request: &Request, elsewhere: &str) -> Reply {
        let path = request.target.split('?').next().unwrap();
        if path.starts_with(&format!("/api/models/{REPO}/revision/")) {
            return self.listing();
        }
        let Some((direct, name)) = self.name_of(path) else {
            return Reply::new(404, "Not Found").with("X-Error-Code", "EntryNotFound");
        };
        let content = &self.files[name];
        let reply = if Self::in_lfs(name) {
            let to = format!("{elsewhere}/cdn/{name}?Signature={SIGNATURE}");
            let reply = Reply::new(302, "elsewhere").with("Location", to);
            reply.with("X-Linked-Etag", format!("\"{}\"", sha256(content))).with("X-Linked-Size", content.len())
        } else if direct {
            Reply::new(200, content.clone()).with("ETag", format!("\"{}\"", git_id(content)))
        } else {
            Reply::new(307, "").with("Location", format!("/api/resolve-cache/models/{REPO}/{COMMIT}/{name}?x=1"))
        };
        reply.with("X-Repo-Commit", COMMIT)
    }

    /// The file that a path of the hub names, and whether it is sent from there.
    fn name_of<'a>(&self, path: &'a str) -> Option<(bool, &'a str)> {
        let asked = path.strip_prefix(&format!("/{REPO}/resolve/{COMMIT}/")).map(|name| (false, name));
        let direct = || Some((true, path.strip_prefix(&format!("/api/resolve-cache/models/{REPO}/{COMMIT}/"))?));
        asked.or_else(direct).filter(|(_, name)| self.files.contains_key(*name))
    }

    /// What the host of large files answers: parts too.
    fn large(&self, request: &Request) -> Reply {
        let name = request.target.split('?').next().unwrap().trim_start_matches("/cdn/");
        let Some(content) = self.files.get(name) else { return Reply::new(404, "") };
        part(content, request)
    }
}

/// All of `content` or the part that is asked for, with an ETag that is not a digest.
pub fn part(content: &[u8], request: &Request) -> Reply {
    let etag = format!("\"etag-{}\"", content.len());
    let current = request.header("if-range").is_none_or(|known| known == etag);
    let reply = match request.from().filter(|_| current) {
        Some(from) if from >= content.len() => {
            Reply::new(416, "").with("Content-Range", format!("bytes */{}", content.len()))
        }
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
            Reply::new(206, &content[from..]).with("Content-Range", range)
        }
        None => Reply::new(200, content),
    };
    reply.with("ETag", etag)
}

/// The hub, its second host, a folder for the cache, and the program.
pub struct World {
    pub sandbox: Sandbox,
    pub hub: Server,
    pub cdn: Server,
    pub repo: Repo,
}

/// Changes an answer.
pub type Change = Box<dyn Fn(&Request, Reply) -> Reply + Send + Sync>;

impl World {
    pub fn new(repo: Repo) -> Self {
        Self::with(repo, Box::new(|_, reply| reply), Box::new(|_, reply| reply))
    }

    /// A hub whose answers `hub` changes, and a second host whose answers `cdn` changes.
    pub fn with(repo: Repo, hub: Change, cdn: Change) -> Self {
        let shared = Arc::new(repo.clone());
        let large = Arc::clone(&shared);
        let cdn = Server::start("127.0.0.2", move |request| cdn(request, large.large(request)));
        let elsewhere = cdn.url();
        let hub = Server::start("127.0.0.1", move |request| hub(request, shared.answer(request, &elsewhere)));
        Self { sandbox: Sandbox::new(), hub, cdn, repo }
    }

    /// The large files of the golden ESM-2 come as `cdn` makes them.
    pub fn large(cdn: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(Repo::esm(), Box::new(|_, reply| reply), Box::new(cdn))
    }

    /// What the hub says comes as `hub` makes it.
    pub fn hub(hub: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(Repo::esm(), Box::new(hub), Box::new(|_, reply| reply))
    }

    /// The program with the environment of this world and no other.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(args);
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if upper.starts_with("HF_") || upper.ends_with("_PROXY") || upper.starts_with("XDG_") {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.sandbox.path("home")).env("HF_HOME", self.sandbox.path("hf"));
        command.env("HF_ENDPOINT", self.hub.url()).env("HF_TOKEN", TOKEN);
        command
    }

    /// Runs `models fetch` with short waits.
    pub fn fetch(&self, args: &[&str]) -> Ran {
        self.fetch_with(args, &[])
    }

    /// The same with more variables.
    pub fn fetch_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = self.command(&[&["models", "fetch", "--retry-wait", "0.02"], args].concat());
        command.envs(variables.iter().copied());
        tight(Ran::of(command))
    }

    /// Starts `models fetch` of the repository.
    pub fn start(&self) -> Child {
        let mut command = self.command(&["models", "fetch", "--retry-wait", "0.02", REPO]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Folder of the repository in the cache.
    pub fn folder(&self) -> PathBuf {
        self.sandbox.path("hf/hub/models--org--tiny")
    }

    pub fn snapshot(&self) -> PathBuf {
        self.folder().join("snapshots").join(COMMIT)
    }

    /// Names in a folder of the cache; none if it is not there.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.folder().join(folder)) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Names of what is not finished.
    pub fn unfinished(&self) -> Vec<String> {
        self.names("blobs").into_iter().filter(|name| name.ends_with(".partial")).collect()
    }

    /// Asserts that everything in the cache that has a name is what the repository holds.
    #[track_caller]
    pub fn nothing_is_wrong(&self) {
        for name in self.names("blobs").iter().filter(|name| !name.ends_with(".partial")) {
            let right = self.repo.files.keys().find(|file| self.repo.blob(file) == *name);
            let right = right.unwrap_or_else(|| panic!("a blob of nothing: {name}"));
            let content = fs::read(self.folder().join("blobs").join(name)).unwrap();
            assert!(content == self.repo.files[right], "the blob of {right} is wrong");
        }
        for name in self.names(&format!("snapshots/{COMMIT}")) {
            assert!(fs::read(self.snapshot().join(&name)).unwrap() == self.repo.files[&name], "{name} is wrong");
        }
    }

    /// Asserts that the model was fetched: these files, with the right bytes, noted as main, and nothing left over.
    #[track_caller]
    pub fn complete(&self, ran: &Ran, files: &[&str]) {
        assert_eq!(ran.code, 0, "{}", ran.told());
        assert_eq!(ran.stdout, format!("{}\n", self.snapshot().display()), "{}", ran.told());
        self.nothing_is_wrong();
        assert_eq!(self.names(&format!("snapshots/{COMMIT}")), files);
        assert_eq!(fs::read_to_string(self.folder().join("refs/main")).unwrap(), COMMIT);
        assert_eq!(self.unfinished(), Vec::<String>::new());
    }

    /// Asserts that one of several processes at once fetched the golden ESM-2.
    #[track_caller]
    pub fn complete_paths(&self, ran: &Ran) {
        assert_eq!((ran.code, ran.stdout.trim_end()), (0, self.snapshot().to_str().unwrap()), "{}", ran.told());
        assert!(fs::read(self.snapshot().join(WEIGHTS)).unwrap() == self.weights());
    }

    /// Asserts that the golden ESM-2 was fetched.
    #[track_caller]
    pub fn complete_esm(&self, ran: &Ran) {
        self.complete(ran, &["config.json", WEIGHTS, "vocab.txt"]);
    }

    /// Asserts a failure that left nothing wrong, and no weights under their name.
    #[track_caller]
    pub fn failed(&self, ran: &Ran, code: i32, fault: &str) -> serde_json::Value {
        let json = ran.fails(code, fault);
        self.nothing_is_wrong();
        assert!(!self.snapshot().join(WEIGHTS).exists());
        assert!(!self.folder().join("refs").exists(), "an incomplete model is noted");
        assert_eq!(ran.stdout, "");
        json
    }

    pub fn weights(&self) -> &[u8] {
        &self.repo.files[WEIGHTS]
    }
}

/// Asserts that nothing secret was said.
#[track_caller]
pub fn tight(ran: Ran) -> Ran {
    for secret in [TOKEN, SIGNATURE, "Signature="] {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{secret} is told:\n{}", ran.told());
    }
    ran
}

/// All paths below a folder with the time of their last change, links not followed.
pub fn changes(folder: &Path) -> BTreeMap<PathBuf, std::time::SystemTime> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), path.symlink_metadata().unwrap().modified().unwrap());
            }
        }
        found.insert(folder.clone(), folder.metadata().unwrap().modified().unwrap());
    }
    found
}
