//! Where options come from: defaults < configuration file < environment < flags.

use std::ffi::OsString;

use crate::support::{Ran, Sandbox, mock};
use virnucpro::cli::{self, Asked};
use virnucpro::error::{Error, Fault};

/// A place with an input.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", ">a\nATGGCCGCA\n");
    sandbox
}

/// Runs with variables of the environment.
fn run_with(sandbox: &Sandbox, variables: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = sandbox.command(args);
    command.envs(variables.iter().copied());
    Ran::of(command)
}

/// What the program prints for `--print-config`, without a process of its own.
fn listing(args: &[&str]) -> Result<String, Error> {
    let words = ["virnucpro"].iter().chain(args).chain(&["--print-config"]).map(OsString::from).collect();
    match cli::parse(words)? {
        Asked::Text(text) => Ok(text),
        other => panic!("{args:?}: {other:?}"),
    }
}

/// Value and source of an option in a printed configuration.
fn setting(listing: &str, option: &str) -> (String, String) {
    let line = listing.lines().find(|line| line.starts_with(&format!("{option}: ")));
    let line = line.unwrap_or_else(|| panic!("{option} is not in\n{listing}"));
    let (value, source) = line[option.len() + 2..].rsplit_once("  # ").unwrap();
    (value.to_owned(), source.to_owned())
}

#[test]
fn each_layer_wins_over_the_one_below_it() {
    let sandbox = sandbox();
    for (option, default, file, environment, flag) in [
        ("shard-frames", "10000", "11", "12", "13"),
        ("min-p", "0.5", "0.6", "0.7", "0.8"),
        ("duplicates", "rename", "error", "rename", "error"),
        ("device", "auto", "cpu", "cuda", "cuda:1"),
        ("dtype", "auto", "f32", "bf16", "f16"),
        ("batch-tokens", "auto", "1k", "2k", "4096"),
        ("dataloader-workers", "auto", "2", "3", "4"),
        ("timeout", "600", "0", "20", "30"),
        ("viral-share", "0.5", "0.6", "0.7", "0.8"),
        ("model", "mini", "one", "two", "three"),
        ("log-level", "info", "warn", "error", "debug"),
        ("resume", "true", "false", "true", "false"),
        ("attention", "auto", "math", "flash", "efficient"),
        ("pin-memory", "auto", "off", "on", "auto"),
        ("cuda-streams", "true", "false", "true", "false"),
        ("cache-clear-interval", "100", "0", "7", "8"),
    ] {
        let command = match option {
            "shard-frames" | "duplicates" => ["chunk", "x.fa", "-o", "out"],
            _ => ["run", "x.fa", "-o", "out"],
        };
        let config = sandbox.write(&format!("{option}.yaml"), format!("# {option}\n{option}: {file}\n"));
        let (config, flag_text) = (config.display().to_string(), format!("--{option}={flag}"));
        let (with_file, with_flag) = (["--config", config.as_str()], [flag_text.as_str()]);
        let pair = |value: &str, source: &str| (value.to_owned(), source.to_owned());
        let shown = |listing: String| {
            let (value, source) = setting(&listing, option);
            (value.trim_matches('\'').to_owned(), source)
        };
        let parsed = |more: &[&str]| shown(listing(&[&command[..], more].concat()).unwrap());
        assert_eq!(parsed(&[]), pair(default, "default"), "{option}");
        assert_eq!(parsed(&with_file), pair(file, "file"), "{option}");
        assert_eq!(parsed(&[&with_file[..], &with_flag].concat()), pair(flag, "flag"), "{option}");
        let variable = format!("VIRNUCPRO_{}", option.to_uppercase().replace('-', "_"));
        let args = [&command[..], &with_file, &["--print-config"]].concat();
        let in_environment = run_with(&sandbox, &[(&variable, environment)], &args).ok().stdout;
        assert_eq!(shown(in_environment), pair(environment, "environment"), "{option}");
        if option == "min-p" {
            let over = run_with(&sandbox, &[(&variable, environment)], &[&args[..], &with_flag].concat()).ok().stdout;
            assert_eq!(shown(over), pair(flag, "flag"), "{option}");
        }
    }
}

