//! Files whose parts do not fit each other: pickles, storages, archives, the format before them.

use virnucpro::error::Fault;

use super::{model, refusal, state, try_read};
use crate::support::torch_files::*;

#[test]
fn damaged_pickles_are_refused() {
    let long = |length: u32| [&[0x8b][..], &length.to_le_bytes()].concat();
    let frame = |length: u64, rest: &[u8]| [&[0x95][..], &length.to_le_bytes(), rest].concat();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "the end of the file"),
        (b"K".to_vec(), "the end of the file"),
        (b".".to_vec(), "more values than there are"),
        (b"0.".to_vec(), "more values than there are"),
        (b"NN.".to_vec(), "1 values too many"),
        (b"(N.".to_vec(), "values too many"),
        (b"N(.".to_vec(), "more values than there are"),
        (b"t.".to_vec(), "a mark"),
        (b"N(a.".to_vec(), "more values than there are"),
        (b"h\x07.".to_vec(), "slot 7 of the memo"),
        (b"q\x07.".to_vec(), "more values than there are"),
        (b"\xff".to_vec(), "not an opcode"),
        (b"\x80\x06N.".to_vec(), "protocol 6"),
        (b"\x82\x01.".to_vec(), "not an opcode"),
        (b"\x83\x01\0.".to_vec(), "not an opcode"),
        (b"\x84\x01\0\0\0.".to_vec(), "not an opcode"),
        (b"\x97.".to_vec(), "not an opcode"),
        (b"\x98.".to_vec(), "not an opcode"),
        (b"NNR.".to_vec(), "a call of something other than a class"),
        (b"ca\nb\nNR.".to_vec(), "arguments that are not a tuple"),
        (b"NN\x93.".to_vec(), "a class whose name is not text"),
        (b"ca\n".to_vec(), "a line, cut"),
        (b"c\xff\nb\n.".to_vec(), "not UTF-8"),
        (b"X\x02\0\0\0\xff\xfe.".to_vec(), "not UTF-8"),
        (b"Na.".to_vec(), "more values than there are"),
        (b"NNa.".to_vec(), "appended to something other than a list"),
        (b"NNNs.".to_vec(), "other than a dictionary"),
        (b"}(Nu.".to_vec(), "a key without a value"),
        (b"(Nd.".to_vec(), "a key without a value"),
        (b"]}b.".to_vec(), "other than an object"),
        (b"ca\nb\n)R}b}b.".to_vec(), "twice"),
        (b"(o.".to_vec(), "an object without a class"),
        (b"I12\n.".to_vec(), "not an opcode"),
        (b"F1.5\n.".to_vec(), "not an opcode"),
        (b"S'abc'\n.".to_vec(), "not an opcode"),
        (b"Vabc\n.".to_vec(), "not an opcode"),
        (b"g0\n.".to_vec(), "not an opcode"),
        ([long(u32::MAX), b".".to_vec()].concat(), "an integer of 4294967295 bytes; at most 1024"),
        ([long(i32::MAX as u32), b".".to_vec()].concat(), "an integer of 2147483647 bytes; at most 1024"),
        ([b"L".to_vec(), b"9".repeat(5000), b"\n.".to_vec()].concat(), "not an opcode"),
        ([b"c".to_vec(), b"a".repeat(600), b"\nb\n.".to_vec()].concat(), "a name of 600 bytes; at most 512"),
        (b"X\xff\xff\xff\xffabc.".to_vec(), "length 4294967295, cut"),
        (b"T\xff\xff\xff\xffabc.".to_vec(), "length 4294967295, cut"),
        (b"B\xff\xff\xff\xffabc.".to_vec(), "length 4294967295, cut"),
        ([b"\x8d", &u64::MAX.to_le_bytes()[..]].concat(), "cut"),
        ([b"\x8e", &(1u64 << 63).to_le_bytes()[..]].concat(), "cut"),
        ([b"\x96", &(1u64 << 40).to_le_bytes()[..]].concat(), "cut"),
        (frame(u64::MAX, b"N."), "a frame of 18446744073709551615 bytes, cut"),
        (frame(3, b"N."), "a frame of 3 bytes, cut"),
        (frame(1, b"K\x01."), "over the end of its frame"),
        (frame(11, &frame(1, b"N.")), "a frame within a frame"),
    ];
    for (ops, found) in cases {
        let error = refusal(&archive(&[b"\x80\x04", &*ops].concat(), &[]));
        let report = error.report("read");
        assert_eq!(error.fault(), Fault::ModelPickle, "{report}");
        assert!(report.contains(found), "{found}: {report}");
    }
}

