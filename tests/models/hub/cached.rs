//! Models that are there already: without a network, damaged, read-only, and as parts of a bundle.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use super::world::{COMMIT, REPO, Repo, WEIGHTS, World, changes};
use crate::support::{Ran, repository};

fn fetched() -> World {
    let world = World::new(Repo::esm());
    world.complete_esm(&world.fetch(&[REPO]));
    world
}

#[test]
fn without_a_network_a_complete_model_is_enough() {
    let world = fetched();
    let before = world.hub.requests().len();
    for value in ["1", "YES"] {
        world.complete_esm(&world.fetch_with(&[REPO], &[("HF_HUB_OFFLINE", value)]));
    }
    world.complete_esm(&world.fetch(&[REPO, "--offline"]));
    world.complete_esm(&world.fetch(&[REPO, "--offline", "--revision", COMMIT]));
    assert_eq!(world.hub.requests().len(), before);
    world.fetch_with(&[REPO], &[("HF_HUB_OFFLINE", "0")]).ok();
    assert_eq!(world.hub.requests().len(), before + 1);
}

#[test]
fn without_a_network_what_is_missing_is_named() {
    let world = World::new(Repo::esm());
    let ran = world.fetch(&[REPO, "--offline"]);
    world.failed(&ran, 78, "VN-MODEL-MISSING");
    assert!(world.hub.requests().is_empty());

    let world = fetched();
    fs::remove_file(world.snapshot().join(WEIGHTS)).unwrap();
    let ran = world.fetch_with(&[REPO], &[("HF_HUB_OFFLINE", "1")]);
    let json = ran.fails(78, "VN-MODEL-MISSING");
    assert!(json["found"].as_str().unwrap().contains(WEIGHTS), "{json}");
    assert!(json["advice"].as_str().unwrap().contains("models fetch org/tiny"), "{json}");
}

#[test]
fn without_a_network_damage_is_noticed() {
    let world = fetched();
    spoil(&world);
    world.fetch(&[REPO, "--offline"]).fails(78, "VN-MODEL-HASH");
}

/// Changes one bit of the weights in the cache.
fn spoil(world: &World) {
    let blob = world.folder().join("blobs").join(world.repo.blob(WEIGHTS));
    let mut content = fs::read(&blob).unwrap();
    content[5000] ^= 1;
    fs::write(&blob, content).unwrap();
}

#[test]
fn damage_in_the_cache_is_repaired() {
    let world = fetched();
    spoil(&world);
    let ran = world.fetch(&[REPO]);
    world.complete_esm(&ran);
    ran.says(&["damaged"]);
    let blob = world.folder().join("blobs").join(world.repo.blob(WEIGHTS));
    fs::write(&blob, "short").unwrap();
    world.complete_esm(&world.fetch(&[REPO]));
    fs::remove_file(&blob).unwrap();
    world.complete_esm(&world.fetch(&[REPO]));
    assert_eq!(world.cdn.requests().len(), 4);
}

#[test]
fn a_hub_that_is_down_is_not_needed_for_what_is_there() {
    let world = fetched();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let ran = world.fetch_with(&[REPO], &[("HF_ENDPOINT", &endpoint)]);
    world.complete_esm(&ran);
    ran.says(&["cannot be reached", "the cache holds all of org/tiny"]);
    spoil(&world);
    world.fetch_with(&[REPO], &[("HF_ENDPOINT", &endpoint)]).fails(1, "VN-NET");
}