#[test]
fn a_setting_of_the_file_is_followed_and_not_only_shown() {
    let sandbox = sandbox();
    sandbox.write("c.yaml", format!("model: {}\noutput: from-file\nwindow: 300\nquiet: true\nlegacy: true\n", mock()));
    let ran = sandbox.run(&["run", "x.fa", "--config", "c.yaml"]).ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert_eq!(sandbox.json("from-file/windows/manifest.json")["settings"]["window"], 300);
    assert!(sandbox.path("from-file/windows/chunked300.fa").exists());
    // The variable that names the file, and a flag over it.
    let named = [("VIRNUCPRO_CONFIG", "c.yaml")];
    run_with(&sandbox, &named, &["run", "x.fa", "-m", &mock(), "--window", "200", "-o", "from-flag"]).ok();
    assert_eq!(sandbox.json("from-flag/windows/manifest.json")["settings"]["window"], 200);
    // Variables alone are enough for an option that must be given.
    let set = [("VIRNUCPRO_OUTPUT", "from-env"), ("VIRNUCPRO_MODEL", &mock()), ("VIRNUCPRO_LEGACY", "true")];
    run_with(&sandbox, &set, &["run", "x.fa"]).ok();
    assert!(sandbox.path("from-env/predictions/prediction_results.txt").exists());
}

#[test]
fn one_file_serves_all_commands() {
    let sandbox = sandbox();
    sandbox.write("c.yaml", format!("model: {}\nwindow: 300\nviral-share: 0.7\nbatch-tokens: 2k\n", mock()));
    let with = |args: &[&str]| sandbox.run(&[args, &["-q", "--config", "c.yaml"]].concat()).ok();
    with(&["chunk", "x.fa", "-o", "windows"]);
    with(&["embed-dnabert", "windows", "-o", "dnabert"]);
    with(&["embed-esm", "windows", "-o", "esm"]);
    with(&["merge", "--dnabert", "dnabert", "--esm", "esm", "-o", "merged"]);
    with(&["predict", "merged", "-o", "predictions"]);
    assert_eq!(sandbox.json("windows/manifest.json")["settings"]["window"], 300);
    assert_eq!(sandbox.json("predictions/summary.json")["cut_offs"]["viral_share"], 0.7);
}

#[test]
fn commands_of_models_read_the_file_as_well() {
    let sandbox = sandbox();
    sandbox.write("c.yaml", "dtype: bf16\ndevice: cpu\nmodels: [a, b]\nwindow: 300\noutput: elsewhere\n");
    let shown = |args: &[&str]| sandbox.run(&[args, &["--config", "c.yaml", "--print-config"]].concat()).ok().stdout;
    let verify = shown(&["models", "verify", "mini"]);
    for line in ["# virnucpro models verify:", "dtype: bf16  # file", "device: cpu  # file", "models: [a, b]  # file"] {
        assert!(verify.contains(line), "{line} in {verify}");
    }
    // What a model is made of is named by flags alone: `window` and `output` of a run must not get into a bundle.
    let import = ["models", "import", "--name", "x", "--dnabert", "d", "--esm", "e", "--head", "h", "-o", "out"];
    let import = shown(&import);
    assert!(import.contains("models: [a, b]  # file") && !import.contains("window"), "{import}");
    sandbox.write("wrong.yaml", "name: x\n");
    sandbox.run(&["models", "list", "--config", "wrong.yaml"]).fails(78, "VN-CONFIG");
}

