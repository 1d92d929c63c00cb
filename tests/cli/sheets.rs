//! Sample sheets and inputs given twice, as a user meets them.

use std::process::Stdio;

use crate::support::{Ran, Sandbox, mock};

/// A place with two files.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.fa", ">a\nATGGCCGCA\n");
    sandbox.write("b.fa", ">b\nATGGCCGCA\n");
    sandbox
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_the_sheet_and_the_line() {
    let sandbox = sandbox();
    sandbox.write("data/folder/x.fa", "");
    for (name, told) in [
        ("no.fa", "paths in a sheet start at the sheet's folder"),
        ("/no/such/file.fa", "check the path"),
        ("~/a.fa", "expands ~"),
        ("https://example.org/a.fa", "download the file first"),
        ("folder", "give a file, not a folder"),
    ] {
        sandbox.write("data/s.tsv", format!("sample\tfile\nA\t../a.fa\n\nB\t{name}\n"));
        for command in ["run", "chunk"] {
            let ran = sandbox.run(&[command, "data/s.tsv", "-o", "out"]);
            let json = ran.fails(66, "VN-IN-MISSING");
            assert_eq!((json["file"].as_str(), json["line"].as_u64()), (Some("data/s.tsv"), Some(4)), "{name}");
            ran.says(&[told, name, " of B"]);
            assert!(!sandbox.path("out").exists());
        }
    }
}

#[test]
fn a_sheet_in_a_sheet_or_for_an_encoder_is_told_where_sheets_may_stand() {
    let sandbox = sandbox();
    sandbox.write("c.csv", "sample,file\nA,a.fa\n");
    sandbox.write("s.csv", "sample,file\nA,c.csv\n");
    let ran = sandbox.run(&["chunk", "s.csv", "-o", "out"]);
    assert_eq!(ran.fails(65, "VN-IN-SHEET")["line"], 2);
    ran.says(&["sheets do not nest"]);
    let ran = sandbox.run(&["embed-dnabert", "c.csv", "-m", &mock(), "-o", "out"]);
    ran.fails(65, "VN-IN-SHEET");
    ran.says(&["`run` and `chunk` take sample sheets", "give the files that it lists"]);
    assert!(!ran.stderr.contains("save it"), "{}", ran.told());
    sandbox.write("s.csv", "sample,file\nA,-\n");
    let ran = sandbox.run(&["chunk", "s.csv", "-o", "out"]);
    ran.fails(65, "VN-IN-SHEET");
    ran.says(&["give - on the command line"]);
    // Sequences with such a name are sequences all the same.
    sandbox.write("s.csv", "sample,file\nA,x.csv\n");
    sandbox.write("x.csv", ">x\nATGGCCGCA\n");
    sandbox.run(&["chunk", "s.csv", "-o", "windows"]).ok();
}

#[test]
fn an_input_given_twice_is_refused_however_it_is_written() {
    let sandbox = sandbox();
    std::fs::hard_link(sandbox.path("a.fa"), sandbox.path("hard.fa")).unwrap();
    sandbox.write("s.csv", "sample,file\nA,a.fa\n");
    sandbox.write("t.csv", "sample,file\nA,./a.fa\nB,b.fa\n");
    for twice in
        [["a.fa", "hard.fa"], ["s.csv", "s.csv"], ["s.csv", "./s.csv"], ["s.csv", "t.csv"], ["s.csv", "hard.fa"]]
    {
        let ran = sandbox.run(&["chunk", twice[0], twice[1], "-o", "out"]);
        ran.fails(64, "VN-USAGE");
        ran.says(&["given twice"]);
    }
    for second in ["-", "/dev/stdin"] {
        let ran = sandbox.run_with_stdin(&["chunk", "-", second, "-o", "out"], b">a\nACGT\n");
        ran.fails(64, "VN-USAGE");
        ran.says(&["standard input is given twice"]);
    }
    let mut command = sandbox.command(&["chunk", "-", "a.fa", "-o", "out"]);
    command.stdin(Stdio::from(std::fs::File::open(sandbox.path("a.fa")).unwrap()));
    let ran = Ran::of(command);
    ran.fails(64, "VN-USAGE");
    ran.says(&["a.fa is given twice"]);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn a_file_of_two_samples_counts_in_both_with_a_warning() {
    let sandbox = sandbox();
    sandbox.write("s.csv", "sample,file\nA,a.fa\nB,./a.fa\nA,b.fa\nC,b.fa\n");
    let ran = sandbox.run(&["chunk", "s.csv", "-o", "out"]).ok();
    ran.says(&["warn: ./a.fa is listed for two samples, A and B: its sequences count in both (and 1 more)"]);
    assert_eq!(sandbox.table("out/inputs.tsv").column("sample"), ["A", "B", "A", "C"]);
}

#[test]
fn many_files_of_one_name_are_told_in_one_line() {
    let sandbox = Sandbox::new();
    let names: Vec<String> = (10..70).map(|n| format!("many/{n}/c.fa")).collect();
    for (n, name) in names.iter().enumerate() {
        sandbox.write(name, format!(">r{n}\nATGGCCGCA\n"));
    }
    let args: Vec<&str> = ["chunk", "-o", "out"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let ran = sandbox.run(&args).ok();
    assert_eq!(ran.stderr.matches("is called").count(), 1, "{}", ran.told());
    ran.says(&["many/10/c.fa is called 10/c", "59 other samples"]);
}

#[test]
fn standard_input_keeps_its_name_beside_a_file_of_this_name() {
    let sandbox = Sandbox::new();
    sandbox.write("stdin.fa", ">a\nATGGCCGCA\n");
    sandbox.run_with_stdin(&["chunk", "-", "stdin.fa", "-o", "out"], b">b\nATGGCCGCA\n").ok();
    assert_eq!(sandbox.table("out/inputs.tsv").column("sample"), ["stdin", "stdin.fa"]);
}
