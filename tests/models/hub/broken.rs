//! Downloads that break off: in the connection, in the server, in this program.

use std::fs;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::server::{Reply, Request};
use super::world::{REPO, WEIGHTS, World, part, tight};
use crate::support::{Ran, send};

/// A change of the first answer alone.
fn first(change: impl Fn(Reply) -> Reply + Send + Sync + 'static) -> impl Fn(&Request, Reply) -> Reply + Send + Sync {
    let count = AtomicUsize::new(0);
    move |_, reply| if count.fetch_add(1, Ordering::SeqCst) == 0 { change(reply) } else { reply }
}

#[test]
fn a_download_resumes_where_it_was_cut() {
    let length = super::world::Repo::esm().files[WEIGHTS].len();
    for at in [0, 1, length / 2, length - 1] {
        let world = World::large(first(move |reply| reply.cut(at)));
        world.complete_esm(&world.fetch(&[REPO]));
        let asked = world.cdn.requests();
        assert_eq!(asked.len(), 2, "{at}");
        assert_eq!(asked[1].from(), if at > 0 { Some(at) } else { None });
        let etag = format!("\"etag-{}\"", world.weights().len());
        assert_eq!(asked[1].header("if-range"), Some(etag.as_str()).filter(|_| at > 0));
    }
}

#[test]
fn a_server_that_cuts_every_time_is_asked_as_long_as_it_helps() {
    // At every tenth of the file.
    let world = World::large(|_, reply| reply.cut(64_037));
    world.complete_esm(&world.fetch(&[REPO]));
    let asked: Vec<_> = world.cdn.requests().iter().map(|request| request.from().unwrap_or(0)).collect();
    let tenths: Vec<_> = (0..world.weights().len()).step_by(64_037).collect();
    assert!(asked == tenths && asked.len() >= 10, "{asked:?}");
}

#[test]
fn a_server_that_sends_nothing_more_is_given_up() {
    let world = World::large(|request, reply| reply.cut(if request.from().is_some() { 0 } else { 300_000 }));
    let ran = world.fetch(&[REPO]);
    world.failed(&ran, 1, "VN-NET");
    assert_eq!(world.cdn.requests().len(), 5);
    // What came is kept and resumed.
    assert_eq!(world.unfinished().len(), 1);
    let partial = world.folder().join("blobs").join(&world.unfinished()[0]);
    assert_eq!(fs::metadata(partial).unwrap().len(), 300_000);
}

#[test]
fn a_silent_server_is_dropped_and_asked_again() {
    let world = World::large(first(|reply| Reply { silence: Duration::from_secs(5), ..reply.cut(200_000) }));
    let started = Instant::now();
    world.complete_esm(&world.fetch(&[REPO, "--timeout", "0.5"]));
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eq!(world.cdn.requests()[1].from(), Some(200_000));
}

#[test]
fn a_server_that_drips_is_dropped_too() {
    let drip = first(|reply| reply.paced(1, Duration::from_millis(50)));
    let world = World::large(drip);
    world.complete_esm(&world.fetch(&[REPO, "--timeout", "0.5"]));
    assert_eq!(world.cdn.requests().len(), 2);
}

#[test]
fn a_server_that_sends_no_parts_sends_the_whole_again() {
    let count = AtomicUsize::new(0);
    let world = World::large(move |request, reply| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            return reply.cut(300_000);
        }
        let content = if request.from().is_some() { whole_of(&reply) } else { reply.body };
        Reply::new(200, content)
    });
    world.complete_esm(&world.fetch(&[REPO]));
    assert_eq!(world.cdn.requests().len(), 2);
}

/// The whole file of a reply that holds its end: the tests know the file.
fn whole_of(reply: &Reply) -> Vec<u8> {
    let file = super::world::Repo::esm().files.remove(WEIGHTS).unwrap();
    assert!(file.ends_with(&reply.body));
    file
}