#[test]
fn a_flag_beats_the_file_and_switches_read_what_people_write() {
    let sandbox = sandbox();
    sandbox.write("c.yaml", "resume: false\n");
    let resume = |set: &[(&str, &str)], args: &[&str]| {
        let mut all = vec!["run", "x.fa", "-o", "out", "--print-config", "--config", "c.yaml"];
        all.extend(args);
        run_with(&sandbox, set, &all).ok().stdout
    };
    assert!(resume(&[], &[]).contains("resume: false  # file"));
    assert!(resume(&[], &["--resume"]).contains("resume: true  # flag"));
    assert!(resume(&[("VIRNUCPRO_RESUME", "true")], &[]).contains("resume: true  # environment"));
    for (text, value) in [("1", "true"), ("yes", "true"), ("0", "false"), ("off", "false")] {
        let legacy = resume(&[("VIRNUCPRO_LEGACY", text)], &[]);
        let parsed = if value == "true" { "# environment" } else { "legacy" };
        assert!(legacy.lines().any(|line| line.starts_with("legacy: ") && line.contains(parsed)), "{text}: {legacy}");
    }
    // Set to nothing is not set.
    assert!(resume(&[("VIRNUCPRO_LEGACY", ""), ("VIRNUCPRO_WINDOW", "")], &[]).contains("legacy: false  # default"));
}

#[test]
fn a_list_for_an_option_of_one_value_is_refused() {
    let sandbox = sandbox();
    sandbox.write("c.yaml", "window: [300, 500]\n");
    sandbox.run(&["run", "x.fa", "-o", "out", "--config", "c.yaml"]).fails(78, "VN-CONFIG");
}

#[test]
fn a_printed_configuration_read_back_says_the_same() {
    let sandbox = sandbox();
    for args in [
        vec!["run", "x.fa", "-o", "out", "--window", "300", "--legacy", "--no-resume", "--models", "a:b/c", "-q"],
        vec![
            "run",
            "x.fa",
            "-o",
            "a dir: with #signs, 'quotes' & [more]",
            "--device",
            "cuda:0,2",
            "--viral-share",
            "1",
        ],
        vec!["run", "x.fa", "-o", "./-dash", "--model", "true", "--batch-tokens", "16k", "--attempt", "3"],
        vec!["chunk", "x.fa", "-o", "123", "--duplicates", "error", "--allow-empty"],
        vec!["embed-esm", "x", "-o", "null", "--dtype", "bf16", "--resume=false"],
        vec!["merge", "--dnabert", "a", "b c", "--esm", "d", "-o", "m"],
        vec!["predict", "m", "--windows", "w", "-o", "~", "--log-format", "json"],
        vec!["chunk", "x.fa", "-o", "007", "--shard-frames", "50000"],
        vec!["chunk", "x.fa", "-o", "1e3"],
        vec!["chunk", "x.fa", "-o", "TRUE"],
        vec!["info", "--threads", "3", "--model", "1.50"],
    ] {
        let values = |listing: &str| -> Vec<String> {
            listing.lines().map(|line| line.rsplit_once("  # ").map_or(line, |(value, _)| value).to_owned()).collect()
        };
        let printed = listing(&args).unwrap();
        let file = sandbox.write("printed.yaml", &printed).display().to_string();
        // Only what must stand on the command line: the command and its inputs.
        let inputs: &[&str] = if ["merge", "info"].contains(&args[0]) { &args[..1] } else { &args[..2] };
        let again = [inputs, &["--config", &file]].concat();
        let second = listing(&again).unwrap();
        assert_eq!(values(&printed), values(&second), "{args:?}");
        sandbox.write("printed.yaml", &second);
        assert_eq!(listing(&again).unwrap(), second, "{args:?}");
    }
}

#[test]
fn an_unknown_option_in_the_file_names_the_nearest_one() {
    let sandbox = sandbox();
    for (line, nearest) in [
        ("windows_size: 300", "windows"),
        ("windw: 300", "window"),
        ("shard_frames: 5", "shard-frames"),
        ("batch_token: 5", "batch-tokens"),
        ("viralshare: 0.5", "viral-share"),
        ("Model: x", "model"),
    ] {
        sandbox.write("c.yaml", format!("{line}\n"));
        let ran = sandbox.run(&["run", "x.fa", "-o", "out", "--config", "c.yaml"]);
        let json = ran.fails(78, "VN-CONFIG");
        assert_eq!(json["file"], "c.yaml");
        ran.says(&[line.split(':').next().unwrap(), &format!("did you mean {nearest}")]);
        assert!(!sandbox.path("out").exists());
    }
}

