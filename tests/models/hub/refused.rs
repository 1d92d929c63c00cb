//! Servers that refuse, are busy, or say nothing.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::server::{Reply, Request, Server};
use super::world::{REPO, WEIGHTS, World};

/// The first `times` answers about the listing are `reply`.
fn at_first(times: usize, reply: Reply) -> impl Fn(&Request, Reply) -> Reply + Send + Sync {
    let count = AtomicUsize::new(0);
    move |request, usual| {
        let listing = request.target.contains("/revision/");
        if listing && count.fetch_add(1, Ordering::SeqCst) < times { reply.clone() } else { usual }
    }
}

#[test]
fn a_refusal_is_reported_at_once_with_advice() {
    for (status, words) in [(401, "licence"), (403, "licence"), (404, "check the name")] {
        let world = World::hub(at_first(usize::MAX, Reply::new(status, "no").with("X-Error-Message", "because")));
        let ran = world.fetch(&[REPO]);
        let json = world.failed(&ran, 78, "VN-NET-REFUSED");
        assert!(json["advice"].as_str().unwrap().contains(words), "{status}: {json}");
        assert!(json["found"].as_str().unwrap().contains("because"), "{json}");
        assert_eq!(json["retryable"], false);
        assert_eq!(world.hub.requests().len(), 1, "{status}");
    }
}

#[test]
fn without_a_token_the_advice_is_to_set_one() {
    let world = World::hub(at_first(usize::MAX, Reply::new(401, "no")));
    let ran = world.fetch_with(&[REPO], &[("HF_TOKEN", "")]);
    let json = world.failed(&ran, 78, "VN-NET-REFUSED");
    assert!(json["advice"].as_str().unwrap().contains("HF_TOKEN"), "{json}");
}

#[test]
fn weights_can_be_refused_too() {
    let world = World::large(|_, _| Reply::new(403, "expired"));
    let ran = world.fetch(&[REPO]);
    world.failed(&ran, 78, "VN-NET-REFUSED");
    assert_eq!(world.unfinished(), Vec::<String>::new());
}

#[test]
fn a_busy_server_says_when_to_come_back() {
    let world = World::hub(at_first(1, Reply::new(429, "slow down").with("Retry-After", 1)));
    world.complete_esm(&world.fetch(&[REPO]));
    let asked = world.hub.asked("/revision/");
    assert_eq!(asked.len(), 2);
    assert!(asked[1].at - asked[0].at >= Duration::from_millis(950), "{:?}", asked[1].at - asked[0].at);
}

#[test]
fn a_busy_server_may_say_it_with_a_date() {
    let until = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(4));
    let world = World::hub(at_first(1, Reply::new(503, "slow down").with("Retry-After", until)));
    world.complete_esm(&world.fetch(&[REPO]));
    let asked = world.hub.asked("/revision/");
    assert_eq!(asked.len(), 2);
    // Dates have whole seconds, and the first request comes some time after the date was made.
    assert!(asked[1].at - asked[0].at >= Duration::from_millis(1500), "{:?}", asked[1].at - asked[0].at);
}

#[test]
fn a_server_that_recovers_is_forgiven() {
    for status in [500, 503] {
        let world = World::hub(at_first(4, Reply::new(status, "oops")));
        world.complete_esm(&world.fetch(&[REPO]));
    }
    let count = AtomicUsize::new(0);
    let world = World::large(
        move |_, reply| {
            if count.fetch_add(1, Ordering::SeqCst) < 3 { Reply::new(503, "oops") } else { reply }
        },
    );
    world.complete_esm(&world.fetch(&[REPO]));
}

#[test]
fn a_server_that_does_not_recover_is_given_up() {
    let world = World::hub(at_first(usize::MAX, Reply::new(503, "oops")));
    let ran = world.fetch(&[REPO]);
    let json = world.failed(&ran, 1, "VN-NET");
    assert_eq!(json["retryable"], true);
    assert_eq!(world.hub.requests().len(), 5);
}

