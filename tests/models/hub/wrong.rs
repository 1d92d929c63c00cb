//! Bytes other than those announced, which are never used.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::server::{Reply, Request};
use super::world::{REPO, Repo, WEIGHTS, World};

/// Other bytes of the same number.
fn spoilt(mut reply: Reply) -> Reply {
    if let Some(byte) = reply.body.get_mut(1000) {
        *byte ^= 1;
    }
    reply
}

#[test]
fn one_wrong_bit_is_noticed_and_asked_for_again_once() {
    let world = World::large(|_, reply| spoilt(reply));
    let ran = world.fetch(&[REPO]);
    let json = world.failed(&ran, 1, "VN-NET-HASH");
    assert!(json["expected"].as_str().unwrap().contains(&world.repo.blob(WEIGHTS)), "{json}");
    assert_eq!(json["retryable"], true);
    assert_eq!(world.cdn.requests().len(), 2);
    assert_eq!(world.unfinished(), Vec::<String>::new());

    let count = AtomicUsize::new(0);
    let world =
        World::large(move |_, reply| if count.fetch_add(1, Ordering::SeqCst) == 0 { spoilt(reply) } else { reply });
    world.complete_esm(&world.fetch(&[REPO]));
}

#[test]
fn a_wrong_bit_in_a_small_file_is_noticed_too() {
    let world = World::hub(|request, mut reply| {
        if request.target.contains("resolve-cache") && request.target.contains("config.json") {
            reply.body[10] ^= 1;
        }
        reply
    });
    let ran = world.fetch(&[REPO]);
    world.failed(&ran, 1, "VN-NET-HASH");
    assert!(!world.snapshot().join("config.json").exists());
}

#[test]
fn a_file_of_another_size_is_refused() {
    type Change = fn(Vec<u8>) -> Vec<u8>;
    let changes: [Change; 3] = [
        |mut body| {
            body.truncate(1000);
            body
        },
        |mut body| {
            body.push(0);
            body
        },
        |mut body| {
            body.extend(vec![0; 2_000_000]);
            body
        },
    ];
    for change in changes {
        let world = World::large(move |_, reply| Reply { body: change(reply.body), ..Reply::new(200, "") });
        let ran = world.fetch(&[REPO]);
        world.failed(&ran, 1, "VN-NET-HASH");
        assert_eq!(world.unfinished(), Vec::<String>::new());
    }
}

#[test]
fn a_boundless_length_reserves_nothing() {
    let world = World::large(|_, reply| Reply { length: Some(1 << 60), ..reply });
    // All bytes come; then the connection ends before the length that was announced.
    let ran = world.fetch(&[REPO]);
    if ran.code == 0 {
        world.complete_esm(&ran);
    } else {
        world.failed(&ran, 1, "VN-NET");
    }
    let mut lie = Repo::esm();
    lie.terse = true;
    let large = |request: &Request, reply: Reply| {
        if request.target.contains(WEIGHTS) { reply.with("X-Linked-Size", 1u64 << 60) } else { reply }
    };
    let world = World::with(lie, Box::new(large), Box::new(|_, reply| reply));
    let ran = world.fetch(&[REPO]);
    world.failed(&ran, 1, "VN-IO-NOSPACE");
    assert!(world.cdn.requests().is_empty());
}

#[test]
fn a_web_page_instead_of_anything_is_recognised() {
    let page = "\n<!DOCTYPE html><html><body>Please log in</body></html>";
    let at = [("/revision/", "hub"), ("config.json", "hub"), (WEIGHTS, "cdn")];
    for (part, host) in at {
        let page = move |request: &Request, reply: Reply| {
            if request.target.contains(part) { Reply::new(200, page).with("Content-Type", "text/html") } else { reply }
        };
        let world = if host == "hub" { World::hub(page) } else { World::large(page) };
        let ran = world.fetch(&[REPO]);
        let json = world.failed(&ran, 78, "VN-MODEL-LFS");
        assert!(json["message"].as_str().unwrap().contains("a web page"), "{json}");
        assert_eq!(world.unfinished(), Vec::<String>::new());
    }
}

#[test]
fn a_pointer_instead_of_weights_is_recognised() {
    let text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n";
    let world = World::large(move |_, _| Reply::new(200, text));
    let ran = world.fetch(&[REPO]);
    let json = world.failed(&ran, 78, "VN-MODEL-LFS");
    assert!(json["message"].as_str().unwrap().contains("a Git-LFS pointer"), "{json}");
    assert_eq!(world.cdn.requests().len(), 1);
}

#[test]
fn hostile_names_of_a_listing_lead_nowhere() {
    let mut repo = Repo::esm();
    for name in ["../evil", "../../../evil", "/tmp/virnucpro-evil", "a/../../evil", "..", "config.json/../evil"] {
        repo.put(name, b"evil");
    }
    let world = World::new(repo);
    let ran = world.fetch(&[REPO]);
    world.complete_esm(&ran);
    assert!(world.hub.requests().iter().chain(&world.cdn.requests()).all(|request| !request.target.contains("evil")));
    let strays = |name: &&String| name.contains("evil");
    assert_eq!(world.sandbox.files("").keys().filter(strays).count(), 0);
}

#[test]
fn hostile_names_of_an_index_are_refused() {
    for name in ["../../evil.safetensors", "/etc/evil.safetensors", "gone.safetensors"] {
        let mut repo = Repo::esm();
        repo.files.remove(WEIGHTS);
        repo.put("../../evil.safetensors", b"evil");
        let index = json!({"weight_map": {"x": name}}).to_string();
        repo.put("model.safetensors.index.json", index.as_bytes());
        let world = World::new(repo);
        let ran = world.fetch(&[REPO]);
        world.failed(&ran, 78, "VN-MODEL-FORMAT");
        assert!(world.hub.asked("evil").is_empty() && world.cdn.requests().is_empty());
    }
}

#[test]
fn a_commit_that_is_a_path_is_refused() {
    let world = World::hub(|request, reply| {
        if !request.target.contains("/revision/") {
            return reply;
        }
        Reply::new(200, json!({"sha": "../../../../evil", "siblings": []}).to_string())
    });
    let ran = world.fetch(&[REPO]);
    world.failed(&ran, 1, "VN-NET");
}

#[test]
fn a_repository_without_a_model_is_refused() {
    let mut repo = Repo::esm();
    repo.files.remove(WEIGHTS);
    let world = World::new(repo);
    let ran = world.fetch(&[REPO]);
    world.failed(&ran, 78, "VN-MODEL-FORMAT");
}

#[test]
fn the_hub_must_send_what_it_listed() {
    let world = World::hub(|request, reply| {
        let weights = request.target.contains(WEIGHTS);
        if weights { reply.with("X-Linked-Etag", format!("\"{}\"", "0".repeat(64))) } else { reply }
    });
    let ran = world.fetch(&[REPO]);
    world.failed(&ran, 1, "VN-NET-HASH");
}
