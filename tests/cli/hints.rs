//! A command line that is not understood is answered with what was probably meant.

use std::ffi::OsString;

use crate::support::{Ran, Sandbox, mock};
use virnucpro::cli::{self, Asked};
use virnucpro::error::Fault;

/// The report for a command line that is refused, without a process of its own.
#[track_caller]
fn refusal(line: &str) -> String {
    let words = ["virnucpro"].into_iter().chain(line.split_whitespace()).map(OsString::from).collect();
    let settled = cli::parse(words).and_then(|asked| match asked {
        Asked::Work { command, .. } => command.task().map(drop),
        Asked::Text(_) => Ok(()),
    });
    let error = settled.expect_err(line);
    assert_eq!(error.fault(), Fault::Usage, "{line}");
    error.report("virnucpro")
}

#[track_caller]
fn hints(line: &str, parts: &[&str]) {
    let report = refusal(line);
    for part in parts {
        assert!(report.contains(part), "'{part}' is missing for `{line}`:\n{report}");
    }
    assert!(!report.contains("'-- ") && !report.contains("?;"), "{line}:\n{report}");
}

#[test]
fn a_misspelt_option_names_the_nearest_one() {
    hints("run x.fa -o out --thread=4", &["did you mean --threads?", "see `virnucpro run --help`"]);
    hints("chunk x.fa -o out --shard-frmaes 4", &["did you mean --shard-frames?"]);
    hints("models fetch --ofline", &["did you mean --offline?"]);
    hints("predict m -o out --windws w", &["did you mean --windows?"]);
    hints("run x.fa -o out --dev cpu", &["did you mean --device?"]);
    hints("run x.fa -o out --frobnicate", &["'--frobnicate' is not an option of virnucpro run"]);
}

#[test]
fn an_option_with_another_name_elsewhere_names_the_one_here() {
    hints("run x.fa -o out -j 4", &["did you mean --threads N?"]);
    hints("run x.fa -o out --gpu", &["did you mean --device cuda?"]);
    hints("run x.fa -o out -v", &["did you mean --log-level debug?"]);
    hints("run x.fa -o out --batch-size 4", &["did you mean --batch-tokens N?"]);
    // `chunk` has no such option: it must not be named there.
    assert!(!refusal("chunk x.fa -o out --gpu").contains("--device"));
}

#[test]
fn a_letter_names_the_options_that_start_with_it_and_the_commands_that_have_it() {
    hints("run x.fa -o out -d cpu", &["--device", "--dtype"]);
    hints("predict m -o out -w w", &["did you mean --windows?", "-w is an option of run, chunk and models import"]);
    hints("embed-esm x.faa -o out --window 300", &["--window is an option of run, chunk and models import"]);
    hints("run --version", &["`virnucpro --version`"]);
    hints("-o out x.fa", &["the command comes first", "`virnucpro run contigs.fa"]);
}

#[test]
fn inputs_after_a_flag_are_told_to_come_without_it() {
    for flag in ["-i", "--input", "--in", "--fasta", "--reads"] {
        hints(&format!("run {flag} x.fa -o out"), &["inputs are given without a flag, as in `virnucpro run "]);
    }
    hints("chunk -i x.fa -o out", &["inputs are given without a flag, as in `virnucpro chunk "]);
    hints("info x.fa", &["'x.fa' is not expected by virnucpro info"]);
    hints("merge dnabert esm -o out", &["'dnabert' is not expected", "virnucpro merge --dnabert "]);
}

#[test]
fn a_file_whose_name_starts_with_a_dash_is_told_how_to_be_written() {
    let sandbox = Sandbox::new();
    sandbox.write("-x.fa", ">a\nACGT\n");
    let ran = sandbox.run(&["run", "-x.fa", "-o", "out"]);
    ran.fails(64, "VN-USAGE");
    ran.says(&["write ./-x.fa"]);
}

#[test]
fn a_word_in_place_of_a_command_names_the_command_that_is_meant() {
    hints("rnu", &["did you mean `virnucpro run`?"]);
    hints("embed", &["`virnucpro embed-dnabert` or `virnucpro embed-esm`"]);
    hints("fetch", &["did you mean `virnucpro models fetch`?"]);
    hints("models lst", &["did you mean `virnucpro models list`?"]);
    hints("frobnicate", &["the commands are run, chunk,"]);
    hints("models", &["`virnucpro models` needs a command", "list, fetch, import, verify or path"]);
    hints("", &["no command was given"]);
    for file in ["s1.fa", "reads.FQ.gz", "data/contigs", "samples.tsv"] {
        hints(&format!("{file} -o out"), &[&format!("`virnucpro run {file} -o out`")]);
    }
}