#[test]
fn a_wrong_value_names_the_option_and_where_it_stands() {
    let sandbox = sandbox();
    for (line, option, value) in [
        ("window: 2", "window", "2"),
        ("window: many", "window", "many"),
        ("device: gpu", "device", "gpu"),
        ("viral-share: 1.5", "viral-share", "1.5"),
        ("log-level: loud", "log-level", "loud"),
        ("legacy: perhaps", "legacy", "perhaps"),
    ] {
        let file = sandbox.write("c.yaml", format!("shard-frames: 10\n{line}\n"));
        let error = listing(&["run", "x.fa", "-o", "out", "--config", &file.display().to_string()]).unwrap_err();
        assert_eq!((error.fault(), error.path()), (Fault::Config, Some(file.as_path())), "{line}");
        let report = error.report("virnucpro");
        for part in [&format!("--{option}"), value, "to do:"] {
            assert!(report.contains(part), "{line}: {report}");
        }
        let variable = format!("VIRNUCPRO_{}", option.to_uppercase().replace('-', "_"));
        let ran = run_with(&sandbox, &[(&variable, value)], &["run", "x.fa", "-o", "out"]);
        ran.fails(78, "VN-CONFIG");
        ran.says(&[&variable, value, "to do:"]);
        // The same value as a flag is a matter of usage.
        let flag = format!("--{option}={value}");
        assert_eq!(listing(&["run", "x.fa", "-o", "out", &flag]).unwrap_err().fault(), Fault::Usage);
        assert!(!sandbox.path("out").exists());
    }
}

#[test]
fn a_file_that_is_no_configuration_is_named_by_its_line() {
    let sandbox = sandbox();
    for (text, line) in [("window: 300\n model: x\n", Some(2)), ("window: [1\nmodel: x\n", None), ("just text\n", None)]
    {
        sandbox.write("c.yaml", text);
        let json = sandbox.run(&["run", "x.fa", "-o", "out", "--config", "c.yaml"]).fails(78, "VN-CONFIG");
        assert_eq!(json["file"], "c.yaml");
        if let Some(line) = line {
            assert_eq!(json["line"], line, "{json}");
        }
    }
    // An empty file, or one of comments, sets nothing.
    for text in ["", "# window: 300\n", "---\n"] {
        sandbox.write("c.yaml", text);
        let listing = sandbox.run(&["chunk", "x.fa", "-o", "out", "--config", "c.yaml", "--print-config"]).ok().stdout;
        assert_eq!(setting(&listing, "shard-frames"), ("10000".to_owned(), "default".to_owned()));
    }
}