#[test]
fn a_part_of_another_file_is_not_taken() {
    // The file has another ETag the second time, and the server ignores If-Range.
    let count = AtomicUsize::new(0);
    let world = World::large(move |request, reply| match count.fetch_add(1, Ordering::SeqCst) {
        0 => reply.cut(300_000).with("ETag", "\"one\""),
        1 => {
            let mut unchecked = request.clone();
            unchecked.headers.remove("if-range");
            let mut other = part(&whole_of(&Reply::new(200, "")), &unchecked).with("ETag", "\"two\"");
            other.body.fill(0);
            other
        }
        _ => reply,
    });
    world.complete_esm(&world.fetch(&[REPO]));
    let asked: Vec<_> = world.cdn.requests().iter().map(Request::from).collect();
    assert_eq!(asked, [None, Some(300_000), None]);
}

#[test]
fn a_range_that_the_server_refuses_is_not_asked_for_again() {
    let count = AtomicUsize::new(0);
    let world = World::large(move |_, reply| match count.fetch_add(1, Ordering::SeqCst) {
        0 => reply.cut(300_000),
        1 => Reply::new(416, ""),
        _ => reply,
    });
    world.complete_esm(&world.fetch(&[REPO]));
    assert_eq!(world.cdn.requests().len(), 3);
}

/// Waits until some of the weights are on the disk.
fn wait_for_bytes(world: &World, child: &mut Child, count: u64) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let bytes = |name: String| fs::metadata(world.folder().join("blobs").join(name)).map_or(0, |m| m.len());
        if world.unfinished().into_iter().map(bytes).any(|bytes| bytes >= count) {
            return;
        }
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < until, "it never came to the weights");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_a_killed_process_left_is_resumed() {
    let world = World::large(first(|reply| reply.paced(20_000, Duration::from_millis(25))));
    let mut child = world.start();
    wait_for_bytes(&world, &mut child, 100_000);
    child.kill().unwrap();
    child.wait().unwrap();
    world.nothing_is_wrong();
    assert_eq!(world.unfinished().len(), 1);
    world.complete_esm(&world.fetch(&[REPO]));
    let from = world.cdn.requests()[1].from().expect("the second process starts from nothing");
    assert!(from >= 100_000, "{from}");
}

#[test]
fn wrong_bytes_of_a_killed_process_do_no_harm() {
    let world = World::large(first(|reply| reply.paced(20_000, Duration::from_millis(25))));
    let mut child = world.start();
    wait_for_bytes(&world, &mut child, 100_000);
    child.kill().unwrap();
    child.wait().unwrap();
    let partial = world.folder().join("blobs").join(&world.unfinished()[0]);
    let length = fs::metadata(&partial).unwrap().len();
    fs::write(&partial, vec![7; usize::try_from(length).unwrap()]).unwrap();
    world.complete_esm(&world.fetch(&[REPO]));
    let asked: Vec<_> = world.cdn.requests().iter().skip(1).map(|request| request.from().is_some()).collect();
    assert_eq!(asked, [true, false]);
}

#[test]
fn a_signal_ends_it_at_once_and_the_rest_comes_later() {
    for (signal, code, fault) in [(libc::SIGINT, 130, "VN-INTERRUPTED"), (libc::SIGTERM, 143, "VN-TERMINATED")] {
        // The server has gone silent: nothing but the signal can end the wait.
        let silent = |reply: Reply| Reply { silence: Duration::from_secs(20), ..reply.cut(200_000) };
        let world = World::large(first(silent));
        let mut child = world.start();
        wait_for_bytes(&world, &mut child, 200_000);
        send(&child, signal);
        let sent = Instant::now();
        let ran = tight(Ran::from_output("fetch".to_owned(), child.wait_with_output().unwrap()));
        assert!(sent.elapsed() < Duration::from_secs(3), "{:?}", sent.elapsed());
        world.failed(&ran, code, fault);
        world.complete_esm(&world.fetch(&[REPO]));
        assert_eq!(world.cdn.requests()[1].from(), Some(200_000));
    }
}

#[test]
fn several_processes_at_once_each_get_the_model() {
    let world = World::large(|_, reply| reply.paced(100_000, Duration::from_millis(20)));
    let children: Vec<Child> = (0..4).map(|_| world.start()).collect();
    for child in children {
        world.complete_paths(&Ran::from_output("fetch".to_owned(), child.wait_with_output().unwrap()));
    }
    world.complete_esm(&world.fetch(&[REPO, "--offline"]));
}