#[test]
fn tensors_outside_of_their_storage_are_refused() {
    let huge = i64::MAX;
    let of = |offset: i64, shape: &[i64], strides: &[i64]| {
        tensor(storage("torch.FloatStorage", "0", 12), offset, shape, strides)
    };
    let cases = [
        of(1, &[12], &[1]),
        of(12, &[1], &[1]),
        of(0, &[13], &[1]),
        of(0, &[3, 4], &[5, 1]),
        of(0, &[2], &[12]),
        of(-1, &[12], &[1]),
        of(0, &[-1], &[1]),
        of(3, &[2], &[-1]),
        of(huge, &[1], &[1]),
        of(huge, &[2], &[huge]),
        of(0, &[2, 2], &[huge, huge]),
        of(0, &[huge, huge], &[1, 1]),
        of(0, &[1 << 32, 1 << 32], &[0, 0]),
        of(0, &[1 << 40], &[0]),
        of(0, &[1 << 23], &[0]),
        of(0, &[huge, huge, 0, 2], &[1, 1, 1, 1]),
        of(0, &[12], &[1, 1]),
        of(0, &[12; 65], &[0; 65]),
        tensor(storage("torch.FloatStorage", "0", -1), 0, &[1], &[1]),
        tensor(storage("torch.FloatStorage", "0", huge), 0, &[1], &[1]),
        tensor(storage("torch.DoubleStorage", "0", huge / 8), 0, &[1], &[1]),
        tensor(int(0), 0, &[1], &[1]),
        tensor(tuple(&[]), 0, &[1], &[1]),
        tensor([tuple(&[]), b"Q".to_vec()].concat(), 0, &[1], &[1]),
        tensor(b"P0\n".to_vec(), 0, &[1], &[1]),
        tuple(&[floats("0", 12), tensor(storage("torch.HalfStorage", "0", 24), 0, &[1], &[1])]),
    ];
    for (index, value) in cases.into_iter().enumerate() {
        let error = refusal(&model(dict(&[("x", value)])));
        assert!(matches!(error.fault(), Fault::ModelPickle | Fault::ModelFormat), "{index}: {}", error.report("read"));
        println!("{index}: {}", error.report("read").replace('\n', ";"));
    }
    // As large as a small tensor of its own may be, and no more of them than is in proportion.
    let expanded = |names: usize| {
        let names: Vec<_> = (0..names).map(|name| format!("x{name}")).collect();
        let items: Vec<_> = names.iter().map(|name| (name.as_str(), of(0, &[1 << 20, 4], &[0, 1]))).collect();
        model(dict(&items))
    };
    assert_eq!(try_read(&expanded(1)).unwrap()[0].1.len(), 1 << 24);
    assert!(refusal(&expanded(2)).report("read").contains("33554432 bytes in a file of"));
}

