//! Files that would fill the memory or never end: each read in a process of its own, whose time and memory are asserted.

use std::fs;
use std::path::Path;
use std::process::Command;

use virnucpro::weights::Weights;

use super::{content, model};
use crate::support::peak_memory;
use crate::support::torch_files::*;

/// Files that would fill the memory or never end, with what is found in them.
fn bombs() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let repeat = |start: &[u8], ops: &[u8], times: usize, end: &[u8]| {
        let ops = [b"\x80\x04", start, &ops.repeat(times), end, b"."].concat();
        archive(&ops, &[("0", numbers(12))])
    };
    let places =
        |times: u32| -> Vec<u8> { (0..times).flat_map(|slot| [&b"r"[..], &slot.to_le_bytes()].concat()).collect() };
    let pairs = list(&vec![list(&[text("k"), int(1)]); 100_000]);
    let shared_pairs = [pairs, b"q\x00".to_vec(), b"0}(".to_vec()].concat();
    let dictionaries: Vec<u8> = (0..100_000)
        .flat_map(|key| [text(&format!("{key}")), global("collections.OrderedDict"), b"h\x00\x85R".to_vec()].concat())
        .collect();
    let shared_dictionaries = [shared_pairs, dictionaries.clone(), b"u".to_vec()].concat();
    let bad_pair = [vec![list(&[text("k"), int(1)]); 300_000], vec![none()]].concat();
    let bad_pairs = [list(&bad_pair), b"q\x00".to_vec(), b"0}(".to_vec(), dictionaries, b"u".to_vec()].concat();
    let shared_state: Vec<u8> =
        (0..100_000).flat_map(|key| [text(&format!("{key}")), b"ca\nb\n)\x81h\x01b".to_vec()].concat()).collect();
    let wide = [b"}q\x01(".to_vec(), [text("k"), int(1)].concat().repeat(100_000), b"u0}(".to_vec()].concat();
    let shared_states = [wide, shared_state, b"u".to_vec()].concat();
    let long_key =
        [text(&"k".repeat(1 << 20)), b"q\x000}(".to_vec(), b"h\x00N".repeat(500_000), b"u".to_vec()].concat();
    // 64 modules, each holding the next one twice.
    let mut twins = module("a.Leaf", &[("w", floats("0", 12))], &[], &[]);
    for slot in 0..64u8 {
        let twice = [twins, vec![b'q', slot, b'0']].concat();
        let get = || vec![b'h', slot];
        twins = [twice, module("a.Node", &[], &[], &[("l", get()), ("r", get())])].concat();
    }
    let circle = [
        global("a.B"),
        b")\x81q\x09".to_vec(),
        dict(&[("_parameters", dict(&[])), ("_modules", dict(&[("again", b"h\x09".to_vec())]))]),
        b"b".to_vec(),
    ]
    .concat();
    // What two values of 400 KB would be if each use of them were a copy.
    let long_name = format!("c{}\nb\nq\x00(", "a".repeat(400_000));
    let ones = vec![1; 100_000];
    let wide_tensor = tensor(storage("torch.FloatStorage", "0", 12), 0, &ones, &ones);
    let wide_tensors = dict(&[
        ("x", [wide_tensor, b"q\x00".to_vec()].concat()),
        ("y", [b"(", &*b"h\x00".repeat(100_000), b"l"].concat()),
    ]);
    // A module whose table of 100,000 entries a thousand others share.
    let table = [b"}(".to_vec(), [text("k"), none()].concat().repeat(100_000), b"uq\x000".to_vec()].concat();
    let names: Vec<_> = (0..1000).map(|name| name.to_string()).collect();
    let sharing: Vec<_> = names
        .iter()
        .map(|name| {
            let state = dict(&[("_parameters", b"h\x00".to_vec()), ("_modules", dict(&[]))]);
            (name.as_str(), new_object("a.B", state))
        })
        .collect();
    let shared_table = [table, module("a.Net", &[("w", floats("0", 12))], &[], &sharing)].concat();
    let many = |count: usize| {
        let entries: Vec<_> = (0..count).map(|key| entry(&format!("m/{key}"), b"")).collect();
        Zip { entries, announced: None, longer: true }.bytes()
    };
    let deep_json = |count: usize| {
        let header = format!("{{\"a\":{}", "[".repeat(count));
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
    };
    let names: Vec<u8> = (0..150_000).flat_map(|key| [text(&format!("{key}")), b"h\x00".to_vec()].concat()).collect();
    let many_tensors = [floats("0", 12), b"q\x000}(".to_vec(), names, b"u".to_vec()].concat();
    vec![
        ("doubling tuples", repeat(b"]q\x00", b"0h\x00h\x00\x86q\x00", 800_000, b""), "a tuple of 2 tuples"),
        ("doubling lists", repeat(b"]q\x00", b"0](h\x00h\x00eq\x00", 590_000, b""), "a list of 2 lists"),
        ("nested tuples", repeat(b")", b"\x85", 1_000_000, b""), "a tuple"),
        ("nested lists", repeat(b"", b"](", 1_000_000, b""), "more values than there are"),
        ("nested lists that end", repeat(b"]", b"q\x000]h\x00a", 600_000, b""), "a list of 1 lists"),
        ("nested dictionaries", repeat(b"}", b"q\x000}X\x05\0\0\0modelh\x00s", 400_000, b""), "a dictionary"),
        ("nested calls", repeat(b"N", b"q\x000ca\nb\nh\x00\x85R", 500_000, b""), "a.b"),
        ("nested states", repeat(b"N", b"q\x000ca\nb\n)\x81h\x00b", 500_000, b""), "a.b"),
        ("marks", repeat(b"", b"(", 5_000_000, b""), "more than 4194304 opcodes"),
        ("a full stack", repeat(b"", b"N", 5_000_000, b""), "more than 4194304 opcodes"),
        ("opcodes", repeat(b"", b"N0", 5_000_000, b"N"), "more than 4194304 opcodes"),
        ("values", repeat(b"N", b"0K\x07", 4_000_000, b""), "more than 4194304 opcodes"),
        ("classes", repeat(b"", b"ca\nb\n0", 2_000_000, b"N"), "None"),
        ("lists", repeat(b"", b"]0", 2_000_000, b"N"), "None"),
        ("records", repeat(b"ca\nb\nq\x000N", b"0h\x00)R", 1_000_000, b""), "a.b"),
        ("instances", repeat(b"", b"(ia\nb\n0", 1_390_000, b"N"), "None"),
        ("memo", repeat(b"N", &places(3_000_000), 1, b""), "None"),
        ("text of 40 MB", repeat(b"", &text(&"x".repeat(40 << 20)), 1, b""), "text"),
        ("text of 70 MB", repeat(b"", &text(&"x".repeat(70 << 20)), 1, b""), "data.pkl of 734003"),
        ("a long line", repeat(b"V", b"\\u0041", 3_000_000, b"\n"), "not an opcode"),
        ("long integers", repeat(b"", &[&[0x8b, 0, 4, 0, 0][..], &[1; 1024], b"0"].concat(), 30_000, b"N"), "None"),
        ("dictionaries of shared pairs", archive(&pickle(shared_dictionaries), &[]), "more than 4194304 entries"),
        (
            "dictionaries of shared pairs, the last one bad",
            archive(&pickle(bad_pairs), &[]),
            "more than 4194304 entries",
        ),
        ("modules of a shared state", archive(&pickle(shared_states), &[]), "a dictionary with the keys"),
        ("one long key", archive(&pickle(long_key), &[]), "a dictionary"),
        ("a dictionary in itself", repeat(b"}q\x00", b"X\x05\0\0\0modelh\x00s", 1, b""), "a dictionary"),
        ("a list in itself", repeat(b"]q\x00", b"h\x00a", 1000, b""), "a list of 1000 lists"),
        ("a module in itself", archive(&pickle(circle), &[]), "a name of"),
        ("modules that double", archive(&pickle(twins), &[("0", numbers(12))]), "modules"),
        (
            "150,000 names of a tensor",
            archive(&pickle(many_tensors), &[("0", numbers(12))]),
            "more than 100000 tensors",
        ),
        ("uses of a long name", repeat(long_name.as_bytes(), b"h\x00", 250_000, b"t"), "a name of 400000 bytes"),
        ("uses of a tensor of many dimensions", model(wide_tensors), "not up to 64 numbers"),
        ("modules of a shared table", model(shared_table), "modules with more than 10000000 entries"),
        ("90,000 entries", many(90_000), "without data.pkl"),
        ("120,000 entries", many(120_000), "a zip directory of 120000 entries"),
        ("brackets", deep_json(10_000_000), "a header"),
    ]
}