#[test]
fn an_hour_is_too_long_to_wait() {
    let world = World::hub(at_first(1, Reply::new(429, "later").with("Retry-After", 3600)));
    let started = Instant::now();
    let ran = world.fetch(&[REPO]);
    let json = world.failed(&ran, 1, "VN-NET");
    assert!(json["found"].as_str().unwrap().contains("3600"), "{json}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn redirects_in_a_circle_end() {
    let world = World::hub(|request, reply| {
        let weights = request.target.contains(WEIGHTS);
        if weights { reply.with("Location", request.target.clone()) } else { reply }
    });
    let ran = world.fetch(&[REPO]);
    world.failed(&ran, 1, "VN-NET");
    assert!(world.hub.asked(WEIGHTS).len() <= 10, "{}", world.hub.asked(WEIGHTS).len());
}

#[test]
fn a_redirect_to_a_file_or_nowhere_is_refused() {
    for location in ["file:///etc/passwd", ""] {
        let world = World::hub(
            move |request, reply| {
                if request.target.contains(WEIGHTS) { reply.with("Location", location) } else { reply }
            },
        );
        let ran = world.fetch(&[REPO]);
        world.failed(&ran, 1, "VN-NET");
    }
}

#[test]
fn a_port_where_nobody_listens_is_a_network_failure() {
    let world = World::hub(|_, reply| reply);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ran = world.fetch_with(&[REPO], &[("HF_ENDPOINT", &format!("http://127.0.0.1:{port}"))]);
    let json = world.failed(&ran, 1, "VN-NET");
    assert!(json["message"].as_str().unwrap().contains(&port.to_string()), "{json}");
    assert!(ran.stderr.contains("try 5 of 5"), "{}", ran.told());
    let ran = world.fetch_with(&[REPO], &[("HF_ENDPOINT", "http://no-such-host.invalid")]);
    world.failed(&ran, 1, "VN-NET");
}

#[test]
fn a_server_without_encryption_is_not_https() {
    let world = World::hub(|_, reply| reply);
    let plain = Server::start("127.0.0.1", |_| Reply::new(200, ""));
    let talker = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = talker.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in talker.incoming().flatten() {
            use std::io::Write as _;
            let _ = (&stream).write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    drop(plain);
    let ran = world.fetch_with(&[REPO], &[("HF_ENDPOINT", &format!("https://127.0.0.1:{port}"))]);
    let json = world.failed(&ran, 1, "VN-NET");
    assert!(json["advice"].as_str().unwrap().contains("SSL_CERT_FILE"), "{json}");
    assert!(!ran.stderr.contains("try 2"), "{}", ran.told());
    // Missing certificates are reported, not a panic.
    let variables = [("HF_ENDPOINT", format!("https://127.0.0.1:{port}")), ("SSL_CERT_FILE", "/gone".to_owned())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let ran = world.fetch_with(&[REPO], &variables);
    let json = world.failed(&ran, 1, "VN-NET");
    assert!(json["advice"].as_str().unwrap().contains("SSL_CERT_FILE"), "{json}");
}

#[test]
fn invalid_names_are_refused_before_any_request() {
    let world = World::hub(|_, reply| reply);
    for args in [
        &["esm3"][..],
        &["--revision", "main"],
        &["org/tiny@../x"],
        &["virnucpro-500@main"],
        &["../x"],
        &[REPO, "--revision", "../x"],
        &["virnucpro-500", "--revision", "main"],
        &["--url", "http://u:p@h/x"],
        &["--url", "http://h/x", "--sha256", "12"],
        &[REPO, "--url", "http://h/x"],
        &[REPO, "--timeout", "0"],
    ] {
        world.failed(&world.fetch(args), 64, "VN-USAGE");
    }
    assert!(world.hub.requests().is_empty());
}
