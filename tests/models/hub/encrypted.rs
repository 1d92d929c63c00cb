//! Encrypted connections, to the server that OpenSSL brings with it.

use std::fs;
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::world::{Repo, World, sha256};
use crate::support::repository;

/// An authority, and a server's certificate that it signed.
const CERTIFICATES: &str = "
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority &&
    openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost &&
    printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n' > extensions &&
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.pem
";

/// A process that ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves the files of the world's folder; its port.
fn server(world: &World) -> Option<(Running, u16)> {
    let made = Command::new("sh").args(["-c", CERTIFICATES]).current_dir(world.sandbox.folder()).output().unwrap();
    if !made.status.success() {
        println!("skipped: openssl is missing: {}", String::from_utf8_lossy(&made.stderr));
        return None;
    }
    if ("localhost", 0).to_socket_addrs().is_err() {
        println!("skipped: this machine does not know localhost");
        return None;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", &address, "-key", "server.key", "-cert", "server.pem", "-WWW", "-quiet"]);
    command.current_dir(world.sandbox.folder()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(command.spawn().unwrap());
    for _ in 0..200 {
        if TcpStream::connect(&address).is_ok() {
            return Some((running, port));
        }
        sleep(Duration::from_millis(50));
    }
    panic!("the server does not start");
}

#[test]
fn a_server_is_trusted_if_an_authority_of_the_system_signed_its_certificate() {
    let world = World::new(Repo::esm());
    let head = fs::read(repository().join("bundles/untrained/head.safetensors")).unwrap();
    world.sandbox.write("head.safetensors", &head);
    let Some((_server, port)) = server(&world) else { return };
    let (url, digest) = (format!("https://localhost:{port}/head.safetensors"), sha256(&head));
    let args = ["--url", &url, "--sha256", &digest];
    let certificates = world.sandbox.path("ca.pem");

    let ran = world.fetch(&args);
    let json = world.failed(&ran, 1, "VN-NET");
    assert!(json["advice"].as_str().unwrap().contains("SSL_CERT_FILE"), "{json}");
    assert!(!ran.stderr.contains("try 2"), "{}", ran.told());

    let trusting = [("SSL_CERT_FILE", certificates.to_str().unwrap())];
    let ran = world.fetch_with(&args, &trusting).ok();
    assert_eq!(fs::read(ran.stdout.trim_end()).unwrap(), head);

    // The certificate is that of another name.
    let url = format!("https://127.0.0.1:{port}/head.safetensors");
    let json = world.fetch_with(&["--url", &url], &trusting).fails(1, "VN-NET");
    assert!(json["found"].as_str().unwrap().contains("certificate"), "{json}");
}
