//! Single files from addresses of the user's.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::server::{Reply, Request, Server};
use super::world::{Repo, World, part, sha256};
use crate::support::{Ran, repository};

fn head() -> Vec<u8> {
    fs::read(repository().join("bundles/untrained/head.safetensors")).unwrap()
}

/// A server that holds a head and gives parts of it.
fn server() -> Server {
    Server::start("127.0.0.1", |request| match request.target.as_str() {
        "/heads/mine.safetensors?key=Signature" => part(&head(), request),
        _ => Reply::new(404, ""),
    })
}

fn stored(ran: &Ran) -> Vec<u8> {
    fs::read(ran.stdout.trim_end()).unwrap()
}

#[test]
fn a_file_with_a_known_digest_is_fetched_once() {
    let (world, server) = (World::new(Repo::esm()), server());
    let url = format!("{}/heads/mine.safetensors?key=Signature", server.url());
    let digest = sha256(&head());
    let args = ["--url", &url, "--sha256", &digest.to_uppercase()];
    let ran = world.fetch(&args).ok();
    assert_eq!(stored(&ran), head());
    assert!(
        ran.stdout.starts_with(&format!("{}/", world.sandbox.path("home/.local/share/virnucpro/downloads").display()))
    );
    assert!(ran.stdout.trim_end().ends_with("/mine.safetensors"));
    assert!(server.requests().iter().all(|request| request.header("authorization").is_none()));
    for args in [&args[..], &["--offline", args[0], args[1], args[2], args[3]]] {
        assert_eq!(world.fetch(args).ok().stdout, ran.stdout);
    }
    assert_eq!(server.requests().len(), 1);
    // Damage is repaired.
    fs::write(ran.stdout.trim_end(), "x").unwrap();
    assert_eq!(stored(&world.fetch(&args).ok()), head());
}

#[test]
fn a_file_with_another_digest_is_refused() {
    let (world, server) = (World::new(Repo::esm()), server());
    let url = format!("{}/heads/mine.safetensors?key=Signature", server.url());
    let ran = world.fetch(&["--url", &url, "--sha256", &sha256(b"other")]);
    world.failed(&ran, 1, "VN-NET-HASH");
    assert!(!world.sandbox.path("home").exists());
}

#[test]
fn without_a_digest_the_user_is_told_that_nothing_proves_the_file() {
    let (world, server) = (World::new(Repo::esm()), server());
    let url = format!("{}/heads/mine.safetensors?key=Signature", server.url());
    let ran = world.fetch(&["--url", &url]).ok();
    assert_eq!(stored(&ran), head());
    ran.says(&["nothing proves", &sha256(&head())]);
    assert_eq!(world.fetch(&["--url", &url, "--offline"]).ok().stdout, ran.stdout);
    let gone = format!("{}/gone", server.url());
    world.failed(&world.fetch(&["--url", &gone, "--offline"]), 78, "VN-MODEL-MISSING");
    world.failed(&world.fetch(&["--url", &gone]), 78, "VN-NET-REFUSED");
}

/// A server of the head whose first answer breaks off in the middle; `change` makes the later ones, by their number.
fn breaking(change: impl Fn(usize, &Request, Reply) -> Reply + Send + Sync + 'static) -> Server {
    let count = AtomicUsize::new(0);
    Server::start("127.0.0.1", move |request| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let reply = change(number, request, part(&head(), request));
        if number == 0 { reply.cut(head().len() / 2) } else { reply }
    })
}

/// First bytes that were asked for.
fn places(server: &Server) -> Vec<Option<usize>> {
    server.requests().iter().map(Request::from).collect()
}

#[test]
fn without_a_digest_the_rest_is_taken_of_the_same_version_only() {
    let half = head().len() / 2;
    type Change = fn(usize, &Request, Reply) -> Reply;
    let cases: [(&str, Change, Vec<Option<usize>>); 5] = [
        ("the same version", |_, _, reply| reply, vec![None, Some(half)]),
        ("a weak ETag", |_, _, reply| reply.with("ETag", "W/\"a\""), vec![None, None]),
        (
            "the rest without an ETag",
            |number, _, mut reply| {
                if number == 1 {
                    reply.headers.retain(|(name, _)| *name != "ETag");
                    reply.body.fill(b'x');
                }
                reply
            },
            vec![None, Some(half), None],
        ),
        (
            "a version of another size",
            |number, request, reply| match (number, request.from()) {
                (1, Some(from)) => {
                    let other = vec![b'x'; head().len() + 3];
                    let range = format!("bytes {from}-{}/{}", other.len() - 1, other.len());
                    Reply { body: other[from..].to_vec(), ..reply }.with("Content-Range", range)
                }
                _ => reply,
            },
            vec![None, Some(half), None],
        ),
        (
            "less than the rest",
            |number, _, reply| if number == 1 { Reply { body: reply.body[..9].to_vec(), ..reply } } else { reply },
            vec![None, Some(half), Some(half + 9)],
        ),
    ];
    for (name, change, asked) in cases {
        let (world, server) = (World::new(Repo::esm()), breaking(change));
        let ran = world.fetch(&["--url", &format!("{}/mine.safetensors", server.url())]).ok();
        assert!(stored(&ran) == head(), "{name}: two versions are glued together");
        assert_eq!(places(&server), asked, "{name}");
    }
}