#[test]
fn a_configuration_is_printed_without_what_a_run_would_need() {
    for (command, options) in [
        ("run", &["output", "window", "threads"][..]),
        ("chunk", &["output", "window"]),
        ("embed-dnabert", &["output", "model"]),
        ("embed-esm", &["output", "model"]),
        ("merge", &["dnabert", "esm", "output"]),
        ("predict", &["windows", "viral-share"]),
        ("info", &["device"]),
        ("models list", &["models"]),
        ("models fetch", &["log-level"]),
        ("models import", &["models"]),
        ("models verify", &["device"]),
        ("models path", &["models"]),
        ("models", &["models"]),
        ("", &["log-level"]),
    ] {
        let text = listing(&command.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert!(text.starts_with(&format!("# virnucpro {command}").trim_end().to_owned()), "{command}: {text}");
        for option in options {
            let stated = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{option}: "));
            assert!(text.lines().any(stated), "{option} of {command}: {text}");
        }
    }
    // Required options are required again where there is work to do.
    assert_eq!(cli::parse(["virnucpro", "run"].map(OsString::from).to_vec()).unwrap_err().fault(), Fault::Usage);
}

#[test]
fn a_configuration_in_another_encoding_is_read_or_told_as_such() {
    let sandbox = sandbox();
    let run = |content: &[u8]| {
        sandbox.write("c.yaml", content);
        sandbox.run(&["chunk", "x.fa", "-o", "out", "--config", "c.yaml", "--print-config"])
    };
    let text = run("\u{feff}window: 300\r\nshard-frames: 7\r\n".as_bytes()).ok().stdout;
    assert!(text.contains("window: 300  # file") && text.contains("shard-frames: 7  # file"), "{text}");
    let ran = run(b"window: 300\n# K\xF6ln\n");
    assert_eq!(ran.fails(78, "VN-CONFIG")["line"], 2);
    ran.says(&["c.yaml, line 2", "not UTF-8", "0xF6"]);
    let wide: Vec<u8> = "\u{feff}window: 300\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let ran = run(&wide);
    ran.fails(78, "VN-CONFIG");
    ran.says(&["UTF-16", "iconv"]);
}

#[test]
fn a_name_from_another_program_in_the_file_names_the_option_here() {
    let sandbox = sandbox();
    for (line, nearest) in [("outdir: x", "output"), ("force: true", "overwrite")] {
        sandbox.write("c.yaml", format!("{line}\n"));
        sandbox.run(&["run", "x.fa", "--config", "c.yaml"]).says(&[&format!("did you mean {nearest}?")]);
    }
}

#[test]
fn every_switch_takes_every_word_for_yes_and_no() {
    let sandbox = sandbox();
    let run = ["chunk", "x.fa", "-o", "out", "--print-config"];
    for switch in ["resume", "overwrite", "legacy", "quiet", "strict-input", "allow-empty"] {
        let variable = format!("VIRNUCPRO_{}", switch.to_uppercase().replace('-', "_"));
        for word in ["true", "yes", "on", "1", "false", "no", "off", "0", "Off", "NO"] {
            let listing = run_with(&sandbox, &[(&variable, word)], &run).ok().stdout;
            assert_eq!(setting(&listing, switch).1, "environment", "{switch}: {word}");
            let file = sandbox.write("c.yaml", format!("{switch}: {word}\n")).display().to_string();
            let listing = listing_of(&[&run[..4], &["--config", &file]].concat());
            assert_eq!(setting(&listing, switch).1, "file", "{switch}: {word}");
        }
        let ran = run_with(&sandbox, &[(&variable, "maybe")], &run);
        ran.fails(78, "VN-CONFIG");
        ran.says(&["true, yes, on or 1 is expected, or false, no, off or 0", &variable]);
    }
    // They are followed, too.
    sandbox.run(&["chunk", "x.fa", "-o", "out"]).ok();
    for word in ["no", "0", "off"] {
        let again = run_with(&sandbox, &[("VIRNUCPRO_RESUME", word)], &["chunk", "x.fa", "-o", "out"]).ok();
        assert!(!again.stderr.contains("already complete"), "{word}: {}", again.told());
        let again = sandbox.run(&["chunk", "x.fa", "-o", "out", &format!("--resume={word}")]).ok();
        assert!(!again.stderr.contains("already complete"), "{word}: {}", again.told());
    }
}

fn listing_of(args: &[&str]) -> String {
    listing(args).unwrap_or_else(|error| panic!("{}", error.report("virnucpro")))
}

#[test]
fn words_are_read_in_upper_and_lower_case() {
    let sandbox = sandbox();
    sandbox.write("x.fa", ">rna\nAUGGCCGCCGCC\n");
    let args = [
        "run",
        "x.fa",
        "-o",
        "out",
        "--model",
        &mock(),
        "--uracil",
        "DROP",
        "--letters",
        "MASK",
        "--device",
        "CPU",
        "--tables",
        "TSV",
        "--duplicates",
        "Rename",
        "--dtype",
        "F32",
        "--threads",
        "AUTO",
        "--batch-tokens",
        "Auto",
        "--log-level",
        "WARN",
        "--log-format",
        "TEXT",
    ];
    sandbox.run(&args).ok();
    assert_eq!(sandbox.json("out/windows/manifest.json")["origin"]["cut"]["uracil"], "drop");
    sandbox.run(&args).ok();
}

#[test]
fn a_missing_value_of_the_command_line_is_not_blamed_on_the_environment() {
    let sandbox = sandbox();
    for set in ["minii", ""] {
        for flag in ["-m", "--model", "-qm"] {
            let ran = run_with(&sandbox, &[("VIRNUCPRO_MODEL", set)], &["run", "x.fa", "-o", "out", flag]);
            ran.fails(64, "VN-USAGE");
            ran.says(&["a value is required for '--model <BUNDLE>'"]);
        }
    }
    let ran = run_with(&sandbox, &[("VIRNUCPRO_THREADS", "x")], &["run", "x.fa", "-o", "out", "-t", "y"]);
    ran.fails(64, "VN-USAGE");
    // An alias is the option, too.
    let ran = run_with(&sandbox, &[("VIRNUCPRO_OUTPUT", "x")], &["run", "x.fa", "--outdir"]);
    ran.fails(64, "VN-USAGE");
}

#[test]
fn the_help_names_variables_that_are_set_to_nothing() {
    let sandbox = sandbox();
    for args in [&["run", "--help"][..], &["help", "run"]] {
        let help = run_with(&sandbox, &[("VIRNUCPRO_MODEL", "")], args).ok().stdout;
        assert!(help.contains("[env: VIRNUCPRO_MODEL]"), "{help}");
    }
}

#[test]
fn a_variable_that_is_not_text_is_named() {
    use std::os::unix::ffi::OsStrExt as _;
    let sandbox = sandbox();
    for variable in ["VIRNUCPRO_WINDOW", "VIRNUCPRO_RESUME", "VIRNUCPRO_LOG_LEVEL"] {
        let mut command = sandbox.command(&["run", "x.fa", "-o", "out"]);
        command.env(variable, std::ffi::OsStr::from_bytes(b"\xff"));
        let ran = Ran::of(command);
        ran.fails(78, "VN-CONFIG");
        ran.says(&[variable]);
    }
    let mut command = sandbox.command(&["run", "x.fa", "-o", "out", "-w"]);
    command.arg(std::ffi::OsStr::from_bytes(b"\xff"));
    Ran::of(command).fails(64, "VN-USAGE");
}

#[test]
fn an_error_of_the_file_names_the_line() {
    let sandbox = sandbox();
    for line in ["windw: 300", "window: 2", "window: [300, 500]", "window: {a: b}", "legacy: maybe", "\"window\" : 2"] {
        sandbox.write("c.yaml", format!("# a comment\nmodel: mini\n\n{line}\nquiet: true\n"));
        let json = sandbox.run(&["run", "x.fa", "-o", "out", "--config", "c.yaml"]).fails(78, "VN-CONFIG");
        assert_eq!((json["file"].as_str(), json["line"].as_u64()), (Some("c.yaml"), Some(4)), "{line}");
    }
}

#[test]
fn what_cannot_stand_in_the_file_is_told_as_such() {
    let sandbox = sandbox();
    for (name, told) in [
        ("in", "inputs are named on the command line"),
        ("inputs", "inputs are named on the command line"),
        ("config", "VIRNUCPRO_CONFIG"),
        ("print-config", "--print-config is given on the command line alone"),
        ("version", "--version is given on the command line alone"),
        ("name", "--name is an option of train and models import"),
        ("url", "--url is an option of models fetch"),
        ("no-resume", "write `resume: false`"),
        ("no-cuda-streams", "write `cuda-streams: false`"),
        ("gpu", "did you mean device?"),
        ("window_size", "did you mean window?"),
    ] {
        sandbox.write("c.yaml", format!("{name}: x\n"));
        let ran = sandbox.run(&["run", "x.fa", "-o", "out", "--config", "c.yaml"]);
        ran.fails(78, "VN-CONFIG");
        ran.says(&[told]);
        assert!(told.contains("did you mean") || !ran.stderr.contains("did you mean"), "{}", ran.told());
    }
    sandbox.write("c.yaml", "coverage: x\n");
    let ran = sandbox.run(&["run", "x.fa", "-o", "out", "--config", "c.yaml"]);
    assert!(!ran.stderr.contains("did you mean"), "{}", ran.told());
}