const BOMB: &str = "VIRNUCPRO_TEST_BOMB";

/// Run by the next test in a process of its own: reads the file and says how it went.
#[test]
fn one_bomb() {
    let Some(path) = std::env::var_os(BOMB) else { return };
    // What libraries take before the file is opened differs from machine to machine.
    let before = peak_memory();
    let outcome = Weights::open(Path::new(&path)).and_then(|weights| content(weights.tensors()));
    let taken = peak_memory() - before;
    // Of the processor, in hundredths: the clock would tell how busy the machine is.
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let times = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
    let hundredths: u64 = times.map(|time| time.parse::<u64>().unwrap()).sum();
    let error = outcome.expect_err("a bomb is read");
    println!(
        "\nbytes: {taken}\nhundredths: {hundredths}\nexit: {}\n{}",
        error.fault().exit_code(),
        error.report("read")
    );
}

#[test]
fn m18_bombs_are_refused_soon_and_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    for (name, file, found) in bombs() {
        let path = folder.path().join("bomb.pt");
        fs::write(&path, &file).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let ran =
            command.args(["hostile::bombs::one_bomb", "--exact", "--nocapture"]).env(BOMB, &path).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&ran.stderr));
        let taken = said.lines().find_map(|line| line.strip_prefix("bytes: ")).unwrap();
        let taken: usize = taken.parse().unwrap();
        let time = said.lines().find_map(|line| line.strip_prefix("hundredths: ")).unwrap();
        let time: u64 = time.parse().unwrap();
        println!("{name}: {} KB of file, {} MB at most, {time} hundredths of a second", file.len() >> 10, taken >> 20);
        assert!(said.contains("exit: 78") && said.contains(found), "{name}: {said}");
        assert!(taken < 256 << 20, "{name}: {taken} bytes");
        assert!(time < 1000, "{name}: {time} hundredths of a second");
    }
}