#[test]
fn a_complete_cache_is_never_written_to() {
    let world = fetched();
    let cache = world.sandbox.path("hf");
    let permit = |mode: u32| {
        for (path, _) in changes(&cache) {
            if path.symlink_metadata().unwrap().is_dir() {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
    };
    permit(0o555);
    let before = changes(&cache);
    for args in [&[REPO][..], &[REPO, "--offline"]] {
        world.complete_esm(&world.fetch(args));
        assert_eq!(changes(&cache), before, "{args:?}");
    }
    permit(0o755);
}

#[test]
fn what_the_hubs_own_client_fetched_is_found() {
    let world = World::new(Repo::esm());
    // As that client leaves it: blobs, links, a revision, and folders of its own.
    let folder = world.folder();
    for below in ["blobs", "refs", &format!("snapshots/{COMMIT}"), ".no_exist"] {
        fs::create_dir_all(folder.join(below)).unwrap();
    }
    for name in ["config.json", WEIGHTS, "vocab.txt"] {
        let blob = world.repo.blob(name);
        fs::write(folder.join("blobs").join(&blob), &world.repo.files[name]).unwrap();
        std::os::unix::fs::symlink(format!("../../blobs/{blob}"), world.snapshot().join(name)).unwrap();
    }
    fs::write(folder.join("refs/main"), COMMIT).unwrap();
    world.complete_esm(&world.fetch(&[REPO, "--offline"]));
    world.complete_esm(&world.fetch(&[REPO]));
    assert!(world.cdn.requests().is_empty());
}

#[test]
fn folders_of_the_environment_are_used() {
    let world = World::new(Repo::esm());
    let cache = world.sandbox.path("shared cache");
    let ran = world.fetch_with(&[REPO], &[("HF_HUB_CACHE", cache.to_str().unwrap())]).ok();
    let snapshot = cache.join("models--org--tiny/snapshots").join(COMMIT);
    assert_eq!(ran.stdout, format!("{}\n", snapshot.display()));
    assert!(fs::read(snapshot.join(WEIGHTS)).unwrap() == world.weights());
    assert!(!world.sandbox.path("hf").exists());
}

/// Makes a bundle, with the parts named as given.
fn import(world: &World, dnabert: &str, esm: &str) -> Ran {
    let head = repository().join("bundles/untrained/head.safetensors");
    let (head, name) = (head.to_str().unwrap(), ["--name", "tiny", "--untrained"]);
    let parts = ["--dnabert", dnabert, "--esm", esm, "--head", head, "-o", "bundle"];
    Ran::of(world.command(&[&["models", "import"], &name[..], &parts[..]].concat()))
}

#[test]
fn a_bundle_is_made_of_fetched_models_by_their_names() {
    let world = World::new(Repo::mini("esm"));
    let path = repository().join("bundles/untrained/dnabert");
    let dnabert = path.to_str().unwrap();
    let ran = import(&world, dnabert, REPO);
    let json = ran.fails(78, "VN-MODEL-MISSING");
    assert!(json["advice"].as_str().unwrap().contains("models fetch org/tiny"), "{json}");
    world.fetch(&[REPO]).ok();
    import(&world, dnabert, REPO).ok();
    let made = fs::read(world.sandbox.path("bundle/esm/model.safetensors")).unwrap();
    assert!(made == fs::read(repository().join("bundles/untrained/esm/model.safetensors")).unwrap());

    // The other encoder from another hub; a name of the catalogue that was not fetched.
    let second = World::new(Repo::mini("dnabert"));
    second.fetch(&[REPO]).ok();
    let esm = repository().join("bundles/untrained/esm");
    import(&second, REPO, esm.to_str().unwrap()).ok();
    let json = import(&second, "dnabert-s", esm.to_str().unwrap()).fails(78, "VN-MODEL-MISSING");
    assert!(json["advice"].as_str().unwrap().contains("models fetch dnabert-s"), "{json}");
    // A path that does not exist is still a path.
    fs::remove_dir_all(second.sandbox.path("bundle")).unwrap();
    let json = import(&second, "./gone", esm.to_str().unwrap()).fails(78, "VN-MODEL-MISSING");
    assert!(!json["advice"].as_str().unwrap().contains("fetch"), "{json}");
}

#[test]
fn a_model_is_fetched_where_only_its_cache_has_a_place() {
    let world = World::new(Repo::esm());
    let cache = world.sandbox.path("cache");
    let variables = [("HOME", ""), ("HF_HOME", ""), ("HF_HUB_CACHE", cache.to_str().unwrap())];
    world.fetch_with(&[REPO], &variables).ok();
    let json = world.fetch_with(&["virnucpro-500"], &variables).fails(78, "VN-CONFIG");
    assert!(json["advice"].as_str().unwrap().contains("XDG_DATA_HOME"), "{json}");
}

#[test]
fn a_revision_is_part_of_a_name() {
    let world = World::new(Repo::mini("esm"));
    let path = repository().join("bundles/untrained/dnabert");
    let dnabert = path.to_str().unwrap();
    world.fetch(&["org/tiny@v1"]).ok();
    assert_eq!(world.hub.asked("/revision/v1?").len(), 1);
    // The only revision that is here.
    import(&world, dnabert, REPO).ok();
    fs::remove_dir_all(world.sandbox.path("bundle")).unwrap();
    import(&world, dnabert, "org/tiny@v1").ok();
    fs::remove_dir_all(world.sandbox.path("bundle")).unwrap();
    let json = import(&world, dnabert, "org/tiny@v2").fails(78, "VN-MODEL-MISSING");
    assert!(json["advice"].as_str().unwrap().contains("models fetch org/tiny@v2"), "{json}");
    // Two of them: neither is taken.
    let second = "d".repeat(40);
    copies(&world, &second);
    fs::write(world.folder().join("refs/v2"), &second).unwrap();
    for json in [
        import(&world, dnabert, REPO).fails(78, "VN-MODEL-MISSING"),
        world.fetch(&[REPO, "--offline"]).fails(78, "VN-MODEL-MISSING"),
    ] {
        assert_eq!(json["found"], "org/tiny@v1, org/tiny@v2");
    }
    let ran = world.fetch(&["org/tiny@v2", "--offline"]).ok();
    assert!(ran.stdout.trim_end().ends_with(&second), "{}", ran.told());
    world.fetch(&["org/tiny@v2", "--revision", "v1"]).fails(64, "VN-USAGE");
}

/// A snapshot with copies, instead of links, of the files of another.
fn copies(world: &World, commit: &str) {
    let folder = world.folder().join("snapshots").join(commit);
    fs::create_dir_all(&folder).unwrap();
    for entry in fs::read_dir(world.snapshot()).unwrap() {
        let path = entry.unwrap().path();
        let content = fs::read(&path).unwrap();
        let copy = folder.join(path.file_name().unwrap());
        let _ = fs::remove_file(&copy);
        fs::write(copy, content).unwrap();
    }
}

#[test]
fn copies_are_proved_or_reported_as_unproved() {
    let world = fetched();
    copies(&world, COMMIT);
    // The blobs beside them prove them.
    let ran = world.fetch(&[REPO, "--offline"]).ok();
    assert!(!ran.stderr.contains("proves"), "{}", ran.told());
    let copy = world.snapshot().join(WEIGHTS);
    let mut content = fs::read(&copy).unwrap();
    content[5000] ^= 1;
    fs::write(&copy, content).unwrap();
    world.fetch(&[REPO, "--offline"]).ok().says(&["nothing here proves 1 of its files", WEIGHTS]);
    // Without blobs only the hub does.
    fs::remove_dir_all(world.folder().join("blobs")).unwrap();
    world.fetch(&[REPO, "--offline"]).ok().says(&["nothing here proves 3 of its files"]);
    let ran = world.fetch(&[REPO]);
    world.complete_esm(&ran);
    assert_eq!(world.names("blobs"), [world.repo.blob(WEIGHTS)], "correct copies are fetched again");
}

#[test]
fn advice_names_what_was_set() {
    let world = World::new(Repo::esm());
    let advice = |args: &[&str], variables: &[(&str, &str)], fault: &str| {
        let ran = world.fetch_with(args, variables);
        let json = ran.fails(ran.code, fault);
        json["advice"].as_str().unwrap().to_owned()
    };
    assert!(advice(&[REPO, "--offline"], &[], "VN-MODEL-MISSING").starts_with("leave out --offline"));
    let off = [("HF_HUB_OFFLINE", "1")];
    assert!(advice(&[REPO], &off, "VN-MODEL-MISSING").starts_with("unset HF_HUB_OFFLINE"));
    let file = world.sandbox.write("file", "");
    let cache = file.join("cache");
    let told = advice(&[REPO], &[("HF_HUB_CACHE", cache.to_str().unwrap())], "VN-IO-WRITE");
    assert!(told.contains("set HF_HUB_CACHE"), "{told}");
}