#[test]
fn a_value_after_a_switch_is_not_taken_for_an_input() {
    hints("run --resume false x.fa -o out", &["write --resume=false or --no-resume"]);
    hints("run --resume true x.fa -o out", &["write --resume"]);
    hints("run -q no x.fa -o out", &["--quiet takes no value: leave it out"]);
    hints("run --legacy=false x.fa -o out", &["--legacy takes no value: leave it out"]);
    // A file of that name is an input.
    let sandbox = Sandbox::new();
    sandbox.write("false", ">a\nATGGCCGCA\n");
    sandbox.run(&["chunk", "--resume", "false", "-o", "out"]).ok();
}

#[test]
fn what_is_missing_is_shown_by_an_example() {
    hints("run", &["--output", "as in `virnucpro run "]);
    hints("models fetch --sha256 x", &["--url", "as in `virnucpro models fetch --url "]);
    hints("run x.fa -o out --threads=x", &["auto or a whole number from 1 to 1024"]);
}

#[test]
fn short_forms_and_names_from_other_programs_are_understood() {
    for words in [
        &["-o", "out", "-t", "3", "-w", "300", "-f"][..],
        &["--outdir", "out", "--threads", "3", "--window", "300", "--force"],
        &["--out=out", "-t3", "-w300", "--force"],
        &["--output-dir", "out", "-t", "3", "-w", "300", "--overwrite"],
    ] {
        let words = ["virnucpro", "run", "x.fa", "--print-config"].iter().chain(words).map(OsString::from).collect();
        let Ok(Asked::Text(text)) = cli::parse(words) else { panic!() };
        for line in ["output: out  # flag", "threads: 3  # flag", "window: 300  # flag", "overwrite: true  # flag"] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
    for command in ["run", "embed-dnabert", "embed-esm", "predict", "info", "models verify"] {
        let words = ["virnucpro"].into_iter().chain(command.split(' ')).chain(["-t", "2", "--print-config"]);
        let Ok(Asked::Text(text)) = cli::parse(words.map(OsString::from).collect()) else { panic!("{command}") };
        assert!(text.contains("threads: 2  # flag"), "{command}: {text}");
    }
}

#[test]
fn an_unknown_variable_is_told_with_the_nearest_known_one() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", ">a\nATGGCCGCA\n");
    let run = |variable: &str, args: &[&str]| {
        let mut command = sandbox.command(args);
        command.env(variable, if variable == "VIRNUCPRO_DEVICE" { "cpu" } else { "secret" });
        Ran::of(command)
    };
    let chunk = ["chunk", "x.fa", "-o", "out"];
    // The variable of another command is known as well.
    assert!(!run("VIRNUCPRO_DEVICE", &chunk).ok().stderr.contains("warn"));
    for (variable, hint) in [
        ("VIRNUCPRO_MODLE", "; did you mean VIRNUCPRO_MODEL?\n"),
        ("VIRNUCPRO_BATCH_TOKEN", "; did you mean VIRNUCPRO_BATCH_TOKENS?\n"),
        ("VIRNUCPRO_HOME", " is not known and is ignored\n"),
        ("VIRNUCPRO_FORCE", "; did you mean VIRNUCPRO_OVERWRITE?\n"),
        ("VIRNUCPRO_OUTDIR", "; did you mean VIRNUCPRO_OUTPUT?\n"),
        ("VIRNUCPRO_GPU", "; did you mean VIRNUCPRO_DEVICE?\n"),
        ("VIRNUCPRO_WINDOW_SIZE", "; did you mean VIRNUCPRO_WINDOW?\n"),
    ] {
        let ran = run(variable, &chunk).ok();
        ran.says(&["warn: ", variable, hint]);
        assert!(!ran.stderr.contains("secret"));
    }
    let printed = run("VIRNUCPRO_MODLE", &["run", "--print-config"]).ok().stdout;
    assert!(printed.contains("# the environment variable VIRNUCPRO_MODLE is not known"), "{printed}");
    // It is named as well where it may be the reason for an error.
    let ran = run("VIRNUCPRO_OUTPT", &["chunk", "x.fa"]);
    ran.fails(64, "VN-USAGE");
    ran.says(&["--output", "did you mean VIRNUCPRO_OUTPUT?"]);
}