#[test]
fn a_server_that_announces_more_bytes_than_there_are_does_no_harm() {
    let (world, server) = (
        World::new(Repo::esm()),
        breaking(|number, _, reply| if number == 1 { Reply { length: Some(u64::MAX), ..reply } } else { reply }),
    );
    let url = format!("{}/mine.safetensors", server.url());
    let ran = world.fetch(&["--url", &url, "--sha256", &sha256(&head())]).ok();
    assert!(stored(&ran) == head());
}

#[test]
fn a_server_that_never_wants_to_be_asked_again_is_not_asked_again() {
    let server = Server::start("127.0.0.1", |_| Reply::new(503, "").with("Retry-After", u64::MAX));
    let world = World::new(Repo::esm());
    world.failed(&world.fetch(&["--url", &format!("{}/mine", server.url())]), 1, "VN-NET");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn what_is_not_a_file_of_a_model_is_refused_however_it_arrives() {
    let pages = [
        ("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "a web page"),
        ("<!doctype html><html></html>", "a web page"),
        ("<Error><Code>NoSuchKey</Code></Error>", "a web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git-LFS pointer"),
        ("", "0 bytes"),
    ];
    for (page, found) in pages {
        let server =
            Server::start("127.0.0.1", move |_| Reply::new(200, page).paced(4, std::time::Duration::from_millis(5)));
        let world = World::new(Repo::esm());
        let url = format!("{}/mine.pth", server.url());
        let json = world.failed(&world.fetch(&["--url", &url]), 78, "VN-MODEL-LFS");
        assert_eq!(json["found"], found, "{page}");
        assert!(!world.sandbox.path("home").exists() || world.sandbox.files("home").is_empty(), "{page}");
    }
}

#[test]
fn a_published_head_is_known_by_name_and_must_be_fetched() {
    let world = World::new(Repo::esm());
    let json = world.failed(&world.fetch(&["virnucpro-500", "--offline"]), 78, "VN-MODEL-MISSING");
    assert!(json["advice"].as_str().unwrap().contains("500_model.pth"), "{json}");
    // What is there is not trusted.
    let path = json["file"].as_str().unwrap();
    fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
    fs::write(path, "no head").unwrap();
    let json = world.failed(&world.fetch(&["virnucpro-500", "--offline"]), 78, "VN-MODEL-MISSING");
    assert_eq!(json["found"], "a file with another digest");
}

#[test]
fn a_failure_leaves_nothing_useless_behind() {
    let (world, server) = (World::new(Repo::esm()), server());
    let gone = format!("{}/gone", server.url());
    let json = world.failed(&world.fetch(&["--url", &gone]), 78, "VN-NET-REFUSED");
    assert_eq!(json["advice"], "check the address");
    let nowhere = "http://no-such-host.invalid/head.pth";
    for args in [&["--url", nowhere][..], &["--url", nowhere, "--sha256", &sha256(b"x")]] {
        let json = world.failed(&world.fetch(args), 1, "VN-NET");
        assert_eq!(json["message"], "the host no-such-host.invalid is unknown");
    }
    // A partial file is of no use if nothing will prove the whole.
    let cut = Server::start("127.0.0.1", |request| part(&head(), request).cut(1000));
    world.fetch(&["--url", &format!("{}/head", cut.url())]).fails(1, "VN-NET");
    assert!(!world.sandbox.path("home").exists(), "{:?}", world.sandbox.files("home").keys());
}

#[test]
fn advice_about_an_address_is_about_the_address() {
    let world = World::new(Repo::esm());
    let advice = |reply: Reply, sum: &[&str], fault: &str| {
        let server = Server::start("127.0.0.1", move |_| reply.clone());
        let url = format!("{}/head", server.url());
        let ran = world.fetch(&[&["--url", &url], sum].concat());
        let json = ran.fails(ran.code, fault);
        json["advice"].as_str().unwrap().to_owned()
    };
    let pointer = Reply::new(200, "version https://git-lfs.github.com/spec/v1\n");
    assert!(advice(pointer, &[], "VN-MODEL-LFS").contains("address of its download"));
    assert!(advice(Reply::new(200, "<html>"), &[], "VN-MODEL-LFS").contains("address of the file itself"));
    assert!(advice(Reply::new(401, ""), &[], "VN-NET-REFUSED").contains("check the address"));
    let sum = sha256(b"other");
    assert!(advice(Reply::new(200, "x"), &["--sha256", &sum], "VN-NET-HASH").contains("make sure that --sha256"));
}
