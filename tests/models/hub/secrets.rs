//! The token goes to the hub and to nobody else; proxies are used if they are set.

use super::server::Server;
use super::world::{REPO, Repo, TOKEN, World};

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn the_token_goes_to_the_hub_and_not_where_the_hub_sends_to() {
    let world = World::new(Repo::esm());
    world.complete_esm(&world.fetch(&[REPO, "--log-level", "debug"]));
    let hub = world.hub.requests();
    assert!(hub.len() > 4);
    assert!(hub.iter().all(|request| request.header("authorization") == Some(bearer(TOKEN).as_str())), "{hub:?}");
    let cdn = world.cdn.requests();
    assert_eq!(cdn.len(), 1);
    assert!(cdn.iter().all(|request| request.header("authorization").is_none()), "{cdn:?}");
    assert!(cdn[0].target.contains("Signature="), "the query is not sent");
}

#[test]
fn another_port_of_the_same_host_gets_no_token() {
    let other = Server::start("127.0.0.1", |_| super::server::Reply::new(404, ""));
    let url = other.url();
    let world = World::hub(move |request, reply| {
        let small = request.target.contains("resolve-cache");
        if small { super::server::Reply::new(302, "").with("Location", format!("{url}/x")) } else { reply }
    });
    world.failed(&world.fetch(&[REPO]), 78, "VN-NET-REFUSED");
    assert_eq!(other.requests().len(), 1);
    assert_eq!(other.requests()[0].header("authorization"), None);
}

#[test]
fn the_token_that_the_hubs_own_client_stored_is_found() {
    let world = World::new(Repo::esm());
    world.sandbox.write("hf/token", "hf_stored\n");
    world.sandbox.write("elsewhere", "hf_elsewhere\n");
    let sent = |variables: &[(&str, &str)]| {
        let before = world.hub.requests().len();
        world.fetch_with(&[REPO], variables).ok();
        world.hub.requests()[before].header("authorization").map(str::to_owned)
    };
    assert_eq!(sent(&[("HF_TOKEN", "")]), Some(bearer("hf_stored")));
    let path = world.sandbox.path("elsewhere");
    assert_eq!(sent(&[("HF_TOKEN", ""), ("HF_TOKEN_PATH", path.to_str().unwrap())]), Some(bearer("hf_elsewhere")));
    assert_eq!(sent(&[]), Some(bearer(TOKEN)));
    std::fs::remove_file(world.sandbox.path("hf/token")).unwrap();
    assert_eq!(sent(&[("HF_TOKEN", "")]), None);
}

#[test]
fn an_invalid_token_is_reported_without_being_shown() {
    let world = World::new(Repo::esm());
    let ran = world.fetch_with(&[REPO], &[("HF_TOKEN", "two words")]);
    world.failed(&ran, 78, "VN-CONFIG");
    assert!(!ran.stderr.contains("two words"), "{}", ran.told());
    assert!(world.hub.requests().is_empty());
}

#[test]
fn a_proxy_is_used_if_one_is_set() {
    let proxy = Server::proxy();
    let world = World::new(Repo::esm());
    let through = format!("http://ada:lovelace@127.0.0.1:{}", proxy.port);
    let ran = world.fetch_with(&[REPO], &[("HTTP_PROXY", &through), ("HTTPS_PROXY", "http://127.0.0.1:9")]);
    world.complete_esm(&ran);
    assert!(!ran.stderr.contains("lovelace"), "{}", ran.told());
    let asked = proxy.requests();
    let hosts = [&world.hub, &world.cdn].map(|server| format!("{}:{}", server.host, server.port));
    assert!(asked.iter().all(|request| request.method == "CONNECT" && hosts.contains(&request.target)), "{asked:?}");
    assert!(hosts.iter().all(|host| asked.iter().any(|request| request.target == *host)), "{asked:?}");
    assert!(asked.iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(asked[0].header("proxy-authorization"), Some("Basic YWRhOmxvdmVsYWNl"));
}

#[test]
fn all_proxy_and_no_proxy_are_respected() {
    let proxy = Server::proxy();
    let through = format!("127.0.0.1:{}", proxy.port);
    let world = World::new(Repo::esm());
    world.complete_esm(&world.fetch_with(&[REPO], &[("all_proxy", &through), ("NO_PROXY", "127.0.0.1")]));
    let cdn = format!("127.0.0.2:{}", world.cdn.port);
    assert!(proxy.requests().iter().all(|request| request.target == cdn) && !proxy.requests().is_empty());
    let world = World::new(Repo::esm());
    let before = proxy.requests().len();
    world.complete_esm(&world.fetch_with(&[REPO], &[("all_proxy", &through), ("no_proxy", "127.0.0.0/8")]));
    assert_eq!(proxy.requests().len(), before);
}

#[test]
fn a_proxy_that_cannot_be_reached_is_named() {
    let world = World::new(Repo::esm());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ran = world.fetch_with(&[REPO], &[("http_proxy", &format!("http://ada:lovelace@127.0.0.1:{port}"))]);
    let json = world.failed(&ran, 1, "VN-NET");
    assert!(json["record"].as_str().unwrap().contains(&format!("127.0.0.1:{port} of http_proxy")), "{json}");
    assert!(!ran.stderr.contains("lovelace"), "{}", ran.told());
    let ran = world.fetch_with(&[REPO], &[("all_proxy", "socks5://127.0.0.1:1")]);
    world.failed(&ran, 78, "VN-CONFIG");
}

#[test]
fn wrong_connection_settings_do_not_stop_work_without_a_network() {
    let world = World::new(Repo::esm());
    world.complete_esm(&world.fetch(&[REPO]));
    for wrong in [("all_proxy", "socks5://127.0.0.1:1"), ("HF_ENDPOINT", "nonsense"), ("HF_TOKEN", "two words")] {
        world.complete_esm(&world.fetch_with(&[REPO, "--offline"], &[wrong]));
        world.fetch_with(&[], &[wrong]).ok();
        world.fetch_with(&[REPO], &[wrong]).fails(78, "VN-CONFIG");
    }
}