#[test]
fn windows_that_are_hardly_meant_are_refused_or_told() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", format!(">a\n{}\n", "ACG".repeat(4000)));
    for window in ["2", "10001", "1000000"] {
        hints(&format!("chunk x.fa -o out --window {window}"), &["from 3 to 10000", "300 or 500", "1024 residues"]);
        let import = "models import --name x --dnabert d --esm e --head h --window";
        hints(&format!("{import} {window}"), &["from 3 to 10000"]);
    }
    for (window, told) in [("149", "short"), ("150", ""), ("3072", ""), ("3073", "long"), ("10000", "1024 residues")] {
        let stderr = sandbox.run(&["chunk", "x.fa", "-w", window, "-o", &format!("out{window}")]).ok().stderr;
        assert_eq!(stderr.contains("warn: chunk: windows of"), !told.is_empty(), "{window}: {stderr}");
        assert!(stderr.contains(told), "{window}: {stderr}");
    }
}

#[test]
fn the_embedded_bundle_has_no_path_to_print() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["models", "path", "mini"]);
    ran.fails(64, "VN-USAGE");
    ran.says(&["virnucpro models path: ", "mini is part of the executable and has no folder"]);
    assert_eq!(ran.stdout, "");
    let path = sandbox.run(&["models", "path", &mock()]).ok().stdout;
    assert!(std::path::Path::new(path.trim_end()).is_dir(), "{path}");
}

#[test]
fn an_option_before_its_command_is_shown_in_its_place() {
    for (line, right) in [
        ("--threads 2 run s1.fa -o o", "`virnucpro run --threads 2 s1.fa -o o`"),
        ("--threads=2 run s1.fa -o o", "`virnucpro run --threads=2 s1.fa -o o`"),
        ("-w 300 run s1.fa", "`virnucpro run -w 300 s1.fa`"),
        ("-o o run s1.fa", "`virnucpro run -o o s1.fa`"),
        ("--model mini -q run s1.fa", "`virnucpro run --model mini -q s1.fa`"),
        ("models --device cpu verify mini", "`virnucpro models verify --device cpu mini`"),
        ("-t2 models verify mini --digests-only", "`virnucpro models verify -t2 mini --digests-only`"),
    ] {
        hints(line, &["stands before its command", "come after it", right]);
    }
    hints("--thread 2 run s1.fa -o o", &["did you mean --threads?"]);
}

#[test]
fn the_help_of_help_is_help_and_its_hints_do_not_go_in_a_circle() {
    for (line, start) in
        [("help --help", "Finds viral DNA"), ("help -h", "Finds viral DNA"), ("models help --help", "List,")]
    {
        let words = ["virnucpro"].into_iter().chain(line.split(' ')).map(OsString::from).collect();
        let Ok(Asked::Text(text)) = cli::parse(words) else { panic!("{line}") };
        assert!(text.starts_with(start), "{line}: {text}");
    }
    hints("help rnu", &["'rnu' is not a command of virnucpro\n", "`virnucpro help run`", "see `virnucpro --help`"]);
    hints("help models lst", &["`virnucpro help models list`", "see `virnucpro models --help`"]);
}

#[test]
fn a_number_below_zero_is_a_wrong_value_and_not_an_option() {
    hints("run x.fa -o o --window -5", &["'-5' for '--window <N>'", "a whole number from 3 to 10000"]);
    hints("run x.fa -o o --threads -1", &["'-1' for '--threads <N>'", "auto or a whole number from 1 to 1024"]);
    hints("run x.fa -o o -t -1", &["auto or a whole number from 1 to 1024"]);
    hints("run x.fa -o o --viral-share -0.5", &["a number from 0 to 1 is expected"]);
    hints("run x.fa -o o --batch-tokens -4", &["a number of tokens from 1 to 1024M is expected"]);
    hints("models fetch --timeout -1", &["a number of seconds from 0.1 to 3600"]);
    // What stands where an option is expected is one still.
    hints("run -5 -o o", &["'-5' is not an option"]);
    hints("run x.fa -o -5", &["'-5' is not an option"]);
}

#[test]
fn bounds_are_told_in_the_same_words_everywhere() {
    hints("run x.fa -o o --attempt 0", &["a whole number from 1 to 20 is expected"]);
    hints("run x.fa -o o --prefetch 0", &["a whole number from 1 to 1024 is expected"]);
    hints("run x.fa -o o --cache-clear-interval -1", &["a whole number from 0 to 1000000 is expected"]);
    hints("run x.fa -o o --attention fast", &["'fast' is not an attention kernel; use auto, flash, efficient or math"]);
    hints("run x.fa -o o --pin-memory some", &["'some' is not a choice; use auto, on or off"]);
    hints("run x.fa -o o --shard-frames 0", &["a whole number from 1 to 10000000 is expected"]);
    for tokens in ["0", "k", "many", "2000M"] {
        hints(
            &format!("run x.fa -o o --batch-tokens {tokens}"),
            &["a number of tokens from 1 to 1024M is expected, as 4096 or 16k (or 'auto')"],
        );
    }
}

