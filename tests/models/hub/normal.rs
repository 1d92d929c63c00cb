//! What comes when nothing goes wrong, and where it is put.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::server::Reply;
use super::world::{COMMIT, REPO, Repo, WEIGHTS, World};

#[test]
fn a_model_lies_where_the_hubs_own_client_looks_for_it() {
    let world = World::new(Repo::esm());
    let ran = world.fetch(&[REPO]);
    world.complete_esm(&ran);
    let mut blobs: Vec<_> = ["config.json", "vocab.txt", WEIGHTS].iter().map(|name| world.repo.blob(name)).collect();
    blobs.sort();
    assert_eq!(world.names("blobs"), blobs);
    let link = fs::read_link(world.snapshot().join(WEIGHTS)).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(world.repo.blob(WEIGHTS)));
    let size = world.weights().len();
    ran.says(&["org/tiny", "c0ffeec0ffee", "licence", "3 files", &world.snapshot().display().to_string()]);
    assert!(size > 600_000);
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let world = World::new(Repo::esm());
    world.complete_esm(&world.fetch(&[REPO]));
    let before = world.hub.requests().len();
    world.complete_esm(&world.fetch(&[REPO]));
    let later: Vec<_> = world.hub.requests()[before..].iter().map(|request| request.target.clone()).collect();
    assert_eq!(later, ["/api/models/org/tiny/revision/main?blobs=true"]);
    assert_eq!(world.cdn.requests().len(), 1);
}

#[test]
fn quiet_prints_the_folder_and_nothing_else() {
    let world = World::new(Repo::esm());
    let ran = world.fetch(&["-q", REPO]);
    world.complete_esm(&ran);
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_slow_server_is_waited_for() {
    let pause = std::time::Duration::from_millis(15);
    let world = World::large(move |_, reply| reply.paced(40_000, pause));
    world.complete_esm(&world.fetch(&[REPO, "--timeout", "1"]));
    assert_eq!(world.cdn.requests().len(), 1);
}

#[test]
fn headers_say_what_a_terse_listing_does_not() {
    let mut repo = Repo::esm();
    repo.terse = true;
    let world = World::new(repo);
    world.complete_esm(&world.fetch(&[REPO]));
    let heads = world.hub.requests().into_iter().filter(|request| request.method == "HEAD").count();
    assert!(heads >= 3, "{heads}");
    assert!(world.cdn.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn what_nothing_proves_is_not_fetched() {
    let mut repo = Repo::esm();
    repo.terse = true;
    let plain = |_: &super::server::Request, mut reply: Reply| {
        reply.headers.retain(|(name, _)| !["ETag", "X-Linked-Etag"].contains(name));
        reply
    };
    let world = World::with(repo, Box::new(plain), Box::new(|_, reply| reply));
    let ran = world.fetch(&[REPO]);
    world.failed(&ran, 1, "VN-NET-HASH");
    assert!(world.names("blobs").is_empty());
}

fn cut_up(index: &str, shards: [&str; 2]) -> Repo {
    let mut repo = Repo::esm();
    let weights = repo.files.remove(WEIGHTS).unwrap();
    let (a, b) = weights.split_at(weights.len() / 2);
    repo.put(shards[0], a);
    repo.put(shards[1], b);
    let map = json!({"metadata": {}, "weight_map": {"x": shards[1], "y": shards[0], "z": shards[1]}});
    repo.put(index, map.to_string().as_bytes());
    repo
}

#[test]
fn weights_in_several_files_come_with_their_index() {
    let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let mut repo = cut_up("model.safetensors.index.json", shards);
    repo.put("pytorch_model.bin", b"not wanted");
    let world = World::new(repo);
    let ran = world.fetch(&[REPO]);
    world.complete(&ran, &["config.json", shards[0], shards[1], "model.safetensors.index.json", "vocab.txt"]);
}

#[test]
fn pickles_come_if_there_is_nothing_better() {
    let shards = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"];
    let mut repo = cut_up("pytorch_model.bin.index.json", shards);
    let world = World::new(repo.clone());
    let ran = world.fetch(&[REPO]);
    world.complete(&ran, &["config.json", shards[0], shards[1], "pytorch_model.bin.index.json", "vocab.txt"]);
    repo.put("pytorch_model.bin", b"whole");
    let world = World::new(repo);
    world.complete(&world.fetch(&[REPO]), &["config.json", "pytorch_model.bin", "vocab.txt"]);
}

#[test]
fn a_revision_is_asked_for_and_noted_by_its_name() {
    let world = World::new(Repo::esm());
    world.fetch(&[REPO, "--revision", "refs/pr/7"]).ok();
    assert_eq!(world.hub.asked("/revision/refs%2Fpr%2F7?").len(), 1);
    assert_eq!(fs::read_to_string(world.folder().join("refs/refs/pr/7")).unwrap(), COMMIT);
    // A commit is its own name.
    let world = World::new(Repo::esm());
    world.fetch(&[REPO, "--revision", COMMIT]).ok();
    assert!(!world.folder().join("refs").exists());
    let ran = world.fetch(&[REPO, "--revision", &"a".repeat(40)]);
    ran.fails(1, "VN-NET");
}

#[test]
fn without_a_name_the_models_that_have_one_are_listed() {
    let world = World::new(Repo::esm());
    let ran = world.fetch(&[]).ok();
    for word in ["esm2-3b", "dnabert-s", "virnucpro-500", "MIT", "none stated", "facebook/esm2_t6_8M_UR50D", "GB"] {
        assert!(ran.stdout.contains(word), "{word}\n{}", ran.stdout);
    }
    assert!(world.hub.requests().is_empty());
}

#[test]
fn a_name_of_the_catalogue_is_a_repository_of_the_hub() {
    let world = World::hub(|_, _| Reply::new(404, ""));
    let ran = world.fetch(&["esm2-8m"]);
    ran.fails(78, "VN-NET-REFUSED");
    assert_eq!(world.hub.requests()[0].target, "/api/models/facebook/esm2_t6_8M_UR50D/revision/main?blobs=true");
}

#[test]
fn the_list_fits_a_screen() {
    let world = World::new(Repo::esm());
    let ran = world.fetch(&[]).ok();
    let rows = ran.stdout.split("\n\n").next().unwrap();
    assert!(rows.lines().count() > 10 && rows.lines().all(|row| row.chars().count() <= 100), "{rows}");
}

#[test]
fn what_came_before_a_failure_is_printed() {
    let world = World::new(Repo::esm());
    let ran = world.fetch(&[REPO, "org/gone", REPO]);
    ran.fails(78, "VN-NET-REFUSED");
    assert_eq!(ran.stdout, format!("{}\n", world.snapshot().display()));
}

#[test]
fn the_page_of_a_model_comes_with_it() {
    let mut repo = Repo::esm();
    repo.put("README.md", b"its licence");
    let world = World::new(repo);
    world.complete(&world.fetch(&[REPO]), &["README.md", "config.json", WEIGHTS, "vocab.txt"]);
}