#[test]
fn m18_archives_that_contradict_themselves_are_refused() {
    let plain = || entries(&pickle(state()), &[("0", numbers(12))]);
    let changed = |change: &dyn Fn(&mut Entry)| {
        let mut entries = plain();
        assert_eq!(entries[2].name, b"model/data/0");
        change(&mut entries[2]);
        Zip::new(entries).bytes()
    };
    assert_eq!(try_read(&changed(&|_| {})).unwrap()[0].1, numbers(12));
    let named = |name: &'static [u8]| changed(&move |entry: &mut Entry| entry.name = name.to_vec());
    let good = Zip::new(plain()).bytes();
    let at = |offset: usize, bytes: &[u8]| {
        let mut file = good.clone();
        let start = file.len() - 22 + offset;
        file[start..start + bytes.len()].copy_from_slice(bytes);
        file
    };
    let longer = |announced: u64| Zip { entries: plain(), announced: Some(announced), longer: true }.bytes();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (changed(&|entry| entry.crc32 = Some(1)), "another CRC-32"),
        (changed(&|entry| entry.method = 8), "compressed"),
        (changed(&|entry| entry.flags = 1), "encrypted"),
        (changed(&|entry| entry.flags = 1 << 6 | 1), "encrypted"),
        (changed(&|entry| entry.size = Some(47)), "47 bytes in storage 0 of 48"),
        (changed(&|entry| entry.size = Some(4000)), "cut within data/0"),
        (changed(&|entry| entry.size = Some(u32::MAX)), ""),
        (changed(&|entry| entry.size = Some(60)), "over each other"),
        (changed(&|entry| entry.at = Some(0)), "not what the directory says"),
        (changed(&|entry| entry.at = Some(7)), "not what the directory says"),
        (changed(&|entry| entry.at = Some(u32::MAX - 1)), "not what the directory says"),
        (changed(&|entry| entry.local_name = Some(b"model/data/1".to_vec())), "not what the directory says"),
        (named(b"model/../data/0"), "not a path within one folder"),
        (named(b"../model/data/0"), "not a path within one folder"),
        (named(b"/model/data/0"), "not a path within one folder"),
        (named(b"model//data/0"), "not a path within one folder"),
        (named(b"model\\data\\0"), "not a path within one folder"),
        (named(b"c:/data/0"), "not a path within one folder"),
        (named(b"data"), "not a path within one folder"),
        (named(b"model/data/\xff"), "not UTF-8"),
        (named(b"other/data/0"), "more than one folder"),
        (named(b"model/data.pkl"), "two entries of one name"),
        (named(b"model/data/1"), "storage 0 is missing"),
        (Zip { entries: plain(), announced: Some(3), longer: false }.bytes(), "more than the entries announced"),
        (Zip { entries: plain(), announced: Some(5), longer: false }.bytes(), "fewer entries than announced"),
        (Zip { entries: plain(), announced: Some(0), longer: false }.bytes(), "more than the entries announced"),
        (longer(1 << 40), "a zip directory of 1099511627776 entries"),
        (longer(u64::MAX), "a zip directory of"),
        (longer(100_000), "fewer entries than announced"),
        (at(4, &[1, 0]), "several parts"),
        (at(8, &[9, 0]), "several parts"),
        (at(12, &[0; 4]), "not at its end"),
        (at(12, &[255; 4]), "without the end"),
        (at(16, &[255; 4]), "without the end"),
        (at(16, &[1, 0, 0, 0]), "not at its end"),
        (at(20, &[1, 0]), "without the end"),
        ([&good[..], b"comment"].concat(), "without the end"),
        ([&good[..], &good[..]].concat(), "not at its end"),
        ([&b"PK\x03\x04junk"[..], &good[..]].concat(), "not at its end"),
        (b"PK\x05\x06".iter().copied().chain([0; 18]).collect(), "without data.pkl"),
    ];
    for (index, (file, found)) in cases.into_iter().enumerate() {
        let Err(error) = try_read(&file) else { panic!("{index}: {found}: it is read") };
        let report = error.report("read");
        if found.is_empty() {
            println!("{index}: {report}");
            continue;
        }
        assert_eq!(error.fault(), Fault::ModelFormat, "{index}: {report}");
        assert!(report.contains(found), "{index}: {found}: {report}");
    }
}

#[test]
fn the_format_before_zip_archives_is_refused_where_its_parts_do_not_fit() {
    let whole = || pickle(state());
    let good = before_zip(&whole(), &[("0", 12, numbers(12))]);
    assert_eq!(try_read(&good).unwrap()[0].1, numbers(12));
    let cases = [
        (before_zip(&whole(), &[("0", 11, numbers(12))]), "11 numbers in a storage of 48 bytes"),
        (before_zip(&whole(), &[("0", u64::MAX, numbers(12))]), "numbers in a storage of 48 bytes"),
        (before_zip(&whole(), &[("0", 12, numbers(11))]), "cut within a storage"),
        (before_zip(&whole(), &[("0", 12, numbers(13))]), "4 bytes after the last storage"),
        (before_zip(&whole(), &[("1", 12, numbers(12))]), "a storage that no tensor uses: 1"),
        (before_zip(&whole(), &[]), "storage 0 is missing"),
        (before_zip(&whole(), &[("0", 12, numbers(12)), ("0", 12, numbers(12))]), "occurs twice"),
        ([&before_zip_start()[..], &whole(), &pickle(int(1))].concat(), "no list of storages"),
        ([&before_zip_start()[..15], &pickle(int(1002))].concat(), "another version"),
        ([&before_zip_start()[..21], &pickle(dict(&[("little_endian", truth(false))]))].concat(), "not little-endian"),
    ];
    for (file, found) in cases {
        let error = refusal(&file);
        assert_eq!(error.fault(), Fault::ModelFormat, "{found}: {}", error.report("read"));
        assert!(error.report("read").contains(found), "{found}: {}", error.report("read"));
    }
}