#[test]
fn models_and_devices_have_nearest_names_too() {
    hints("run x.fa -o o --device gpu", &["did you mean cuda?"]);
    hints("run x.fa -o o --device gpu:1", &["did you mean cuda:1?"]);
    let sandbox = Sandbox::new();
    sandbox.write("models/vnp-500/bundle.yaml", "");
    let says = |args: &[&str], code, fault, part: &str| {
        let ran = sandbox.run(args);
        ran.fails(code, fault);
        ran.says(&[part]);
    };
    let run = |model| ["run", "x.fa", "-o", "o", "--models", "models", "--model", model];
    sandbox.write("x.fa", ">a\nACGT\n");
    says(&run("minii"), 78, "VN-MODEL-MISSING", "did you mean mini?");
    says(&run("vpn-500"), 78, "VN-MODEL-MISSING", "did you mean vnp-500?");
    assert!(!sandbox.run(&run("frobnicate")).stderr.contains("did you mean"));
    says(&["models", "verify", "minii"], 78, "VN-MODEL-MISSING", "did you mean mini?");
    says(&["models", "fetch", "esm2-3bb", "--offline"], 64, "VN-USAGE", "did you mean esm2-3b?");
    says(&["models", "fetch", "dnaberts@main", "--offline"], 64, "VN-USAGE", "did you mean dnabert-s?");
    let import = ["models", "import", "--name", "x", "--dnabert", "dnabertt-s", "--esm", "e", "--head", "h"];
    says(&import, 78, "VN-MODEL-MISSING", "did you mean dnabert-s?");
}

#[test]
fn a_folder_for_fetched_models_is_told_to_be_the_hubs_cache() {
    for option in ["-o", "--output", "--outdir", "--cache-dir"] {
        hints(&format!("models fetch esm2-8m {option} x"), &["HF_HUB_CACHE"]);
        assert!(!refusal(&format!("models fetch esm2-8m {option} x")).contains("did you mean"));
    }
}

#[test]
fn a_long_dash_of_a_word_processor_is_recognised() {
    for (words, right) in [
        (&["—output", "o"][..], "write --output;"),
        (&["–output=o"], "write --output=o;"),
        (&["–o", "o"], "write -o;"),
        (&["−o", "o"], "write -o;"),
    ] {
        hints(&format!("run x.fa {}", words.join(" ")), &["a long dash", right]);
    }
    let sandbox = Sandbox::new();
    sandbox.write("–x.fa", ">a\nATGGCCGCA\n");
    sandbox.run(&["chunk", "–x.fa", "-o", "o"]).ok();
}

#[test]
fn what_is_no_path_is_told_as_such() {
    let sandbox = Sandbox::new();
    for file in ["a.fa", "b.fa", "c,d.fa"] {
        sandbox.write(file, format!(">{file}\nATGGCCGCA\n"));
    }
    for command in ["run", "chunk", "embed-dnabert", "predict"] {
        let ran = sandbox.run(&[command, "a.fa,b.fa", "-o", "o"]);
        ran.fails(64, "VN-USAGE");
        ran.says(&["write a.fa b.fa"]);
        let ran = sandbox.run(&[command, "https://example.org/a.fa", "-o", "o"]);
        ran.fails(66, "VN-IN-MISSING");
        ran.says(&["download the file first"]);
    }
    let ran = sandbox.run(&["merge", "--dnabert", "a.fa,b.fa", "--esm", "a.fa", "-o", "o"]);
    ran.fails(64, "VN-USAGE");
    let ran = sandbox.run(&["chunk", "~/a.fa", "-o", "o"]);
    ran.fails(66, "VN-IN-MISSING");
    ran.says(&["expands ~"]);
    sandbox.run(&["chunk", "c,d.fa", "-o", "o"]).ok();
}

#[test]
fn a_limit_that_is_no_number_of_processors_is_told() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", ">a\nATGGCCGCA\n");
    for variable in ["SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"] {
        let mut command = sandbox.command(&["run", "x.fa", "-m", &mock(), "-o", variable]);
        command.env(variable, "abc");
        let ran = Ran::of(command).ok();
        let told = format!("{variable} is 'abc', which is not a number of processors");
        assert_eq!(ran.stderr.matches(&told).count(), 1, "{}", ran.told());
    }
}
